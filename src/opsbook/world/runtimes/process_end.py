"""Ending a service's process with everything it ever started."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from opsbook.errors import Failed
from opsbook.world.hosts import processes
from opsbook.world.hosts.processes import ProcessEntry, ProcessIdentity
from opsbook.world.runtimes.process_environment import INSTANCE, RUNTIME

_SLICE = 0.25  # seconds after which a deadline that was shortened meanwhile is seen
_KILL_ROUNDS = 10


def end_family(process: ProcessIdentity, instance: str, token: str, *, deadline: Callable[[], float]) -> None:
    """SIGTERM to the group of `process` and to all that left it; SIGKILL after `deadline`; returns when all are gone.

    Members are who is in the group or the session, descends from them, or carries the instance's name in its
    environment.

    Args:
        deadline: on the monotonic clock; asked again and again, so that it may be shortened.

    Raises:
        Failed: somebody survives even SIGKILL (stuck in the kernel).
    """
    members = family(process, instance, token)
    _terminate(process, members)
    while members and (left := deadline() - time.monotonic()) > 0:
        if processes.await_ends(members.values(), min(left, _SLICE)):
            members = processes.family(processes.table(), process)
    kill_family(process, instance, token)


def kill_family(process: ProcessIdentity, instance: str, token: str) -> None:
    """SIGKILL to whoever is left, until nobody is; also those that were made meanwhile.

    Raises:
        Failed: somebody survives (stuck in the kernel, usually waiting for a disk).
    """
    for _ in range(_KILL_ROUNDS):
        members = family(process, instance, token)
        if not members:
            return
        kill(members)
    pids = ", ".join(map(str, members))
    message = f"{instance} does not end: pid {pids} survives SIGKILL"
    raise Failed(message, hint="look for a hanging disk or network file system (ps -o pid,stat,wchan)")


def kill(members: Mapping[int, ProcessEntry]) -> None:
    """SIGKILL to each, and wait a second for them to be gone."""
    for member in members.values():
        processes.send(member, signal.SIGKILL)
    processes.await_ends(members.values(), 1.0)


def family(process: ProcessIdentity, instance: str, token: str) -> dict[int, ProcessEntry]:
    """Everybody who belongs to the instance now."""
    carrying = [
        pid
        for pid, variables in processes.carriers(RUNTIME, token).items()
        if variables.get(INSTANCE.encode()) == instance.encode()
    ]
    return processes.family(processes.table(), process, also=carrying)


def end_orphans(wanted: Callable[[str], bool], token: str) -> list[int]:
    """Kill the processes of this state folder whose instance nobody wants; returns their pids."""
    found = processes.carriers(RUNTIME, token)
    unwanted = [
        pid for pid, values in found.items() if not wanted(values.get(INSTANCE.encode(), b"").decode())
    ]
    members = {pid: process for pid, process in processes.table().items() if pid in unwanted}
    kill(members)
    return sorted(members)


def collect(process: ProcessIdentity) -> tuple[int | None, int | None]:
    """Exit code and signal of a process that has ended; both None when it was not our child. Leaves no zombie."""
    try:
        pid, status = os.waitpid(process.pid, os.WNOHANG)
    except ChildProcessError:
        return None, None
    if pid == 0:
        return None, None
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), None


def _terminate(process: ProcessIdentity, members: Mapping[int, ProcessEntry]) -> None:
    if any(member.group == process.pid for member in members.values()):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGTERM)  # one call, so that a group that forks is met as a whole
    for member in members.values():
        if member.group != process.pid:
            processes.send(member, signal.SIGTERM)
