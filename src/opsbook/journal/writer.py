"""The one way to write: a transaction in which events, state and leases change together or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from opsbook.errors import Failed, Invalid
from opsbook.journal.announcements import Announcements
from opsbook.journal.canonical import LARGEST_DATA, canonical, digest, label, normal
from opsbook.journal.database import Database
from opsbook.journal.kinds import kind_of
from opsbook.journal.model import GENESIS, Clock, Entry, Event, Head
from opsbook.journal.schema import events

_NEWEST = sa.select(events.c.id, events.c.hash).order_by(events.c.id.desc()).limit(1)
_APPEND = sa.insert(events)


def head_of(connection: sa.Connection) -> Head:
    """The newest event's id and hash as this connection sees it."""
    row = connection.execute(_NEWEST).first()
    return Head(row.id, row.hash) if row else Head(0, GENESIS)


class Transaction:
    """A write transaction under way."""

    def __init__(self, connection: sa.Connection, clock: Clock, mask: Callable[[str], str] | None) -> None:
        self.connection = connection
        self.appended: list[Event] = []
        self._clock = clock
        self._mask = mask

    def append(self, kind: str, subject: str, data: Mapping[str, Any], *, actor: str) -> Event:
        """Chain one event to the newest.

        Raises:
            Invalid: an unknown kind, a name that is none, or data that is not JSON or too large.
        """
        return self.append_all([Entry(kind, subject, data, actor)])[0]

    def append_all(self, entries: Sequence[Entry]) -> list[Event]:
        """Chain several events, in their order; a storm of them costs one statement.

        Raises:
            Invalid: see `append`.
        """
        head = head_of(self.connection)
        number, previous = head.id, head.hash
        found, rows = [], []
        for entry in entries:
            event, text = self._chained(number + 1, previous, entry)
            number, previous = event.id, event.hash
            found.append(event)
            rows.append(event.to_json() | {"data": text})
        if rows:
            self.connection.execute(_APPEND, rows)
        self.appended += found
        return found

    def _chained(self, number: int, previous: str, entry: Entry) -> tuple[Event, str]:
        data = entry.data
        kind = kind_of(entry.kind).name
        subject, actor = label(entry.subject, where="subject"), label(entry.actor, where="actor")
        if not isinstance(data, Mapping):
            raise Invalid("the data of an event is an object", hint="give a mapping", where=f"{kind} data")
        plain = normal(data, where=f"{kind} data", mask=self._mask)
        text = canonical(plain)
        if (size := len(text.encode())) > LARGEST_DATA:
            raise Invalid(
                f"{size} bytes of data are more than the {LARGEST_DATA} an event may have",
                hint="keep the bulk in a file and journal its path and hash",
                where=f"{kind} data",
                details={"size": size, "limit": LARGEST_DATA},
            )
        at = float(self._clock.now())
        own = digest(previous, id=number, at=at, kind=kind, subject=subject, actor=actor, data=plain)
        return Event(number, at, kind, subject, actor, plain, own, previous), text


class Writer:
    """Gives out write transactions, one at a time, and announces what they appended."""

    def __init__(
        self,
        database: Database,
        announcements: Announcements,
        clock: Clock,
        mask: Callable[[str], str] | None,
    ) -> None:
        self._database = database
        self._announcements = announcements
        self._clock = clock
        self._mask = mask
        # Threads of this process queue here: fairer and faster than at the database's own lock.
        self._turn = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction; committed when the block ends, undone when it raises. Not to be nested.

        Raises:
            Failed, Unreachable: see `Database.write`.
        """
        if not self._turn.acquire(timeout=self._database.busy_timeout + 1):
            raise Failed(
                f"another thread has kept the journal for {self._database.busy_timeout:g} s",
                hint="try again",
                where=self._database.where,
            )
        try:
            with self._database.write() as connection:
                transaction = Transaction(connection, self._clock, self._mask)
                yield transaction
            self._announcements.queue(transaction.appended)
        finally:
            self._turn.release()
        self._announcements.deliver()
