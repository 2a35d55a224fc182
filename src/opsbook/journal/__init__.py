"""What happened: append-only hash-chained events, current state, leases, durable workflows.

Importing this imports neither SQLAlchemy nor DBOS; opening a journal or launching the durable work does.
"""

from __future__ import annotations

from opsbook.journal.durable import Durable, Interrupted, Status
from opsbook.journal.journal import Journal
from opsbook.journal.kinds import Kind, kinds, reference, register
from opsbook.journal.model import GENESIS, Clock, Entry, Event, Head, Lease, Verification
from opsbook.journal.verification import verify_export

__all__ = [
    "GENESIS",
    "Clock",
    "Durable",
    "Entry",
    "Event",
    "Head",
    "Interrupted",
    "Journal",
    "Kind",
    "Lease",
    "Status",
    "Verification",
    "kinds",
    "reference",
    "register",
    "verify_export",
]
