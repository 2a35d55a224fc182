"""The nouns of incidents. Times are UTC epoch seconds; a text that nobody has given is empty, a time is None.

Everything that an alert says (labels, summary, runbook) was written by whoever could make it fire: it is data to be
shown, escaped, and never more than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final, Literal, Self, get_args

from opsbook.errors import Invalid

Severity = Literal["SEV1", "SEV2", "SEV3", "SEV4"]
State = Literal["triage", "active", "mitigated", "resolved", "postmortem", "closed", "merged"]

SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
"""The worst first."""
STATES: Final[tuple[State, ...]] = get_args(State)
OPEN: Final[frozenset[State]] = frozenset({"triage", "active", "mitigated"})
"""Somebody has to do something about it."""
OVER: Final[frozenset[State]] = frozenset({"resolved", "postmortem", "closed"})
"""Users notice it no more; it may be opened again."""
ATTACHMENTS: Final = ("text", "json", "svg")
ROLES: Final = ("commander", "scribe", "liaison")
"""Of which an incident has one each; responders are any number."""

_NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


def _read(kind: type, document: Mapping[str, Any]) -> dict[str, Any]:
    """What of a document this version knows; a newer one may have written more."""
    known = {one.name for one in fields(kind)}
    return {name: value for name, value in document.items() if name in known}


@dataclass(frozen=True, slots=True)
class IncidentAlert:
    """An alert that belongs to it. `ended_at` None: it still fires."""

    fingerprint: str
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    summary: str = ""
    runbook: str = ""
    started_at: float = 0.0
    ended_at: float | None = None

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def firing(self) -> bool:
        return self.ended_at is None

    def to_json(self) -> dict[str, Any]:
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**said, "labels": dict(self.labels)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> IncidentAlert:
        return cls(**_read(cls, document))


@dataclass(frozen=True, slots=True)
class Suspect:
    """What may be behind it.

    Args:
        kind: ``deployment``, ``rollback``, ``scaling``, ``book``, ``secret``, ``runbook``, ``alert``.
        subject: what changed, e.g. ``production/web``. text: that, in words.
        score: 0 to 1. why: the evidence. event: its id in the journal; 0: there is none.
    """

    kind: str
    subject: str
    text: str
    at: float
    score: float = 0.0
    why: str = ""
    event: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Suspect:
        return cls(**_read(cls, document))


@dataclass(frozen=True, slots=True)
class Attachment:
    """Something kept with it, such as a diagnosis; the body has a state document of its own.

    `kind` is one of `ATTACHMENTS`.
    """

    id: str
    name: str
    kind: str = "text"
    at: float = 0.0
    by: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Attachment:
        return cls(**_read(cls, document))


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody promised to do, so that it does not happen again.

    Args:
        due: a day, ``2026-12-01``; empty: none was said. by: who wrote it down.
    """

    id: str
    text: str
    owner: str = ""
    due: str = ""
    done_at: float | None = None
    by: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Action:
        return cls(**_read(cls, document))


@dataclass(frozen=True, slots=True)
class Update:
    """What others were told. `state`: the incident's then. `public`: customers were told too."""

    at: float
    by: str
    text: str
    state: str = "triage"
    public: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Update:
        return cls(**_read(cls, document))


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that users notice, or will, and what people do about it.

    Args:
        title: a sentence. slug: the title for a file's name.
        started_at: when the impact began, as far as is known; `detected_at`: when opsbook, or whoever declared it,
            noticed; `declared_at`: when it became an incident.
        runs: of runbooks, by their ids. alerts: as they came. suspects: the likeliest first.
        next_update_at: when others are to be told something again; None: nobody waits.
        merged_into: the incident that has taken it over; `merged`: those that this one has taken over.
        reopened: how often. self_resolved: its alerts ended before anybody touched it.
        escalation: the chain of the policy by which people are paged; empty: the usual one.
        postmortem: its path in the handbook. impact: in numbers, once they were measured.
        answered_at: when it was first acknowledged; reopening takes `acknowledged_at` back, not this.
    """

    id: str
    title: str = ""
    slug: str = ""
    severity: Severity = "SEV2"
    state: State = "triage"
    environment: str = ""
    services: tuple[str, ...] = ()
    runbook: str = ""
    started_at: float = 0.0
    detected_at: float = 0.0
    declared_at: float = 0.0
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
    impact: Mapping[str, Any] | None = None
    answered_at: float | None = None

    @property
    def open(self) -> bool:
        """Somebody has to do something about it."""
        return self.state in OPEN

    @property
    def firing(self) -> tuple[IncidentAlert, ...]:
        return tuple(alert for alert in self.alerts if alert.ended_at is None)

    @property
    def subject(self) -> str:
        """What the journal files it under: ``production/web``, of the first service."""
        return "/".join(one for one in (self.environment, *self.services[:1]) if one) or self.id

    def but(self, **changes: Any) -> Self:
        """The same with these fields changed."""
        return replace(self, **changes)

    @property
    def number(self) -> int:
        """7 of ``inc-7``."""
        return number_of(self.id)

    def to_json(self) -> dict[str, Any]:
        """As it is kept, and told."""
        return {one.name: _written(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Incident:
        """The inverse of `to_json`; what a newer version wrote beside it is left aside."""
        said = _read(cls, document)
        for name, kind in _PARTS.items():
            said[name] = tuple(kind.from_json(one) for one in said.get(name) or ())
        for name in ("services", "responders", "runs", "merged"):
            said[name] = tuple(said.get(name) or ())
        return cls(**said)


_PARTS: Final[Mapping[str, Any]] = {
    "alerts": IncidentAlert,
    "suspects": Suspect,
    "attachments": Attachment,
    "actions": Action,
    "updates": Update,
}


def _written(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_written(one) for one in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value.to_json() if hasattr(value, "to_json") else value


def number_of(name: str) -> int:
    """7 of ``inc-7``; 0 of what is no incident's id."""
    digits = name.removeprefix("inc-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else 0


def severity_of(text: str) -> Severity:
    """``sev1``, ``1`` and ``SEV1`` are the same. Raises Invalid."""
    wanted = text.strip().upper()
    for severity in SEVERITIES:
        if wanted in (severity, severity.removeprefix("SEV")):
            return severity
    raise Invalid(f"there is no severity {text[:40]!r}", hint=f"one of {', '.join(SEVERITIES)}")


def worse(one: Severity, other: Severity) -> Severity:
    """When unsure, the higher."""
    return min(one, other, key=SEVERITIES.index)
