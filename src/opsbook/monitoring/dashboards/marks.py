"""What is marked in charts: deployments as lines, alerts as bands, from what the journal says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from opsbook.journal import Event

State = Literal["ok", "warning", "critical", "running", "unknown"]
KINDS = (
    "deployment.requested",
    "deployment.succeeded",
    "deployment.rolled_back",
    "deployment.failed",
    "deployment.aborted",
    "deployment.reverted",
    "alert.firing",
    "alert.resolved",
)
_ENDS: Mapping[str, tuple[State, str]] = {
    "deployment.requested": ("running", "began"),
    "deployment.succeeded": ("ok", "serves"),
    "deployment.rolled_back": ("critical", "was taken back"),
    "deployment.failed": ("critical", "failed"),
    "deployment.aborted": ("warning", "was aborted"),
    "deployment.reverted": ("critical", "was taken back in its watch window"),
}
_SEVERITIES: Mapping[str, State] = {"critical": "critical", "warning": "warning"}


@dataclass(frozen=True, slots=True)
class Mark:
    """Something to see a chart's turn by.

    Args:
        at: epoch seconds.
        until: of a band, its end; None: it is a line.
        href: of the page about it.
    """

    at: float
    until: float | None
    state: State
    text: str
    href: str = ""


def concerns(subjects: Sequence[str], subject: str) -> bool:
    """Whether an event about `subject` belongs to a dashboard with these subjects; none: all do."""
    return not subjects or any(subject == one or subject.startswith(f"{one}/") for one in subjects)


def marks(events: Iterable[Event], subjects: Sequence[str], start: float, end: float) -> tuple[Mark, ...]:
    """The marks between two times.

    Args:
        events: of the kinds `KINDS`, in order; they may begin before `start`, so that what fires since then is known.
        end: until when alerts that have not resolved are drawn.
    """
    found: list[Mark] = []
    firing: dict[str, Event] = {}
    for event in events:
        if not concerns(subjects, event.subject):
            continue
        if event.kind in _ENDS:
            found.append(_of_deployment(event))
        elif event.kind == "alert.firing":
            firing[str(event.data.get("fingerprint", ""))] = event
        elif event.kind == "alert.resolved":
            began = firing.pop(str(event.data.get("fingerprint", "")), None)
            fired_at = event.data.get("fired_at")
            since = began.at if began else float(fired_at) if fired_at is not None else event.at
            found.append(_of_alert(event, since, event.at))
    found += [_of_alert(event, event.at, end) for event in firing.values()]
    shown = (mark for mark in found if mark.at <= end and (mark.until or mark.at) >= start)
    return tuple(sorted(shown, key=lambda mark: (mark.at, mark.text)))


def _of_deployment(event: Event) -> Mark:
    state, word = _ENDS[event.kind]
    service = event.subject.rpartition("/")[2]
    name = str(event.data.get("id", ""))
    text = " ".join(part for part in (service, str(event.data.get("version", "")), word) if part)
    return Mark(event.at, None, state, text, f"/deployments/{name}" if name.startswith("d-") else "")


def _of_alert(event: Event, since: float, until: float) -> Mark:
    state = _SEVERITIES.get(str(event.data.get("severity", "")), "unknown")
    fingerprint = str(event.data.get("fingerprint", ""))
    text = f"{event.data.get('alertname', 'alert')} {event.subject}"
    return Mark(since, until, state, text, f"/alerts/{fingerprint}" if fingerprint else "")
