"""OTLP's logs as log records. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from opsbook.world.logs.words import LogRecord
from opsbook.world.telemetry.receiving.otlp import attributes_of, place_of, text_of

LONGEST_TEXT = 64 * 1024  # characters
_KNOWN = frozenset({
    "service.name", "service.instance.id", "deployment.environment.name", "deployment.environment", "opsbook.release",
})  # fmt: skip
_LEVELS = ("trace", "debug", "info", "warning", "error", "critical")  # OTLP has four numbers of each


def read_logs(request: ExportLogsServiceRequest, now_ms: int) -> list[LogRecord]:
    """Every record of the request. What has no time of its own has the one at which it was seen, or else `now_ms`.

    What a resource says of itself, beyond who it is, is among the fields under its own name; a record's attributes
    come before.
    """
    found: list[LogRecord] = []
    for resource in request.resource_logs:
        said = attributes_of(resource.resource.attributes)
        place = place_of(said)
        around = {name: value for name, value in said.items() if name not in _KNOWN}
        for scope in resource.scope_logs:
            logger = {"logger": scope.scope.name} if scope.scope.name else {}
            found += [_record(one, place, around | logger, now_ms) for one in scope.log_records]
    return found


def _record(one: Any, place: Mapping[str, str], around: Mapping[str, str], now_ms: int) -> LogRecord:
    attributes = attributes_of(one.attributes)
    event = {"event": one.event_name} if one.event_name else {}
    text = text_of(one.body) or attributes.get("exception.message", "") or one.event_name
    return LogRecord(
        at_ms=(one.time_unix_nano or one.observed_time_unix_nano) // 1_000_000 or now_ms,
        service=place["service"],
        environment=place["environment"],
        instance=place["instance"],
        release=place["release"],
        level=_level(one.severity_number, one.severity_text),
        text=text[:LONGEST_TEXT],
        fields={**around, **event, **attributes},
        trace_id=one.trace_id.hex() if len(one.trace_id) == 16 and any(one.trace_id) else "",
        span_id=one.span_id.hex() if len(one.span_id) == 8 and any(one.span_id) else "",
    )


def _level(number: int, text: str) -> str:
    if 1 <= number <= 24:
        return _LEVELS[(number - 1) // 4]
    word = text.strip().lower()
    word = {"warn": "warning", "fatal": "critical", "err": "error", "information": "info"}.get(word, word)
    return word if word in _LEVELS else ""
