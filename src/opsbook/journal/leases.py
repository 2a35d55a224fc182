"""One writer for each subject: leases with fencing tokens.

A lease is a row that outlives its holder, so that the token grows with each acquisition forever. Time
decides only when somebody else may take over; whether a write is still allowed is decided by the token
alone, inside the write's own transaction, so that a clock that jumps or a process that slept cannot let two
writers in.
"""

from __future__ import annotations

import sqlalchemy as sa

from opsbook.errors import Conflict, Invalid, Locked, NotFound
from opsbook.journal.canonical import label, text
from opsbook.journal.database import Database
from opsbook.journal.kinds import LEASE_BROKEN
from opsbook.journal.model import Clock, Lease
from opsbook.journal.schema import leases
from opsbook.journal.writer import Writer


class Leases:
    """The leases of one journal. Durations are seconds, times come from the journal's clock."""

    def __init__(self, database: Database, writer: Writer, clock: Clock) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock

    def acquire(
        self, subject: str, holder: str, reason: str, ttl: float = 15.0, *, resume: bool = False
    ) -> Lease:
        """Become the one writer of `subject`. One that has expired may be taken.

        Args:
            holder: who asks, e.g. ``deployment d-91``.
            ttl: seconds until it expires without a heartbeat.
            resume: take it over at once when the same `holder` has it (after a crash); the token is a new
                one.

        Raises:
            Locked: somebody has it; `details` has subject, holder, reason, expires_at.
        """
        subject, holder = label(subject, where="subject"), label(holder, where="holder")
        reason, ttl = text(reason, where="reason"), _checked(ttl)
        with self._writer.transaction() as transaction:
            row = transaction.connection.execute(sa.select(leases).where(leases.c.subject == subject)).first()
            now = float(self._clock.now())
            if row and row.held and row.expires_at > now and not (resume and row.holder == holder):
                raise _locked(_lease(row), now)
            lease = Lease(subject, holder, reason, (row.token if row else 0) + 1, now + ttl, now)
            values = {
                "holder": holder,
                "reason": reason,
                "token": lease.token,
                "ttl": ttl,
                "acquired_at": now,
                "expires_at": lease.expires_at,
                "held": True,
            }
            if row:
                statement = sa.update(leases).where(leases.c.subject == subject).values(values)
                transaction.connection.execute(statement)
            else:
                transaction.connection.execute(sa.insert(leases).values(values | {"subject": subject}))
        return lease

    def heartbeat(self, lease: Lease) -> Lease:
        """Say that the holder is alive: it expires its `ttl` from now. Also revives one that expired untaken.

        Raises:
            Conflict: somebody has taken it over, or it was released or broken.
        """
        with self._writer.transaction() as transaction:
            check(transaction.connection, lease)
            mine = leases.c.subject == lease.subject
            ttl = transaction.connection.scalar(sa.select(leases.c.ttl).where(mine))
            expires_at = float(self._clock.now()) + float(ttl or 0)
            transaction.connection.execute(sa.update(leases).where(mine).values(expires_at=expires_at))
        return Lease(lease.subject, lease.holder, lease.reason, lease.token, expires_at, lease.acquired_at)

    def release(self, lease: Lease) -> None:
        """Give it back. Nothing happens when it is not the holder's any more."""
        with self._writer.transaction() as transaction:
            transaction.connection.execute(
                sa.update(leases)
                .where(leases.c.subject == lease.subject, leases.c.token == lease.token)
                .values(held=False)
            )

    def break_(self, subject: str, actor: str) -> Lease:
        """Take the lease away from whoever has it, and journal that `actor` did. Returns what was broken.

        Raises:
            NotFound: nobody holds it.
        """
        with self._writer.transaction() as transaction:
            query = sa.select(leases).where(leases.c.subject == subject, leases.c.held)
            row = transaction.connection.execute(query).first()
            if row is None:
                raise NotFound(f"nobody holds a lease on {subject}", where=subject)
            statement = sa.update(leases).where(leases.c.subject == subject).values(held=False)
            transaction.connection.execute(statement)
            data = {"holder": row.holder, "reason": row.reason, "token": row.token}
            transaction.append(LEASE_BROKEN.name, subject, data, actor=actor)
        return _lease(row)

    def get(self, subject: str) -> Lease | None:
        """Who holds the subject now; None when nobody does, or whoever did has expired."""
        return next(iter(self._held(leases.c.subject == subject)), None)

    def all(self) -> list[Lease]:
        """All leases that are held and have not expired, by subject."""
        return self._held(sa.true())

    def _held(self, condition: sa.ColumnElement[bool]) -> list[Lease]:
        now = float(self._clock.now())
        query = sa.select(leases).where(condition, leases.c.held, leases.c.expires_at > now)
        with self._database.read() as connection:
            return [_lease(row) for row in connection.execute(query.order_by(leases.c.subject))]


def check(connection: sa.Connection, lease: Lease) -> None:
    """Make sure, within the caller's transaction, that `lease` is still the newest of its subject.

    One that has expired but that nobody took is still the newest: its holder is the only writer.

    Raises:
        Conflict: a superseded writer; `details` has the token it came with and the newest one.
    """
    row = connection.execute(sa.select(leases).where(leases.c.subject == lease.subject)).first()
    if row and row.held and row.token == lease.token:
        return
    now_with = f"{row.holder} has it now" if row and row.held else "the lease was released or broken"
    raise Conflict(
        f"superseded writer: {lease.holder} no longer holds {lease.subject}; {now_with}",
        hint="stop; read the state again and acquire a new lease if the work is still wanted",
        where=lease.subject,
        details={"token": lease.token, "newest": row.token if row else None},
    )


def _lease(row: sa.Row[tuple[object, ...]]) -> Lease:
    return Lease(row.subject, row.holder, row.reason, row.token, row.expires_at, row.acquired_at)


def _checked(ttl: float) -> float:
    if not 0 < ttl < float("inf"):
        raise Invalid(f"a lease cannot last {ttl} seconds", hint="give a positive number of seconds")
    return float(ttl)


def _locked(lease: Lease, now: float) -> Locked:
    return Locked(
        f"{lease.holder} is working on {lease.subject}: {lease.reason}",
        hint=f"wait until it is done; unless renewed, the lease ends in {lease.expires_at - now:.0f} s",
        where=lease.subject,
        details={
            "subject": lease.subject,
            "holder": lease.holder,
            "reason": lease.reason,
            "expires_at": lease.expires_at,
        },
    )
