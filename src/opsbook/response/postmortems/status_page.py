"""What customers are told: the public status page as plain data, from incidents and what the policy publishes. Pure.

An incident is on it from its first public update on, or by itself when the policy announces its severity. Of an
incident only this is told: which *published* services it is about, how bad it is, since when, and the updates that
were written for the public. Titles, labels, notes, names of people and of services that are not published never are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from opsbook.book.postmortems import StatusPageSpec
from opsbook.response.incidents.model import Incident

DAYS = 90
DAY = 86_400.0
LONGEST_UPDATE = 4000  # characters

# How bad it is, in words for people who do not know our severities; and the state of the page that shows it.
WORDS = {
    "SEV1": ("major outage", "critical"),
    "SEV2": ("partial outage", "critical"),
    "SEV3": ("degraded", "warning"),
    "SEV4": ("minor problem", "warning"),
}
WORKING = ("working", "ok")
_STATES = {
    "triage": "investigating",
    "active": "investigating",
    "mitigated": "mitigated",
    "resolved": "resolved",
    "postmortem": "resolved",
    "closed": "resolved",
}


@dataclass(frozen=True, slots=True)
class PublicUpdate:
    """What was told, and the state that the incident was in."""

    at: float
    text: str
    state: str


@dataclass(frozen=True, slots=True)
class PublicIncident:
    """An incident as customers see it. `updates`: the newest first."""

    id: str
    heading: str
    services: tuple[str, ...]
    severity: str
    word: str
    tone: str
    state: str
    started_at: float
    ended_at: float | None
    updates: tuple[PublicUpdate, ...]

    @property
    def open(self) -> bool:
        return self.ended_at is None

    @property
    def changed_at(self) -> float:
        return max(self.started_at, self.ended_at or 0.0, *(one.at for one in self.updates), 0.0)


@dataclass(frozen=True, slots=True)
class DayOf:
    """One day (UTC) of one service: how bad it became, and for how many seconds it was affected."""

    date: str
    word: str
    tone: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Component:
    """A service by its public name, with its last 90 days, the oldest first.

    Args:
        share: of these days that passed without an outage (of SEV1 or SEV2), 0 to 1.
    """

    name: str
    word: str
    tone: str
    days: tuple[DayOf, ...]
    share: float


@dataclass(frozen=True, slots=True)
class StatusPage:
    """The whole page. `sentence` sums it up."""

    title: str
    url: str
    at: float
    sentence: str
    tone: str
    components: tuple[Component, ...]
    open: tuple[PublicIncident, ...]
    past: tuple[PublicIncident, ...]

    def to_json(self) -> dict[str, Any]:
        """For machines: ``status.json``."""
        return {
            "title": self.title,
            "at": _iso(self.at),
            "status": self.tone,
            "description": self.sentence,
            "components": [
                {"name": one.name, "status": one.word, "share_without_outage": round(one.share, 6)}
                for one in self.components
            ],
            "incidents": [_incident_json(one) for one in (*self.open, *self.past)],
        }


def status_page(
    incidents: Iterable[Incident],
    spec: StatusPageSpec,
    name: str,
    now: float,
    mask: Callable[[str], str] = lambda text: text,
    *,
    places: Collection[str] | None = None,
) -> StatusPage:
    """The page at `now`.

    Args:
        name: the handbook's. mask: takes secret values out of a text.
        places: the environments whose incidents customers notice; None: all. An incident of no environment is of all.
    """
    here = (one for one in incidents if places is None or not one.environment or one.environment in places)
    shown = [one for one in (_public(each, spec, now, mask) for each in here) if one is not None]
    shown.sort(key=lambda one: one.started_at, reverse=True)
    current = tuple(one for one in shown if one.open)
    past = tuple(one for one in shown if not one.open)
    components = tuple(_component(public, shown, now) for public in dict.fromkeys(spec.services.values()))
    sentence, tone = _summary(current)
    title = spec.title or f"{name} status"
    return StatusPage(title, (spec.url or "").rstrip("/"), now, sentence, tone, components, current, past)


def _public(
    incident: Incident, spec: StatusPageSpec, now: float, mask: Callable[[str], str]
) -> PublicIncident | None:
    if incident.state == "merged":
        return None
    told = [one for one in incident.updates if one.public]
    names = tuple(dict.fromkeys(spec.services[one] for one in incident.services if one in spec.services))
    if not told and not (names and incident.severity in spec.announce):
        return None
    state = _STATES.get(incident.state, "investigating")
    ended: float | None = None
    if state == "resolved":
        ended = max(incident.started_at, incident.resolved_at or incident.closed_at or incident.started_at)
        if ended < now - DAYS * DAY:
            return None
    word, tone = WORDS.get(incident.severity, WORDS["SEV3"])
    updates = tuple(
        PublicUpdate(one.at, _said(mask(one.text)), _STATES.get(one.state, "investigating")) for one in told
    )
    return PublicIncident(
        id=incident.id,
        heading=f"Problem with {_joined(names)}" if names else "Problem",
        services=names,
        severity=incident.severity,
        word=word,
        tone=tone,
        state=state,
        started_at=incident.started_at,
        ended_at=ended,
        updates=tuple(sorted(updates, key=lambda one: one.at, reverse=True)),
    )


def _component(name: str, incidents: Sequence[PublicIncident], now: float) -> Component:
    mine = [one for one in incidents if name in one.services]
    worst = min((one for one in mine if one.open), key=lambda one: one.severity, default=None)
    word, tone = WORKING if worst is None or worst.state == "mitigated" else (worst.word, worst.tone)
    today = datetime.fromtimestamp(now, tz=UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = today - timedelta(days=DAYS - 1)
    days = tuple(_day(first + timedelta(days=number), mine, now) for number in range(DAYS))
    begin = first.timestamp()
    out = _covered(_spans([one for one in mine if one.severity in {"SEV1", "SEV2"}], now), begin, now)
    return Component(name, word, tone, days, 1 - out / max(1.0, now - begin))


def _day(date: datetime, incidents: Sequence[PublicIncident], now: float) -> DayOf:
    begin = date.timestamp()
    end = begin + DAY
    touched = [one for one in incidents if one.started_at < end and (one.ended_at or now) >= begin]
    worst = min(touched, key=lambda one: one.severity, default=None)
    word, tone = ("no incident", "ok") if worst is None else (worst.word, worst.tone)
    return DayOf(date.strftime("%Y-%m-%d"), word, tone, _covered(_spans(touched, now), begin, end))


def _spans(incidents: Iterable[PublicIncident], now: float) -> list[tuple[float, float]]:
    return sorted((one.started_at, now if one.ended_at is None else one.ended_at) for one in incidents)


def _covered(spans: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    """Seconds of a stretch in which at least one of the spans was; what overlaps counts once."""
    total, reached = 0.0, begin
    for first, last in spans:
        start, stop = max(first, reached), min(last, end)
        if stop > start:
            total += stop - start
            reached = stop
    return total


def _summary(current: Sequence[PublicIncident]) -> tuple[str, str]:
    live = [one for one in current if one.state != "mitigated"]
    if not current:
        return "Everything works", "ok"
    if not live:
        return "A problem was mended, and is being watched", "warning"
    worst = min(live, key=lambda one: one.severity)
    more = f", and {len(live) - 1} more" if len(live) > 1 else ""
    return f"{worst.heading}: {worst.word}{more}", worst.tone


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _said(text: str) -> str:
    """Words and line ends only: what cannot be seen has no business there."""
    kept = "".join(
        one if one == "\n" or unicodedata.category(one) not in {"Cc", "Cf", "Cs", "Co", "Cn"} else " "
        for one in text[:LONGEST_UPDATE]
    )
    return kept.strip() + ("…" if len(text) > LONGEST_UPDATE else "")


def _incident_json(one: PublicIncident) -> dict[str, Any]:
    return {
        "id": one.id,
        "title": one.heading,
        "services": list(one.services),
        "impact": one.word,
        "status": one.state,
        "started_at": _iso(one.started_at),
        "resolved_at": None if one.ended_at is None else _iso(one.ended_at),
        "updates": [{"at": _iso(each.at), "status": each.state, "text": each.text} for each in one.updates],
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
