"""One run at a time on a target: a lease with a heartbeat, whose fencing token goes with every write."""

from __future__ import annotations

import contextlib
import threading

from opsbook.errors import Conflict, OpsbookError
from opsbook.journal import Journal, Lease

LEASE_SECONDS = 15.0


class LostTurn(OpsbookError):
    """The lock was taken away."""


def lease_subject(lock: str) -> str:
    return f"runbook/{lock}"


class Turn:
    """A held lease."""

    def __init__(self, journal: Journal, lock: str, holder: str, reason: str) -> None:
        """Raises Locked when another run has it."""
        self._leases = journal.leases
        self.lease: Lease = self._leases.acquire(
            lease_subject(lock), holder, reason, LEASE_SECONDS, resume=True
        )
        self._lost = ""
        self._ended = threading.Event()
        self._beat = threading.Thread(target=self._keep, name=f"lease {self.lease.subject}", daemon=True)
        self._beat.start()

    @property
    def lost(self) -> str:
        """Why it is not held any more; empty while it is."""
        return self._lost

    def end(self, *, release: bool) -> None:
        """Stop renewing; with `release`, give it back."""
        self._ended.set()
        self._beat.join()
        if release:
            with contextlib.suppress(Conflict):
                self._leases.release(self.lease)

    def _keep(self) -> None:
        while not self._ended.wait(LEASE_SECONDS / 3):
            try:
                self.lease = self._leases.heartbeat(self.lease)
            except Conflict as conflict:
                self._lost = conflict.message
                return
            except OpsbookError:
                continue  # the database is busy; the lease outlives two missed beats
