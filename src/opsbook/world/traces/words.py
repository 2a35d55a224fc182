"""The words of traces. Times are nanoseconds since the epoch, ids lower-case hex."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Status = Literal["unset", "ok", "error"]


@dataclass(frozen=True, slots=True)
class Happening:
    """An event within a span: an exception, a retry."""

    at_ns: int
    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of work of one service.

    Args:
        parent_id: empty for the first one of a trace.
        service, environment, instance: whose; empty where it is not known.
        message: why it failed. scope: the library that wrote it.
        resource: what the program says of itself.
        links: traces and spans that it has to do with.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str
    kind: Kind = "internal"
    service: str = ""
    environment: str = ""
    instance: str = ""
    start_ns: int
    duration_ns: int
    status: Status = "unset"
    message: str = ""
    scope: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    resource: Mapping[str, str] = field(default_factory=dict)
    happenings: tuple[Happening, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


class SpanSink(Protocol):
    """Who keeps spans that are sent."""

    def write(self, spans: Sequence[Span]) -> int:
        """Keep them; returns how many were. One that is there already counts as kept.

        Raises:
            Failed: none could be kept (the disk is full); the sender tries again later.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceQuery:
    """Which traces are looked for: those with one span that fits all of `service` to `error`.

    Args:
        name: part of the span's name, in any case.
        attributes: each with exactly this value, the span's own or its program's.
        error: only spans that failed.
        shortest, longest: of the whole trace, seconds.
        since, until: when the trace began, epoch seconds.
        visible: only traces wholly within these environments; None: all.
        slowest: the longest first, instead of the newest.
    """

    service: str = ""
    environment: str = ""
    name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    error: bool = False
    shortest: float | None = None
    longest: float | None = None
    since: float | None = None
    until: float | None = None
    visible: frozenset[str] | None = None
    slowest: bool = False
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSummary:
    """A trace in a list. Its name and service are those of its first span."""

    trace_id: str
    name: str
    service: str
    environment: str
    start_ns: int
    duration_ns: int
    spans: int
    errors: int
    services: tuple[str, ...]
