"""What people look for in traces, as they write it in an address, a form or a command. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from opsbook.errors import Invalid
from opsbook.monitoring.traces.plan import pairs_of, seconds_of
from opsbook.world.traces.words import TraceQuery

MOST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """As it was written: ``min`` ``250ms``, ``since`` ``1h``, ``fields`` ``("http.route=/orders",)``."""

    service: str = ""
    environment: str = ""
    name: str = ""
    fields: Sequence[str] = ()
    error: bool = False
    shortest: str = ""
    longest: str = ""
    since: str = ""
    until: str = ""
    slowest: bool = False
    limit: int = 50

    def query(self, now: float, visible: frozenset[str] | None) -> TraceQuery:
        """The question.

        Args:
            now: epoch seconds. visible: the environments that may be looked at; None: all.

        Raises:
            Invalid: something cannot be understood.
        """
        return TraceQuery(
            service=self.service,
            environment=self.environment,
            name=self.name,
            attributes=pairs_of((one for one in self.fields if one.strip()), "field"),
            error=self.error,
            shortest=seconds_of(self.shortest, "min"),
            longest=seconds_of(self.longest, "max"),
            since=moment(self.since, now, "since"),
            until=moment(self.until, now, "until"),
            visible=visible,
            slowest=self.slowest,
            limit=max(1, min(self.limit, MOST)),
        )


def moment(text: str, now: float, where: str) -> float | None:
    """Epoch seconds of ``10m`` (ago), of a date with time, or of epoch seconds themselves; None: nothing was written.

    Raises:
        Invalid: it is none of these.
    """
    text = text.strip()
    if not text:
        return None
    if text.replace(".", "", 1).isdigit() and float(text) > 1e8:
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        ago = seconds_of(text, where)
    if ago is None or ago > now:
        raise Invalid(
            f"expected a time, got {text[:60]!r}", where=where, hint="10m (ago), or 2026-11-20T14:30"
        )
    return now - ago
