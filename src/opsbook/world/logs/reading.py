"""What a line of text says: its time, level, message and fields, whether JSON, logfmt or plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from opsbook.world.logs.words import LogRecord

NEAR = (
    60.0  # seconds a printed time may be off the time at which the line was written; beyond, it is no clock
)
FIELDS = 64
_VALUE = 2048

_WORDS = {
    "trace": "trace", "verbose": "trace", "finest": "trace", "debug": "debug", "dbg": "debug", "fine": "debug",
    "info": "info", "information": "info", "informational": "info", "notice": "info", "log": "info",
    "warn": "warning", "warning": "warning", "error": "error", "err": "error", "severe": "error",
    "critical": "critical", "crit": "critical", "fatal": "critical", "panic": "critical", "alert": "critical",
    "emerg": "critical", "emergency": "critical",
}  # fmt: skip
_LETTERS = {"D": "debug", "I": "info", "W": "warning", "E": "error", "F": "critical"}
_LEVEL = ("level", "severity", "lvl", "levelname", "log.level", "loglevel", "severity_text", "severityText")
_MESSAGE = ("msg", "message", "body", "event", "text")
_TIME = ("time", "timestamp", "ts", "@timestamp", "t", "datetime", "asctime")
_TRACE = ("trace_id", "traceId", "traceID", "trace.id", "traceid", "otelTraceID")
_SPAN = ("span_id", "spanId", "spanID", "span.id", "spanid", "otelSpanID")

_PLAIN_LEVEL = re.compile(
    r"\b(TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|ERR|SEVERE|CRIT(?:ICAL)?|FATAL|PANIC|ALERT|EMERG)\b"
    r"|[\[<(](?i:(trace|debug|info|notice|warn|warning|error|err|crit|critical|fatal|panic|alert|emerg))[\]>)]"
    r"|(?:^|\s)(?i:(debug|info|warn|warning|error|fatal|critical|panic)):"
)
_KLOG = re.compile(r"([DIWEF])\d{4} \d\d:\d\d:\d\d")
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z| ?[+-]\d\d:?\d\d)?")
_PAIR = re.compile(r'([A-Za-z_@][\w.@/-]*)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?=\s|$)')
_PARENT = re.compile(r"\b00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}\b")
_HEX = re.compile(r"[0-9a-f]{32}")
_HEX16 = re.compile(r"[0-9a-f]{16}")


def level_of(value: object) -> str:
    """One of the levels for a word or a number as libraries write them; empty when it is none."""
    text = str(value).strip()
    if text.isdecimal() and len(text) < 4:
        number = int(text)  # pino and bunyan: 10 to 60
        steps = ("trace", "debug", "info", "warning", "error", "critical")
        return steps[min(number // 10, 6) - 1] if number >= 10 else ""
    return _WORDS.get(text.lower(), "")


def read_line(line: str, at: float, *, environment: str, service: str, instance: str) -> LogRecord:
    """The record that a line is.

    Args:
        line: without its end; secrets are masked already.
        at: when it was written, epoch seconds; a time that stands in the line is taken where it is near.
    """
    fields, rest = _structured(line)
    level = next((found for name in _LEVEL if name in fields and (found := level_of(fields[name]))), "")
    stamp: float | None = next(
        (read for name in _TIME if name in fields and (read := moment(fields[name]))), None
    )
    text = next((fields[name] for name in _MESSAGE if fields.get(name)), rest)
    trace, span = _context(fields, line)
    if fields:
        used = {*_TRACE, *_SPAN}
        used |= {name for name in _MESSAGE if fields.get(name) == text and text is not rest}
        used |= {name for name in _LEVEL if level} | {name for name in _TIME if stamp is not None}
        fields = {name: value for name, value in fields.items() if name not in used}
    if not level:
        level = _plain_level(line)
    if stamp is None and (iso := _ISO.search(line, 0, 64)):
        stamp = moment(iso[0])
    if stamp is not None and abs(stamp - at) <= NEAR:
        at = stamp
    return LogRecord(int(at * 1000), service, environment, instance, "", level, text, fields, trace, span)


def moment(text: str) -> float | None:
    """Epoch seconds of a date with time, or of an epoch in seconds to nanoseconds; without a zone it is UTC."""
    try:
        number = float(text)
    except ValueError:
        iso = _ISO.match(text)
        if iso is None:
            return None
        try:
            found = datetime.fromisoformat(iso[0].replace(",", ".").replace(" +", "+").replace(" -", "-"))
        except ValueError:
            return None
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    for scale in (1.0, 1e3, 1e6, 1e9):
        if 1e8 < number / scale < 1e10:
            return number / scale
    return None


def _structured(line: str) -> tuple[dict[str, str], str]:
    """The fields of a line, and its text without them."""
    begin = line.lstrip()[:1]
    if begin == "{":
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            return _flat(value), line
    if "=" in line:
        pairs = _PAIR.findall(line)
        if pairs:
            fields = {name: _unquoted(value) for name, value in pairs[:FIELDS]}
            return fields, line
    return {}, line


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, one in value.items():
        if len(found) >= FIELDS:
            break
        if isinstance(one, dict) and before.count(".") < 3:
            found |= _flat(one, f"{before}{name}.")
        elif one is not None:
            said = one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)
            found[before + str(name)] = said if name in _MESSAGE else said[:_VALUE]
    return found


def _unquoted(value: str) -> str:
    if value[:1] != '"':
        return value[:_VALUE]
    try:
        return str(json.loads(value))[:_VALUE]
    except ValueError:
        return value[1:-1][:_VALUE]


def _plain_level(line: str) -> str:
    head = line[:160]
    if (klog := _KLOG.match(head)) is not None:
        return _LETTERS[klog[1]]
    if (found := _PLAIN_LEVEL.search(head)) is not None:
        return _WORDS.get((found[1] or found[2] or found[3]).lower(), "")
    return "error" if head.startswith("Traceback (most recent call last)") else ""


def _context(fields: Mapping[str, str], line: str) -> tuple[str, str]:
    trace = next((fields[name].lower() for name in _TRACE if name in fields), "")
    span = next((fields[name].lower() for name in _SPAN if name in fields), "")
    if _HEX.fullmatch(trace):
        return trace, span if _HEX16.fullmatch(span) else ""
    parent = _PARENT.search(line) if "00-" in line else None
    return (parent[1], parent[2]) if parent is not None else ("", "")
