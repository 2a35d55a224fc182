"""The journal: what happened, what is current because of it, and who may write next.

SQLAlchemy is imported when a journal is opened, not before: the command line starts faster without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opsbook.journal.announcements import Announcements
from opsbook.journal.canonical import canonical
from opsbook.journal.model import Clock, Entry, Event, Head, Lease, Verification
from opsbook.journal.signing import SigningKey, fault

if TYPE_CHECKING:
    from opsbook.journal.database import Database
    from opsbook.journal.leases import Leases
    from opsbook.journal.state import State
    from opsbook.journal.writer import Writer

_POLL = 0.5  # seconds between looks for what other processes appended


class Journal:
    """An append-only, hash-chained journal in SQLite or PostgreSQL, with current state and leases beside it.

    Threads may share one; several processes may have the same database open.
    """

    state: State
    leases: Leases

    def __init__(
        self,
        database: Database,
        writer: Writer,
        *,
        state: State,
        leases: Leases,
        announcements: Announcements,
        key: SigningKey,
        clock: Clock,
    ) -> None:
        """Use `Journal.open`."""
        self.state = state
        self.leases = leases
        self._database = database
        self._writer = writer
        self._announcements = announcements
        self._key = key
        self._clock = clock

    @classmethod
    def open(
        cls,
        url_or_path: str | Path,
        *,
        keys: Path,
        clock: Clock,
        mask: Callable[[str], str] | None = None,
        busy_timeout: float = 10.0,
    ) -> Journal:
        """Open the journal, and make or migrate its tables.

        Args:
            url_or_path: the path of a SQLite file, or ``postgresql://…``.
            keys: the folder of the signing key, which is made when first needed.
            clock: gives the times of events and leases.
            mask: applied to every string in an event's data before it is hashed and written, so that secret
                values never reach the journal. State documents are not masked: they are read back as they
                were put.
            busy_timeout: seconds to wait for other processes that write.

        Raises:
            Invalid: the URL is of no known kind.
            Failed: the database cannot be used; the hint says what to do. Unreachable: the server does not
                answer.
        """
        from opsbook.journal.database import Database
        from opsbook.journal.leases import Leases
        from opsbook.journal.schema import migrate
        from opsbook.journal.state import State
        from opsbook.journal.writer import Writer

        database = Database(url_or_path, busy_timeout=busy_timeout)
        try:
            with database.write() as connection:
                migrate(connection, now=float(clock.now()), where=database.where)
        except BaseException:
            database.close()
            raise
        announcements = Announcements()
        writer = Writer(database, announcements, clock, mask)
        return cls(
            database,
            writer,
            state=State(database, writer),
            leases=Leases(database, writer, clock),
            announcements=announcements,
            key=SigningKey(keys),
            clock=clock,
        )

    def append(
        self,
        kind: str,
        subject: str,
        data: Mapping[str, Any],
        *,
        actor: str,
        lease: Lease | None = None,
        put: Mapping[str, Any | None] | None = None,
    ) -> Event:
        """Write down what happened, and the state that follows from it, in one transaction that is on disk
        on return.

        Args:
            kind: registered with `opsbook.journal.register`.
            subject: what it happened to, e.g. ``production/web``.
            data: JSON, at most 256 KiB.
            actor: who did it.
            lease: refuse the write unless this is still the newest lease of its subject.
            put: state documents by key; None deletes.

        Raises:
            Conflict: superseded writer.
            Invalid: unknown kind, data that is not JSON or too large.
            Failed, Unreachable: the database could not write; nothing of it was written.
        """
        from opsbook.journal.leases import check
        from opsbook.journal.state import apply

        with self._writer.transaction() as transaction:
            if lease is not None:
                check(transaction.connection, lease)
            event = transaction.append(kind, subject, data, actor=actor)
            if put:
                apply(transaction.connection, put)
        return event

    def append_all(
        self, entries: Sequence[Entry], *, put: Mapping[str, Any | None] | None = None
    ) -> list[Event]:
        """Write down several events and the state that follows from them, in one transaction; see `append`.

        Thousands of them take a fraction of a second. Without entries, only the documents are written.

        Raises:
            Invalid, Failed, Unreachable: see `append`; nothing of it was written.
        """
        from opsbook.journal.state import apply

        with self._writer.transaction() as transaction:
            found = transaction.append_all(entries)
            if put:
                apply(transaction.connection, put)
        return found

    def events(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        kinds: Sequence[str] = (),
        subject: str | None = None,
        subject_prefix: str | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int = 1000,
        newest: bool = False,
    ) -> list[Event]:
        """The events that match all of the conditions.

        Args:
            after, before: ids, both exclusive.
            kinds: any of these; ``deployment.*`` is all that begin with ``deployment.``.
            since, until: epoch seconds, `until` exclusive.
            limit: at most so many.
            newest: the last ones, newest first, instead of the first ones, oldest first.
        """
        from opsbook.journal.queries import FEW, event_of, select, stretch

        with self._database.read() as connection:
            if since is not None:
                count, first, last = connection.execute(stretch(since, until)).one()
                if not count:
                    return []
                if count <= FEW:
                    after = max(after, first - 1)
                    before = last + 1 if before is None else min(before, last + 1)
            query = select(
                after=after,
                before=before,
                kinds=kinds,
                subject=subject,
                subject_prefix=subject_prefix,
                since=since,
                until=until,
                limit=limit,
                newest=newest,
            )
            return [event_of(dict(row)) for row in connection.execute(query).mappings()]

    def head(self) -> Head:
        """The newest event's id and hash; id 0 when there is none yet."""
        from opsbook.journal.writer import head_of

        with self._database.read() as connection:
            return head_of(connection)

    def wait(self, after: int, timeout: float) -> int:
        """Wait until there is an event newer than `after`, or `timeout` seconds have passed, or `close`.

        Returns:
            The newest id: at once for events of this process, within half a second for those of others.
        """
        # Sleeping on a condition is in the machine's time whatever clock the journal was handed.
        deadline = time.monotonic() + timeout
        while True:
            newest = self.head().id
            remaining = deadline - time.monotonic()
            if newest > after or remaining <= 0 or self._announcements.closed:
                return newest
            self._announcements.wait(after, min(remaining, _POLL))

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call `callback` with each event that this process appends, after its commit, in the order of the
        ids.

        It runs in a thread that appends, so it should be quick. What it raises is logged and hurts nobody.

        Returns:
            A function that ends the subscription.
        """
        return self._announcements.subscribe(callback)

    def verify(
        self, *, signed_head: Mapping[str, Any] | None = None, trust: Collection[str] = ()
    ) -> Verification:
        """Check the whole chain, in bounded memory.

        Args:
            signed_head: from `signed_head`, kept elsewhere: with it a cut tail and a rewritten history are
                found.
            trust: public keys that may have signed it; by default only this journal's own.
        """
        from opsbook.journal.database import Corrupt
        from opsbook.journal.queries import rows
        from opsbook.journal.verification import verify_rows

        if signed_head is not None and (reason := fault(signed_head, trust or (self._key.public,))):
            return Verification(False, 0, None, reason)
        try:
            return verify_rows(rows(self._database, tolerant=True), signed=signed_head)
        except Corrupt as error:
            return Verification(False, 0, None, error.message)

    def signed_head(self) -> dict[str, Any]:
        """The head as ``{id, hash, at, public_key, signature}``: keep it elsewhere, it proves the journal up
        to there.

        Raises:
            Failed: the signing key cannot be used.
        """
        return self._key.sign(self.head(), at=float(self._clock.now()))

    def export(self, write: Callable[[str], None]) -> Head:
        """Give `write` each event as a line of JSON, then the signed head. Returns the head."""
        from opsbook.journal.queries import event_of, rows

        head = self.head()
        for row in rows(self._database, until=head.id):
            write(canonical(event_of(row).to_json()) + "\n")
        write(canonical(self._key.sign(head, at=float(self._clock.now()))) + "\n")
        return head

    def close(self) -> None:
        """Close the database and wake all who wait. Closing twice is fine."""
        self._announcements.close()
        self._database.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
