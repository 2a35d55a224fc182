"""The summary for who comes next on call. Pure, from what the journal knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from opsbook.journal import Event
from opsbook.response.oncall.model import Override, Shift
from opsbook.terminal import count, duration

KINDS = (
    "escalation.begun",
    "escalation.paged",
    "escalation.acknowledged",
    "escalation.ended",
    "escalation.exhausted",
    "deployment.succeeded",
    "deployment.rolled_back",
    "deployment.failed",
    "deployment.aborted",
    "deployment.reverted",
    "runbook.ended",
    "oncall.override_added",
)
"""The events that a summary is made of."""
_NIGHT = (22, 7)  # local hours
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Told:
    """An incident of the shift: how often it paged, and how many seconds until somebody answered."""

    incident: str
    title: str
    severity: str
    place: str
    at: float
    pages: int
    answered_by: str = ""
    answered_after: float | None = None
    state: str = ""


@dataclass(frozen=True, slots=True)
class HandOver:
    """See the module. Times are epoch seconds; `timezone` is the schedule's.

    Args:
        shift: the one that ends. following: the one that begins; None: nobody takes over.
        open: incidents that are not over. incidents: those of the shift.
        night: pages between 22 and 7 o'clock. changes: deployments of the shift, by how they ended.
        trouble: those that did not go well. gaps: times ahead in which nobody is on call. overrides: ahead.
    """

    schedule: str
    timezone: str
    at: float
    shift: Shift
    following: Shift | None
    open: tuple[Told, ...]
    incidents: tuple[Told, ...]
    pages: int
    night: int
    median_answer: float | None
    changes: Mapping[str, int]
    trouble: tuple[str, ...]
    gaps: tuple[Shift, ...]
    overrides: tuple[Override, ...]

    def to_json(self) -> dict[str, Any]:
        """As it is told."""
        return {
            "schedule": self.schedule,
            "timezone": self.timezone,
            "at": self.at,
            "shift": self.shift.to_json(),
            "next": self.following.to_json() if self.following else None,
            "open": [asdict(one) for one in self.open],
            "incidents": [asdict(one) for one in self.incidents],
            "pages": self.pages,
            "night": self.night,
            "median_answer": self.median_answer,
            "changes": dict(self.changes),
            "trouble": list(self.trouble),
            "gaps": [one.to_json() for one in self.gaps],
            "overrides": [one.to_json() for one in self.overrides],
        }


def handover(
    schedule: str,
    timezone: str,
    at: float,
    shift: Shift,
    following: Shift | None,
    *,
    events: Iterable[Event],
    open_: Iterable[Told],
    severities: Mapping[str, str],
    gaps: Sequence[Shift],
    overrides: Sequence[Override],
) -> HandOver:
    """Put together.

    Args:
        events: of the shift, of `KINDS`, in their order.
        open_: incidents that are not over, whenever they began. severities: of incidents, as they are by now.
    """
    zone = ZoneInfo(timezone)
    found: dict[str, Told] = {}
    changes: Counter[str] = Counter()
    trouble: list[str] = []
    pages = night = 0
    for event in events:
        room, _, what = event.kind.partition(".")
        if room == "escalation":
            found |= _told(found, event, what)
            if what == "paged":
                pages += 1
                hour = datetime.fromtimestamp(event.at, zone).hour
                night += hour >= _NIGHT[0] or hour < _NIGHT[1]
        elif room == "deployment":
            changes[what] += 1
            if what != "succeeded":
                words = f"{event.subject} {event.data.get('version', '')} {what.replace('_', ' ')}"
                trouble.append(f"{words}: {event.data.get('reason', '')}".rstrip(": "))
        elif room == "runbook" and event.data.get("outcome") not in {"succeeded", None}:
            said = f"{event.data.get('page', '')} {event.data['outcome']}".replace("_", " ")
            trouble.append(f"runbook {said.strip()} ({event.data.get('id', '')})")
    still = tuple(open_)
    for name, told in found.items():
        again = told.state != "acknowledged" and told.state and name in {one.incident for one in still}
        found[name] = replace(
            told,
            severity=severities.get(name, told.severity),
            state="open again" if again else told.state,
        )
    answers = [one.answered_after for one in found.values() if one.answered_after is not None]
    return HandOver(
        schedule=schedule,
        timezone=timezone,
        at=at,
        shift=shift,
        following=following,
        open=still,
        incidents=tuple(found.values()),
        pages=pages,
        night=night,
        median_answer=median(answers) if answers else None,
        changes=dict(changes),
        trouble=tuple(trouble[-_NAMED:]),
        gaps=tuple(gaps),
        overrides=tuple(overrides),
    )


def open_from(documents: Iterable[Mapping[str, Any]]) -> tuple[Told, ...]:
    """The incidents that are not over, from the documents of escalation."""
    found = []
    for one in documents:
        if one["state"] == "ended":
            continue
        subject, answered = one["subject"], one["acknowledged_at"]
        place = "/".join(filter(None, (subject["environment"], *subject["services"][:1])))
        found.append(
            Told(
                incident=subject["id"],
                title=subject["title"],
                severity=subject["severity"],
                place=place,
                at=one["begun_at"],
                pages=one["paged"],
                answered_by=one["acknowledged_by"],
                answered_after=None if answered is None else answered - one["begun_at"],
                state="" if answered is not None else "nobody has answered",
            )
        )
    return tuple(sorted(found, key=lambda one: one.at))


def _told(found: Mapping[str, Told], event: Event, what: str) -> dict[str, Told]:
    name, data = str(event.data.get("incident", "")), event.data
    known = found.get(name)
    if known is None:
        # Of one that began before the shift only what happened within it is known.
        known = Told(
            name, str(data.get("title", "")), str(data.get("severity", "")), event.subject, event.at, 0
        )
    fields = {field: getattr(known, field) for field in Told.__slots__}
    if what == "paged":
        fields["pages"] += 1
    elif what == "acknowledged" and known.answered_after is None:
        fields |= {"answered_by": str(data.get("by", "")), "answered_after": data.get("seconds")}
        fields |= {"title": known.title or str(data.get("title", "")), "state": "acknowledged"}
    elif what == "ended":
        fields["state"] = str(data.get("why", "over"))
    elif what == "exhausted":
        fields["state"] = "nobody answered"
    return {name: Told(**fields)}


def markdown(one: HandOver) -> str:
    """As a page for people."""
    zone = ZoneInfo(one.timezone)

    def when(at: float) -> str:
        return datetime.fromtimestamp(at, zone).strftime("%a %d %b %H:%M")

    ending, coming = ", ".join(one.shift.people) or "nobody", one.following
    lines = [f"# Hand-over of {one.schedule}", ""]
    lines.append(f"{ending} since {when(one.shift.start)} ({one.timezone}).")
    if coming is not None:
        lines.append(f"{', '.join(coming.people)} from {when(coming.start)} until {when(coming.end)}.")
    else:
        lines.append("**Nobody takes over in the next 30 days.**")
    lines += ["", "## Open now", ""]
    lines += [f"- {_line(told)}" for told in one.open] or ["Nothing."]
    lines += ["", "## The shift", ""]
    answered = (
        f", answered after {duration(one.median_answer)} (median)" if one.median_answer is not None else ""
    )
    lines.append(
        f"{count(len(one.incidents), 'incident')}, {count(one.pages, 'page')}, {one.night} of them at night{answered}."
    )
    if one.incidents:
        lines += ["", *(f"- {_line(told)}" for told in one.incidents[-_NAMED:])]
    if one.changes:
        said = ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in sorted(one.changes.items()))
        lines += ["", f"Deployments: {said}."]
    if one.trouble:
        lines += ["", "Did not go well:", "", *(f"- {_plain(text)}" for text in one.trouble)]
    lines += ["", "## Ahead", ""]
    lines += [f"- **Nobody is on call** {when(gap.start)} to {when(gap.end)}" for gap in one.gaps]
    lines += [
        f"- {change.person} stands in {when(change.start)} to {when(change.end)}"
        + (f" ({_plain(change.reason)})" if change.reason else "")
        for change in one.overrides
    ]
    if not one.gaps and not one.overrides:
        lines.append("Nothing out of the ordinary.")
    return "\n".join(lines) + "\n"


def _line(told: Told) -> str:
    parts = [f"{told.incident} {told.severity} {_plain(told.title)}".replace("  ", " ").strip(), told.place]
    if told.pages:
        parts.append(count(told.pages, "page"))
    if told.answered_by:
        parts.append(f"{told.answered_by} after {duration(told.answered_after or 0.0)}")
    if told.state and told.state != "acknowledged":
        parts.append(told.state)
    return " · ".join(filter(None, parts))


def _plain(text: str) -> str:
    """What comes from alerts says nothing in Markdown or HTML."""
    kept = " ".join(str(text).split())
    return "".join(f"\\{one}" if one in r"\`*_[]<>#|!" else one for one in kept)[:400]
