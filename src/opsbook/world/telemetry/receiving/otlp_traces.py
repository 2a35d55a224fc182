"""OTLP's traces as spans. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from opsbook.world.telemetry.receiving.otlp import attributes_of, place_of
from opsbook.world.telemetry.receiving.words import Refusals
from opsbook.world.traces.words import Happening, Kind, Span, Status

LONGEST_NAME = 1024  # characters
MOST_HAPPENINGS = 128  # of one span
_KINDS: tuple[Kind, ...] = ("internal", "internal", "server", "client", "producer", "consumer")
_STATUSES: tuple[Status, ...] = ("unset", "ok", "error")


def read_traces(request: ExportTraceServiceRequest) -> tuple[list[Span], Refusals]:
    """Every span of the request, and why some of them are none."""
    found: list[Span] = []
    refusals = Refusals()
    for resource in request.resource_spans:
        said = attributes_of(resource.resource.attributes)
        place = place_of(said)
        for scope in resource.scope_spans:
            for one in scope.spans:
                if problem := _problem(one):
                    refusals.add(problem)
                else:
                    found.append(_span(one, place, said, scope.scope.name))
    return found, refusals


def _problem(one: Any) -> str:
    if len(one.trace_id) != 16 or not any(one.trace_id):
        return "a span has no trace id"
    if len(one.span_id) != 8 or not any(one.span_id):
        return "a span has no id"
    if not 0 < one.start_time_unix_nano < 2**63 or one.end_time_unix_nano >= 2**63:
        return "a span has no time"
    return ""


def _span(one: Any, place: Mapping[str, str], said: Mapping[str, str], scope: str) -> Span:
    start = one.start_time_unix_nano
    return Span(
        trace_id=one.trace_id.hex(),
        span_id=one.span_id.hex(),
        parent_id=one.parent_span_id.hex() if any(one.parent_span_id) else "",
        name=one.name[:LONGEST_NAME],
        kind=_KINDS[one.kind] if 0 <= one.kind < len(_KINDS) else "internal",
        service=place["service"],
        environment=place["environment"],
        instance=place["instance"],
        start_ns=start,
        duration_ns=max(0, one.end_time_unix_nano - start),
        status=_STATUSES[one.status.code] if 0 <= one.status.code < len(_STATUSES) else "unset",
        message=one.status.message[:LONGEST_NAME],
        scope=scope[:LONGEST_NAME],
        attributes=attributes_of(one.attributes),
        resource=said,
        happenings=tuple(
            Happening(event.time_unix_nano, event.name[:LONGEST_NAME], attributes_of(event.attributes))
            for event in one.events[:MOST_HAPPENINGS]
        ),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in one.links[:MOST_HAPPENINGS]),
    )
