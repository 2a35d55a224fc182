"""One writer at a time: a deployment's turn is a lease on its service and environment, with a heartbeat."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from opsbook.deployment.model import Deployment
from opsbook.deployment.site import Site
from opsbook.errors import Conflict, Locked, NotFound, OpsbookError
from opsbook.journal import Lease

LEASE_SECONDS = 15.0
STEWARD = "opsbook"  # the holder of the steward's leases


class LostTurn(OpsbookError):
    """The lock was taken away, or could not be had."""


def lease_subject(environment: str, service: str) -> str:
    return f"deploy/{environment}/{service}"


def at_work(site: Site, environment: str, service: str) -> Lease | None:
    """The lease of whoever is at work there and has to be waited for by name.

    Not a deployment that has ended, which is about to give its lease back, and not the steward, who only tidies up.
    """
    lease = site.journal.leases.get(lease_subject(environment, service))
    if lease is None or lease.expires_at <= site.clock.now() or lease.holder == STEWARD:
        return None
    with contextlib.suppress(NotFound):
        if site.records.deployment(lease.holder).finished:
            return None
    return lease


def give_back(site: Site, lease: Lease) -> None:
    """Release the lease of a deployment that ended just before its opsbook did; nobody else would."""
    with contextlib.suppress(NotFound):
        if site.records.deployment(lease.holder).finished:
            site.journal.leases.release(lease)


class Turn:
    """A held lease. `lease` goes with every write, so that a writer who lost it is refused."""

    def __init__(self, site: Site, lease: Lease) -> None:
        self._site = site
        self.lease = lease
        self._lost = ""
        self._ended = threading.Event()
        self._beat = threading.Thread(target=self._keep, name=f"lease {lease.subject}", daemon=True)
        self._beat.start()

    def check(self) -> None:
        """Raises LostTurn when somebody else has the lock now."""
        if self._lost:
            raise LostTurn(self._lost, where=self.lease.subject)

    def end(self) -> None:
        self._ended.set()
        self._beat.join()
        with contextlib.suppress(Conflict):
            self._site.journal.leases.release(self.lease)

    def _keep(self) -> None:
        while not self._ended.wait(LEASE_SECONDS / 3):
            try:
                self.lease = self._site.journal.leases.heartbeat(self.lease)
            except Conflict as conflict:
                self._lost = f"its lock was taken away: {conflict.message}"
                return
            except OpsbookError:
                continue  # the database is busy; the lease outlives two missed beats


class Turns:
    """Hands out turns and remembers the ones that this process holds."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._held: dict[str, Turn] = {}

    @contextlib.contextmanager
    def of(
        self, deployment: Deployment, wants_out: Callable[[], bool], say: Callable[[str], None]
    ) -> Iterator[Turn]:
        """The turn of this deployment, from its first step to its last; waited for where its policy says so.

        Raises:
            LostTurn: it is not to be had, or was taken away.
        """
        turn = self._held.get(deployment.id)
        if turn is None:
            turn = self._held[deployment.id] = self._take(deployment, wants_out, say)
        try:
            turn.check()
            yield turn
        except Conflict as conflict:
            self._drop(deployment.id)
            raise LostTurn(f"its lock was taken away: {conflict.message}") from conflict
        except LostTurn:
            self._drop(deployment.id)
            raise
        except BaseException:
            # opsbook ends: the lease is given back by its expiry, or resumed by the same deployment.
            turn._ended.set()  # noqa: SLF001 - Turn and Turns are one thing in two sizes
            self._held.pop(deployment.id, None)
            raise
        if self._site.records.deployment(deployment.id).finished:
            self._drop(deployment.id)

    def _drop(self, name: str) -> None:
        if turn := self._held.pop(name, None):
            turn.end()

    def _take(
        self, deployment: Deployment, wants_out: Callable[[], bool], say: Callable[[str], None]
    ) -> Turn:
        reason = f"{deployment.kind} {deployment.version} by {deployment.requested_by}"
        subject = lease_subject(deployment.environment, deployment.service)
        while True:
            try:
                lease = self._site.journal.leases.acquire(
                    subject, holder=deployment.id, reason=reason, ttl=LEASE_SECONDS, resume=True
                )
                return Turn(self._site, lease)
            except Locked as locked:
                busy = at_work(self._site, deployment.environment, deployment.service) is not None
                if not busy and (ended := self._site.journal.leases.get(subject)):
                    give_back(self._site, ended)
                if busy and deployment.when_busy == "refuse" and deployment.started_at is None:
                    raise LostTurn(locked.message, where=deployment.subject) from locked
                if wants_out():
                    raise LostTurn("aborted while waiting for its turn", where=deployment.subject) from locked
                say(f"its turn: {locked.message}")
                self._site.clock.sleep(0.1 if busy else 0.005)
