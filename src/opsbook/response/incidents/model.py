"""The nouns of incidents. All times are UTC epoch seconds; what did not happen is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

State = Literal["triage", "active", "mitigated", "resolved", "postmortem", "closed", "merged"]
Severity = Literal["SEV1", "SEV2", "SEV3", "SEV4"]

SEVERITIES: tuple[Severity, ...] = ("SEV1", "SEV2", "SEV3", "SEV4")
"""The worst first."""

OPEN: frozenset[State] = frozenset({"triage", "active", "mitigated"})
"""The states in which somebody has to do something."""

ROLES = ("commander", "scribe", "liaison")
"""Of which an incident has one each; responders are any number."""


def worse(one: Severity, other: Severity) -> Severity:
    """The one that is worse: when unsure, the higher severity holds."""
    return min(one, other)


@dataclass(frozen=True, slots=True)
class IncidentAlert:
    """An alert that belongs to an incident.

    Args:
        labels, summary: what it says; they may come from anywhere, and are text everywhere.
        runbook: the page it names.
        started_at: since when it fires. ended_at: None while it does.
    """

    fingerprint: str
    labels: Mapping[str, str]
    summary: str = ""
    runbook: str = ""
    started_at: float = 0.0
    ended_at: float | None = None

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")


@dataclass(frozen=True, slots=True)
class Suspect:
    """Something that changed near the start.

    Args:
        kind: of the event: ``deployment``, ``rollback``, ``configuration``, ``secret``, ``scaling``, ``alert``.
        subject: what it happened to. text: a sentence about it. at: when.
        score: 0 to 1, how much speaks for it. why: what does. event: the journal's id.
    """

    kind: str
    subject: str
    text: str
    at: float
    score: float
    why: str
    event: int = 0


@dataclass(frozen=True, slots=True)
class Attachment:
    """Something that was looked at: a diagnosis, a plot. Its body is a document of its own.

    Args:
        kind: ``text``, ``json`` or ``svg``.
    """

    id: str
    name: str
    kind: str
    at: float
    by: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody promised to do.

    Args:
        due: a day, ``2026-12-01``; empty: none was said.
        done_at: when it was done; None: it is not. by: who wrote it down.
    """

    id: str
    text: str
    owner: str = ""
    due: str = ""
    done_at: float | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Update:
    """What was told about an incident.

    Args:
        state: of the incident at that time. public: also on the status page.
    """

    at: float
    by: str
    text: str
    state: str
    public: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident.

    Args:
        id: ``inc-7``. slug: its title as a part of file names.
        environment: empty: none, or many. services: that it is about, the first one first.
        runbook: the page that was named first.
        started_at: since when it hurts. detected_at: when the first alert fired, or when it was declared.
        declared_at: when it was opened here.
        acknowledged_by, declared_by: actors. commander, scribe, liaison, responders: contacts.
        next_update_at: when the next word is due.
        merged_into: the incident that has taken it over. merged: those that it has taken over.
        reopened: how often.
        escalation: the name of the one that pages; empty: nobody is paged.
        self_resolved: all of its alerts ended before anybody did anything.
        postmortem: the path of the page within the handbook.
        impact: in numbers, as the post-mortem found it.
    """

    id: str
    title: str
    slug: str
    severity: Severity
    state: State
    environment: str = ""
    services: tuple[str, ...] = ()
    runbook: str = ""
    started_at: float
    detected_at: float
    declared_at: float
    acknowledged_at: float | None = None
    mitigated_at: float | None = None
    resolved_at: float | None = None
    closed_at: float | None = None
    acknowledged_by: str = ""
    declared_by: str = ""
    commander: str = ""
    scribe: str = ""
    liaison: str = ""
    responders: tuple[str, ...] = ()
    alerts: tuple[IncidentAlert, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    runs: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    updates: tuple[Update, ...] = ()
    next_update_at: float | None = None
    merged_into: str = ""
    merged: tuple[str, ...] = ()
    reopened: int = 0
    escalation: str = ""
    self_resolved: bool = False
    postmortem: str = ""
    impact: Mapping[str, Any] | None = field(default=None)

    @property
    def open(self) -> bool:
        """Whether somebody has to do something."""
        return self.state in OPEN

    @property
    def firing(self) -> tuple[IncidentAlert, ...]:
        """Its alerts that have not ended."""
        return tuple(alert for alert in self.alerts if alert.ended_at is None)

    @property
    def subject(self) -> str:
        """What the journal files it under, beside its own id: ``ENVIRONMENT/SERVICE`` of the first service."""
        return "/".join(one for one in (self.environment, *self.services[:1]) if one) or self.id

    def but(self, **changes: Any) -> Self:
        """The same with these fields changed."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """As it is kept, and told."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Incident:
        """The inverse of `to_json`; fields of other versions are left out."""
        known = {one.name for one in fields(cls)}
        kept = {name: value for name, value in document.items() if name in known}
        for name, kind in _LISTS.items():
            kept[name] = tuple(kind(**one) for one in kept.get(name, ()))
        for name in ("services", "responders", "runs", "merged"):
            kept[name] = tuple(kept.get(name, ()))
        return cls(**kept)


_LISTS: Mapping[str, type] = {
    "alerts": IncidentAlert,
    "suspects": Suspect,
    "attachments": Attachment,
    "actions": Action,
    "updates": Update,
}
