"""What the journal is made of: events in a hash chain, its head, leases, and the outcome of a verification.

All times are UTC epoch seconds, all durations seconds, all hashes and keys lower-case hexadecimal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

GENESIS = "0" * 64
"""The `previous` of the first event, and the head's hash of an empty journal."""


class Clock(Protocol):
    """The wall clock that the journal is handed; `opsbook.world.words.Clock` is one."""

    def now(self) -> float:
        """UTC epoch seconds. May jump: the order of events is their `id`, never `at`."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `hash` covers `previous` and every other field, so no event changes unseen."""

    id: int  # dense: 1, 2, ... n
    at: float
    kind: str  # "deployment.requested"; registered with `opsbook.journal.register`
    subject: str  # "production/web"
    actor: str
    data: Mapping[str, Any]  # JSON
    hash: str
    previous: str

    def to_json(self) -> dict[str, Any]:
        """The event as the export and the API write it."""
        return {
            "id": self.id,
            "at": self.at,
            "kind": self.kind,
            "subject": self.subject,
            "actor": self.actor,
            "data": dict(self.data),
            "hash": self.hash,
            "previous": self.previous,
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """An event that is to be written, as `Journal.append` takes it."""

    kind: str
    subject: str
    data: Mapping[str, Any]
    actor: str


@dataclass(frozen=True, slots=True)
class Head:
    """The newest event's id and hash: it stands for the whole journal up to there."""

    id: int
    hash: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to be the one writer of a subject, until `expires_at` or until somebody takes over.

    `token` is the fencing token: it grows with each acquisition of the subject, forever. A writer whose
    token is not the newest has been superseded and is refused, however late it wakes up.
    """

    subject: str
    holder: str
    reason: str
    token: int
    expires_at: float
    acquired_at: float


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether the chain is whole; if not, `broken_at` is the id of the first event that does not fit."""

    ok: bool
    checked: int  # events that were found good
    broken_at: int | None = None
    reason: str = ""
