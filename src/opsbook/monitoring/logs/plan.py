"""What people look for in logs, as they write it in an address, a form or a command. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from opsbook.errors import Invalid
from opsbook.monitoring.plan import seconds_of
from opsbook.world.logs.query import LEVELS, LogQuery
from opsbook.world.logs.reading import level_of

MOST = 10_000
_TRACE = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """As it was written: ``since`` ``10m`` or a time, ``fields`` ``("user=ana",)``, ``level`` ``warn``."""

    services: Sequence[str] = ()
    environments: Sequence[str] = ()
    instances: Sequence[str] = ()
    text: str = ""
    grep: str = ""
    level: str = ""
    since: str = ""
    until: str = ""
    fields: Sequence[str] = ()
    trace: str = ""
    limit: int = 200
    cursor: str = ""

    def query(self, now: float, visible: frozenset[str] | None, *, budget: float = 20.0) -> LogQuery:
        """The question.

        Args:
            now: epoch seconds. visible: the environments that may be looked at; None: all.
            budget: seconds it may take.

        Raises:
            Invalid: something cannot be understood.
        """
        trace = self.trace.strip()
        if trace and not _TRACE.fullmatch(trace):
            raise Invalid(f"{trace[:60]!r} is no trace id", hint="32 hex digits", where="trace")
        found = LogQuery(
            services=_chosen(self.services),
            environments=_chosen(self.environments),
            instances=_chosen(self.instances),
            text=self.text,
            grep=self.grep,
            level=known_level(self.level),
            since=moment(self.since, now, "since"),
            until=moment(self.until, now, "until"),
            fields=pairs_of(self.fields),
            trace_id=trace.lower(),
            visible=visible,
            limit=max(0, min(self.limit, MOST)),
            cursor=self.cursor,
            budget=budget,
        )
        found.check()
        return found


def known_level(text: str) -> str:
    """A level by any of the words that libraries use; empty for none. Raises Invalid: it is no level."""
    if not text.strip():
        return ""
    if not (found := level_of(text)):
        raise Invalid(f"unknown level {text[:40]!r}", hint=f"one of {', '.join(LEVELS)}", where="level")
    return found


def pairs_of(fields: Iterable[str]) -> Mapping[str, str]:
    """``NAME=VALUE`` each. Raises Invalid: there is no ``=``."""
    found: dict[str, str] = {}
    for one in fields:
        if not one.strip():
            continue
        name, equals, value = one.strip().partition("=")
        if not equals or not name:
            raise Invalid(f"expected NAME=VALUE, got {one[:60]!r}", hint="user.id=7", where="field")
        found[name] = value
    return found


def moment(text: str, now: float, where: str) -> float | None:
    """Epoch seconds of ``10m`` (ago), of a date with time, or of epoch seconds themselves; None: nothing is written.

    Raises:
        Invalid: it is none of these.
    """
    text = text.strip()
    if not text:
        return None
    if text.replace(".", "", 1).isdecimal() and float(text) > 1e8:
        return float(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now - seconds_of(text, where=where)
        except Invalid:
            raise Invalid(
                f"expected a time, got {text[:60]!r}", hint="10m (ago), or 2026-11-20T14:30", where=where
            ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _chosen(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name for one in names for name in one.split(",") if name)
