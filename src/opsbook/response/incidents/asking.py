"""What the journal is asked about an incident: what may be behind it, and what happened."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from opsbook.journal import Event, Journal
from opsbook.response.incidents.model import Incident, Suspect
from opsbook.response.incidents.plan import Changed, began
from opsbook.response.incidents.suspects import KINDS as CAUSES
from opsbook.response.incidents.suspects import LOOK_BACK, MOST, suspects
from opsbook.response.incidents.timeline import AFTER, BEFORE, Moment, moments
from opsbook.response.incidents.timeline import KINDS as TOLD

_EVENTS, _ALERTS, _RELEASES = 3000, 300, 10
_NAMING: Final = ("incident.*", "escalation.*", "postmortem.*", "diagnosis.made")
_RUNS: Final = ("runbook.*",)
_OWN: Final = (*_NAMING, *_RUNS)
"""What names incidents, and their runs."""

Related = Callable[[str, str], bool]


def looked_into(
    changed: Changed, journal: Journal, related: Related, further: Callable[[Incident], Iterable[Suspect]]
) -> Changed:
    """With its suspects, and since when it hurts: alerts fire only after their condition has held for a while.

    Args:
        related: whether one service depends on the other. further: suspects that the journal does not know of.
    """
    since = changed.incident.started_at - LOOK_BACK
    events = journal.events(kinds=CAUSES, since=since, limit=_EVENTS, newest=True)
    events += journal.events(kinds=("alert.firing",), since=since, limit=_ALERTS, newest=True)
    for service in changed.incident.services:  # what a release brought is what the one before it had not
        place = f"{changed.incident.environment}/{service}"
        events += journal.events(kinds=("release.created",), subject=place, limit=_RELEASES, newest=True)
    events = _once(events)
    known = (at for event in events if (at := _since(event, changed.incident)) is not None)
    changed = began(changed, min(known, default=math.inf))
    found = [*suspects(changed.incident, events, related=related), *further(changed.incident)]
    found.sort(key=lambda one: (-one.score, -one.at))
    return Changed(changed.incident.but(suspects=tuple(found[:MOST])), changed.notes)


def told_of(incident: Incident, journal: Journal, related: Related) -> tuple[Moment, ...]:
    """Its timeline, the oldest first."""
    since, end = incident.started_at - BEFORE, incident.resolved_at
    until = None if end is None else end + AFTER
    events = journal.events(kinds=TOLD, since=since, until=until, limit=_EVENTS, newest=True)
    if len(events) == _EVENTS:  # a storm of alerts must not push out what is about this one
        events += journal.events(kinds=_OWN, since=since, until=until, limit=_EVENTS, newest=True)
    if until is not None:
        events += _afterwards(incident, journal, until, max((one.id for one in events), default=0))
    return moments(incident, _once(events), related=related)


def _afterwards(incident: Incident, journal: Journal, since: float, after: int) -> Iterable[Event]:
    """What names it or its runs long after its end. What else happens at the same place then is not about it."""
    mine = (incident.id, *incident.merged)
    places = [f"{incident.environment}/{one}" for one in incident.services if incident.environment]
    filed = [incident.subject, incident.environment, *places, *mine, *(f"incidents/{one}" for one in mine)]
    for subject in filter(None, dict.fromkeys(filed)):
        late = journal.events(kinds=_NAMING, subject=subject, since=since, after=after, limit=_EVENTS)
        yield from (event for event in late if event.data.get("incident") in mine)
    if incident.runs:
        late = journal.events(kinds=_RUNS, since=since, after=after, limit=_ALERTS)
        yield from (event for event in late if event.data.get("id") in incident.runs)


def _since(event: Event, incident: Incident) -> float | None:
    """Since when the condition of one of its alerts held, before it fired."""
    if event.kind != "alert.firing":
        return None
    since, mine = event.data.get("since"), event.data.get("fingerprint")
    known = any(one.fingerprint == mine and one.started_at <= event.at + 1.0 for one in incident.alerts)
    return float(since) if known and isinstance(since, int | float) and since > 0 else None


def _once(events: Sequence[Event]) -> list[Event]:
    return sorted({one.id: one for one in events}.values(), key=lambda one: one.id)
