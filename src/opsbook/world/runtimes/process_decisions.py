"""What to do about an instance, decided from its record alone: no clock, no process is touched here."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from opsbook.world.hosts.processes import ProcessIdentity
from opsbook.world.runtimes.process_records import Record
from opsbook.world.words import Exit, InstanceState

FIRST_DELAY = 0.1
LONGEST_DELAY = 30.0
PROVEN_AFTER = 60.0  # seconds of running after which earlier ends no longer count
FRESH = 2.0  # seconds within which a first process that ends may have lost its port to somebody else
_KEPT_RESTARTS = 20


def restart_delay(quick_ends: int) -> float:
    """Seconds to wait before the next start, after `quick_ends` (at least 1) ends in a row: 0.1, 0.2, ...
    30.
    """
    return float(min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(quick_ends - 1, 20)))


def starting(record: Record, now: float) -> Record:
    """The intent to start a process: nobody runs yet."""
    return replace(record, state=InstanceState.STARTING, process=None, started_at=now, restart_at=None)


def identified(record: Record, process: ProcessIdentity) -> Record:
    """The process is known, and may become the service from now on."""
    return replace(record, process=process)


def running(record: Record) -> Record:
    """The process has become the service."""
    return replace(record, state=InstanceState.RUNNING)


def ended(record: Record, end: Exit, *, ran: float | None) -> Record:
    """Its process ended without being asked to: when to start the next one.

    Args:
        end: how and when it ended.
        ran: how many seconds it ran; None when nobody watched, which calls for a start at once.
    """
    quick_ends = 1 if ran is not None and ran >= PROVEN_AFTER else record.quick_ends + 1
    delay = 0.0 if ran is None else restart_delay(quick_ends)
    return replace(
        record,
        state=InstanceState.BACKOFF,
        process=None,
        restarts=record.restarts + 1,
        recent_restarts=(*record.recent_restarts, end.at)[-_KEPT_RESTARTS:],
        quick_ends=quick_ends,
        restart_at=end.at + delay,
        last_exit=end,
        proven=record.proven or ran is None or ran >= FRESH,
    )


def not_started(record: Record, reason: str, *, now: float, transient: bool) -> Record:
    """It could not be started: for good (FAILED), or to be tried again later (BACKOFF)."""
    end = Exit(code=None, signal=None, at=now, reason=reason)
    if not transient:
        return replace(record, state=InstanceState.FAILED, process=None, restart_at=None, last_exit=end)
    quick_ends = record.quick_ends + 1
    return replace(
        record,
        state=InstanceState.BACKOFF,
        process=None,
        quick_ends=quick_ends,
        restart_at=now + restart_delay(quick_ends),
        last_exit=end,
    )


def stopping(record: Record, grace: float) -> Record:
    """The intent to stop; whoever finds it after a crash finishes it."""
    return replace(record, state=InstanceState.STOPPING, grace=grace, restart_at=None)


class Adoption(Enum):
    """What to do with a record that an earlier opsbook left."""

    KEEP = "keep"  # it runs: watch it
    RESTART = "restart"  # it should run and does not
    FINISH_STOP = "finish stop"
    LEAVE = "leave"  # FAILED: a person looks at it


def adoption(record: Record, *, alive: bool) -> Adoption:
    """What to do with `record`; `alive`: exactly its process (pid, start time, boot) runs still."""
    if record.state is InstanceState.STOPPING or record.state is InstanceState.STOPPED:
        return Adoption.FINISH_STOP
    if record.state is InstanceState.FAILED:
        return Adoption.LEAVE
    return Adoption.KEEP if alive else Adoption.RESTART


def exceeds(resident: int, limit: int | None) -> str | None:
    """The reason to kill for, when `resident` bytes are more than `limit`; None when they are not."""
    if limit is None or resident <= limit:
        return None
    mebibytes = limit / 2**20
    return (
        f"memory limit {mebibytes:.0f} MiB exceeded"
        if mebibytes >= 1
        else f"memory limit {limit} bytes exceeded"
    )
