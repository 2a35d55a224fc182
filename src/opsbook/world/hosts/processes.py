"""Which processes there are, and which of them are the ones we mean.

A process is known by its pid **and** its start time (in clock ticks since boot) **and** the boot, since
pids are used again. A zombie counts as ended. Read straight from /proc: one pass serves all questions.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, for ever: no other one will have the same three values."""

    pid: int
    started: int  # clock ticks since boot
    boot: str


@dataclass(frozen=True, slots=True)
class ProcessEntry:
    """One line of the process table. `resident` is bytes."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int
    resident: int

    @property
    def ended(self) -> bool:
        """A zombie or nearly so: it runs no more, whoever has yet to collect it."""
        return self.state in "ZXx"


@cache
def boot_id() -> str:
    """Changes with every boot of the machine."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def entry(pid: int) -> ProcessEntry | None:
    """The process `pid` as it is now, or None when there is none."""
    try:
        data = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may itself hold blanks and parentheses.
    fields = data[data.rindex(b")") + 2 :].split()
    return ProcessEntry(
        pid=pid,
        state=fields[0].decode(),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        started=int(fields[19]),
        resident=int(fields[21]) * _PAGE,
    )


def table() -> dict[int, ProcessEntry]:
    """Every process that runs (zombies left out), by pid."""
    found = {}
    with os.scandir(_PROC) as names:
        for name in names:
            if name.name.isdigit() and (process := entry(int(name.name))) and not process.ended:
                found[process.pid] = process
    return found


def identify(pid: int) -> ProcessIdentity | None:
    """Who `pid` is now; None when there is no such process. A zombie can be identified."""
    process = entry(pid)
    return ProcessIdentity(pid, process.started, boot_id()) if process else None


def runs(identity: ProcessIdentity) -> bool:
    """Whether exactly this process still runs."""
    process = entry(identity.pid)
    return (
        process is not None
        and not process.ended
        and process.started == identity.started
        and boot_id() == identity.boot
    )


def environment(pid: int) -> dict[bytes, bytes]:
    """The environment `pid` was started with; empty when it may not be read or has been overwritten."""
    try:
        data = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    return dict(pair.partition(b"=")[::2] for pair in data.split(b"\0") if b"=" in pair)


def carriers(name: str, value: str) -> dict[int, dict[bytes, bytes]]:
    """The processes whose environment has ``name=value``, with their environments; never this process
    itself.
    """
    found = {}
    for pid in table():
        if pid != os.getpid():
            variables = environment(pid)
            if variables.get(name.encode()) == value.encode():
                found[pid] = variables
    return found


def family(
    processes: Mapping[int, ProcessEntry], root: ProcessIdentity, *, also: Iterable[int] = ()
) -> dict[int, ProcessEntry]:
    """The processes that belong to `root`: its group, its session, their descendants, and `also`.

    Works after `root` itself has ended: the kernel gives its pid to nobody while its group or session has
    members. So if somebody else has the pid, there are none.
    """
    holder = processes.get(root.pid)
    reused = root.boot != boot_id() or (holder is not None and holder.started != root.started)
    members = {
        process.pid: process
        for process in processes.values()
        if not reused and root.pid in (process.pid, process.group, process.session)
    }
    members |= {pid: processes[pid] for pid in also if pid in processes}
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    waiting = list(members)
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child not in members:
                members[child] = processes[child]
                waiting.append(child)
    members.pop(os.getpid(), None)
    return members


def seconds_run(identity: ProcessIdentity) -> float:
    """Seconds since the process started, by a clock that does not jump; right only within its boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - identity.started / _TICKS


def send(process: ProcessEntry | ProcessIdentity, number: signal.Signals) -> None:
    """Signal exactly this process; nothing when it ended meanwhile."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # The descriptor now holds whoever has the pid: only then is comparing the start time free of races.
        now = entry(process.pid)
        if now is not None and now.started == process.started:
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def await_ends(targets: Iterable[ProcessEntry | ProcessIdentity], seconds: float) -> bool:
    """Wait until all of them have ended, at most `seconds`; True when they have. Costs nothing while
    waiting.
    """
    deadline = time.monotonic() + seconds
    poll = select.poll()
    open_descriptors = set()
    try:
        for target in targets:
            with suppress(ProcessLookupError):
                descriptor = os.pidfd_open(target.pid)
                open_descriptors.add(descriptor)
                now = entry(target.pid)
                if now is not None and now.started == target.started:
                    poll.register(descriptor, select.POLLIN)
                else:
                    open_descriptors.discard(descriptor)
                    os.close(descriptor)
        while open_descriptors:
            ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                return False
            for descriptor, _ in ready:
                poll.unregister(descriptor)
                open_descriptors.discard(descriptor)
                os.close(descriptor)
        return True
    finally:
        for descriptor in open_descriptors:
            os.close(descriptor)
