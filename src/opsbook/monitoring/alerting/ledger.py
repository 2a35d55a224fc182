"""What alerting must not forget, as documents of the journal's database.

The decision that somebody is to be told and the message itself are written in one transaction, before it is sent.
Where the database cannot be written (a full disk), alerts are told all the same: what could not be written is kept and
written as soon as it can be; until then a crash might have a message sent twice, or an end not told.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from opsbook.errors import Invalid, OpsbookError
from opsbook.journal.model import Entry
from opsbook.monitoring.alerting.model import Record, Silence, Told, record_from, told_from
from opsbook.monitoring.alerting.silence_documents import silence_from, silence_to_json

_ALERT: Final = "alerting/alert/"
_TOLD: Final = "alerting/told/"
_SPENT: Final = "alerting/spent/"
_SILENCE: Final = "alerting/silence/"
OUTBOX: Final = "alerting/outbox/"

Documents = Mapping[str, Any | None]


class _State(Protocol):
    def items(self, prefix: str = "") -> dict[str, Any]: ...


class Writing(Protocol):
    """The part of a journal that is written to."""

    @property
    def state(self) -> _State: ...

    def append_all(self, entries: Sequence[Entry], *, put: Documents | None = None) -> object: ...


@dataclass(slots=True)
class Remembered:
    """All of it, as it was written last."""

    records: dict[str, Record] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    spent: dict[str, tuple[float, ...]] = field(default_factory=dict)
    silences: dict[str, Silence] = field(default_factory=dict)
    outbox: dict[str, Any] = field(default_factory=dict)


def name_of(told: Told) -> str:
    """As `Destination.name`."""
    return f"{told.channel}\n{told.key}"


class Ledger:
    """Reads once, then writes."""

    def __init__(self, journal: Writing) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._documents: dict[str, Any | None] = {}  # that could not be written yet
        self._entries: list[Entry] = []
        self.trouble = ""  # why the last write failed; empty: it did not

    def read(self) -> Remembered:
        """What was written before the restart. Raises OpsbookError."""
        state = self._journal.state
        told = [told_from(document) for document in state.items(_TOLD).values()]
        return Remembered(
            records={
                key.removeprefix(_ALERT): record_from(document)
                for key, document in state.items(_ALERT).items()
            },
            told={name_of(one): one for one in told},
            spent={key.removeprefix(_SPENT): tuple(at) for key, at in state.items(_SPENT).items()},
            silences={
                key.removeprefix(_SILENCE): silence_from(document)
                for key, document in state.items(_SILENCE).items()
            },
            outbox=state.items(OUTBOX),
        )

    def write(self, documents: Documents, entries: Iterable[Entry] = ()) -> bool:
        """Write it, and what could not be written before, in one transaction. False: it could not be, yet.

        Raises:
            Invalid: it is no JSON.
        """
        with self._lock:
            documents = {**self._documents, **documents}
            entries = [*self._entries, *entries]
            if not documents and not entries:
                return True
            try:
                self._journal.append_all(entries, put=documents)
            except Invalid:
                raise  # it would never be written: nothing of it is kept
            except OpsbookError as error:
                self._documents, self._entries, self.trouble = documents, entries, str(error)
                return False
            self._documents, self._entries, self.trouble = {}, [], ""
            return True


def record_document(fingerprint: str, record: Record | None) -> tuple[str, Any]:
    """Key and document; None deletes."""
    return _ALERT + fingerprint, None if record is None else record.to_json()


def told_document(name: str, told: Told | None) -> tuple[str, Any]:
    """Key and document; None deletes."""
    key = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:32]
    return _TOLD + key, None if told is None else told.to_json()


def spent_document(channel: str, spent: tuple[float, ...]) -> tuple[str, Any]:
    """Key and document."""
    return _SPENT + channel, list(spent)


def silence_document(silence_id: str, silence: Silence | None) -> tuple[str, Any]:
    """Key and document; None deletes."""
    return _SILENCE + silence_id, None if silence is None else silence_to_json(silence)
