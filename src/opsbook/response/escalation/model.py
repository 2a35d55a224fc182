"""The nouns of escalation. Times are epoch seconds, durations seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

State = Literal["paging", "acknowledged", "exhausted", "ended"]

OVER = frozenset({"resolved", "postmortem", "closed", "merged"})
"""The states of an incident about which nobody is paged any more."""


@dataclass(frozen=True, slots=True)
class Step:
    """Whom to page, and how many seconds after the step before."""

    page: tuple[str, ...]
    after: float


@dataclass(frozen=True, slots=True)
class Chain:
    """An escalation of the handbook, as it was when the incident opened.

    Args:
        repeat: how often it begins anew. repeat_after: seconds after the last step.
        acknowledge_timeout: seconds; 0.0: for ever.
    """

    name: str
    steps: tuple[Step, ...]
    repeat: int = 1
    repeat_after: float = 300.0
    acknowledge_timeout: float = 1800.0

    @property
    def length(self) -> int:
        """How many steps there are with all repetitions."""
        return len(self.steps) * (self.repeat + 1)

    def wait(self, position: int) -> float:
        """Seconds before the step at `position`, counted through all repetitions; at the end, before giving up."""
        number = position % len(self.steps)
        return self.repeat_after if position and not number else self.steps[number].after

    def step(self, position: int) -> Step:
        """The step at `position`, counted through all repetitions."""
        return self.steps[position % len(self.steps)]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Chain:
        steps = tuple(Step(tuple(one["page"]), float(one["after"])) for one in document["steps"])
        return cls(**{**document, "steps": steps})


class Incident(Protocol):
    """What is asked of an incident; `opsbook.response.incidents.model.Incident` is one."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def environment(self) -> str: ...
    @property
    def services(self) -> Sequence[str]: ...
    @property
    def runbook(self) -> str: ...
    @property
    def started_at(self) -> float | None: ...
    @property
    def acknowledged_at(self) -> float | None: ...
    @property
    def acknowledged_by(self) -> str: ...
    @property
    def escalation(self) -> str: ...
    @property
    def reopened(self) -> int: ...
    @property
    def alerts(self) -> Sequence[Any]: ...
    @property
    def suspects(self) -> Sequence[Any]: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """An incident as far as somebody who is woken has to know of it.

    Args:
        symptom: what is wrong, in a sentence. change: what changed shortly before.
        diagnosis: what was found, in a few lines. reopened: how often it was. alerts: how many belong to it.
    """

    id: str
    title: str
    severity: str = ""
    state: str = "triage"
    environment: str = ""
    services: tuple[str, ...] = ()
    runbook: str = ""
    started_at: float = 0.0
    acknowledged_at: float | None = None
    acknowledged_by: str = ""
    escalation: str = ""
    reopened: int = 0
    symptom: str = ""
    change: str = ""
    diagnosis: str = ""
    alerts: int = 0

    @property
    def over(self) -> bool:
        """Nobody is paged about it any more."""
        return self.state in OVER

    @property
    def place(self) -> str:
        """``production web, api``."""
        return " ".join(filter(None, (self.environment, ", ".join(self.services))))

    @classmethod
    def of(cls, incident: Incident) -> Subject:
        """The incident's, without a diagnosis."""
        alerts, suspects = incident.alerts, incident.suspects
        return cls(
            id=incident.id,
            title=short(incident.title, 200),
            severity=incident.severity,
            state=incident.state,
            environment=short(incident.environment or "", 80),
            services=tuple(short(one, 80) for one in incident.services)[:20],
            runbook=short(incident.runbook or "", 120),
            started_at=incident.started_at or 0.0,
            acknowledged_at=incident.acknowledged_at,
            acknowledged_by=short(incident.acknowledged_by or "", 80),
            escalation=incident.escalation or "",
            reopened=incident.reopened,
            symptom=short(alerts[0].summary, 300) if alerts else "",
            change=short(suspects[0].text, 300) if suspects else "",
            alerts=len(alerts),
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Subject:
        return cls(**{**document, "services": tuple(document["services"])})


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody to be paged.

    Args:
        person: a contact, or a team that has a channel; empty: only a channel is known.
        name: what the chain calls them: a schedule, a team, themselves.
        ways: the channels that reach them, the best first.
    """

    person: str
    name: str
    ways: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """A page on its way.

    Args:
        id: the same however often it is sent. turn: of the escalation. position: the step, through all repetitions.
        ways: all channels of that person; `channel` is the one that was taken.
    """

    id: str
    at: float
    turn: int
    position: int
    person: str
    name: str
    channel: str
    ways: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Escalation:
    """The paging about one incident.

    Args:
        turn: counts how often it began: at first, after an acknowledgement that ran out, when reopened.
        position: the step that is next, counted through all repetitions.
        since: when waiting for it began. hold: seconds that it waits at least, for the diagnosis.
        pages: of this turn, the oldest first. paged: how many there were in all turns.
        why: how it ended, or why it began again.
    """

    subject: Subject
    chain: Chain
    begun_at: float
    since: float
    state: State = "paging"
    turn: int = 1
    position: int = 0
    hold: float = 0.0
    pages: tuple[Sent, ...] = ()
    paged: int = 0
    acknowledged_by: str = ""
    acknowledged_at: float | None = None
    ended_at: float | None = None
    why: str = ""

    @property
    def id(self) -> str:
        """The incident's."""
        return self.subject.id

    @property
    def open(self) -> bool:
        """It has not ended."""
        return self.state != "ended"

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Escalation:
        """The inverse of `to_json`."""
        return cls(
            **{
                **document,
                "subject": Subject.from_json(document["subject"]),
                "chain": Chain.from_json(document["chain"]),
                "pages": tuple(Sent(**{**one, "ways": tuple(one["ways"])}) for one in document["pages"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Page:
    """A message that wakes somebody; `id` makes it once.

    Args:
        person, name: who, and what the chain calls them.
        channel: the channel of the handbook that takes it.
        link: where they acknowledge with one tap; empty: opsbook does not know its own address.
        url: of the incident in the console, for those who sign in.
        labels: for channels that are sent data: incident, severity, environment, service, runbook, escalation.
    """

    id: str
    incident: str
    person: str
    name: str
    channel: str
    at: float
    severity: str
    title: str
    text: str
    link: str = ""
    url: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def short(text: str, length: int) -> str:
    """One line of `text` without what cannot be seen: labels of alerts may come from anywhere."""
    line = " ".join("".join(one if one.isprintable() else " " for one in str(text)[: length * 4]).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def legible(text: str, length: int) -> str:
    """The lines of `text` without what cannot be seen, and no more than so many characters."""
    kept = "".join(one if one.isprintable() or one == "\n" else " " for one in text[:length])
    return "\n".join(line.rstrip() for line in kept.split("\n")).strip("\n")
