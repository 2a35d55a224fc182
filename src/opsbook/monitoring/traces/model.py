"""What is shown of traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from opsbook.world.traces.words import Span, TraceQuery, TraceSummary


class Traces(Protocol):
    """The trace store; `opsbook.world.traces.store.TraceStore` is one. Raises as it does."""

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]: ...

    def trace(self, trace_id: str, visible: frozenset[str] | None = None) -> tuple[Span, ...]: ...

    def services(self, visible: frozenset[str] | None = None) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A span in its place in the waterfall.

    Args:
        depth: how many spans it is within.
        offset, share: where its bar begins and how long it is, percent of the trace.
        own_ns: the time that none of its children took.
        orphan: its parent has not been sent, or not yet.
    """

    span: Span
    depth: int
    offset: float
    share: float
    own_ns: int
    orphan: bool

    @property
    def failed(self) -> bool:
        return self.span.status == "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """A whole trace, its spans in the order of reading: each parent before its children, these by time."""

    trace_id: str
    name: str
    service: str
    start_ns: int
    duration_ns: int
    rows: tuple[Row, ...]
    services: Mapping[str, int]  # nanoseconds of own time of each, the most first

    @property
    def errors(self) -> int:
        return sum(row.failed for row in self.rows)


def summary_json(found: TraceSummary) -> dict[str, Any]:
    """A trace in a list. Times in epoch seconds, durations in seconds."""
    return {
        "trace_id": found.trace_id,
        "name": found.name,
        "service": found.service,
        "environment": found.environment,
        "start": found.start_ns / 1e9,
        "seconds": found.duration_ns / 1e9,
        "spans": found.spans,
        "errors": found.errors,
        "services": list(found.services),
    }


def waterfall_json(found: Waterfall) -> dict[str, Any]:
    """A trace with its spans, in the order of reading."""
    return {
        "trace_id": found.trace_id,
        "name": found.name,
        "service": found.service,
        "start": found.start_ns / 1e9,
        "seconds": found.duration_ns / 1e9,
        "errors": found.errors,
        "services": {name: own / 1e9 for name, own in found.services.items()},
        "spans": [_row_json(row) for row in found.rows],
    }


def _row_json(row: Row) -> dict[str, Any]:
    span = row.span
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "kind": span.kind,
        "service": span.service,
        "environment": span.environment,
        "instance": span.instance,
        "start": span.start_ns / 1e9,
        "seconds": span.duration_ns / 1e9,
        "own_seconds": row.own_ns / 1e9,
        "status": span.status,
        "message": span.message,
        "scope": span.scope,
        "depth": row.depth,
        "offset": round(row.offset, 4),
        "share": round(row.share, 4),
        "orphan": row.orphan,
        "attributes": dict(span.attributes),
        "resource": dict(span.resource),
        "events": [
            {"at": one.at_ns / 1e9, "name": one.name, "attributes": dict(one.attributes)}
            for one in span.happenings
        ],
        "links": [{"trace_id": trace, "span_id": of} for trace, of in span.links],
    }
