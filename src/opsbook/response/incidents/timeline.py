"""What happened, in the order in which it did: the journal, asked about one incident. Pure but for the question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from opsbook.response.incidents.model import Incident
from opsbook.response.incidents.suspects import Happened
from opsbook.response.incidents.text import line
from opsbook.response.incidents.wording import WORDS

BEFORE: Final = 1800.0
"""Seconds before the start that belong to it."""
AFTER: Final = 300.0
LATE: Final = 60.0
KINDS: Final = (
    "alert.*", "deployment.*", "instance.changed", "book.changed", "book.version_written", "incident.*",
    "escalation.*", "notification.failed", "runbook.*", "probe.*", "silence.*", "slo.*", "diagnosis.made",
    "postmortem.*", "traffic.serving", "traffic.refused", "traffic.proxy", "server.started", "server.stopped",
    "status_page.published", "oncall.*", "freeze.*",
)  # fmt: skip
_PLACELESS: Final = frozenset({"server.started", "server.stopped", "traffic.proxy"})


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened.

    Args:
        id: of the event in the journal. at: when it happened. recorded_at: when that was written down.
        kind: ``note`` for people's words, else the event's.
        late: it was written down long after it happened.
    """

    id: int
    at: float
    recorded_at: float
    kind: str
    text: str
    actor: str
    subject: str
    late: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def belongs(event: Happened, incident: Incident, related: Callable[[str, str], bool]) -> bool:
    """Whether an event of the stretch of an incident is about it."""
    named = event.data.get("incident")
    if named is not None and named != "":
        return named == incident.id or named in incident.merged
    if event.kind.startswith(("incident.", "escalation.", "postmortem.")):
        return False
    if event.kind in _PLACELESS:
        return True
    if event.kind.startswith("runbook.") and event.data.get("id") in incident.runs:
        return True
    if event.kind == "book.changed":
        changed = [str(one).rpartition("/")[2] for one in event.data.get("services", ())]
        return not incident.services or any(one in incident.services for one in changed)
    environment, _, service = event.subject.partition("/")
    if environment != incident.environment or not environment:
        return False
    return not service or any(service == one or related(service, one) for one in incident.services)


def moments(
    incident: Incident, events: Iterable[Happened], *, related: Callable[[str, str], bool]
) -> tuple[Moment, ...]:
    """The timeline, the oldest first; what repeats itself at once is said once."""
    found: list[Moment] = []
    for event in events:
        if not belongs(event, incident, related):
            continue
        text = said(event)
        if not text:
            continue
        if (of := event.data.get("incident")) in incident.merged:
            text = f"{of}: {text}"
        at = _occurred(event)
        moment = Moment(
            id=event.id,
            at=at,
            recorded_at=event.at,
            kind="note" if event.kind == "incident.noted" else event.kind,
            text=text,
            actor="" if event.actor == "opsbook" else line(event.actor, 60),
            subject=event.subject,
            late=event.at - at > LATE,
        )
        if found and (found[-1].text, found[-1].kind) == (moment.text, moment.kind):
            continue
        found.append(moment)
    return tuple(sorted(found, key=lambda one: (one.at, one.id)))


def _occurred(event: Happened) -> float:
    """When it was so: an alert's beginning lies before the moment at which it was written down."""
    data = event.data
    if event.kind == "alert.firing":
        for key in ("active_at", "starts_at", "since"):
            if isinstance(data.get(key), int | float):
                return min(float(data[key]), event.at)
    return event.at


def said(event: Happened) -> str:
    """An event in a sentence; empty: it says nothing to people."""
    data: Mapping[str, Any] = event.data
    words = WORDS.get(event.kind)
    if words is None:
        return ""
    try:
        return line(words(data, event.subject.rpartition("/")[2] or event.subject), 400)
    except (KeyError, TypeError, ValueError, AttributeError):
        return line(
            event.kind.replace(".", " ").replace("_", " "), 400
        )  # of another version, or pushed by somebody
