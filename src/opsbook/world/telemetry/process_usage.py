"""What process groups use, read from /proc directly: psutil would open every file of every process anew.

One pass over /proc says who belongs to whom, for all instances together.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of ``/proc/PID/stat``."""

    pid: int
    ended: bool  # a zombie: it runs no more, but its CPU time still counts
    parent: int
    group: int
    session: int
    cpu_seconds: float  # its own, and of its children that ended and were waited for
    resident: int  # bytes
    threads: int
    started: float  # epoch seconds


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and all that belongs to it use."""

    cpu_seconds: float  # since the first process started; may fall when processes end
    resident: int  # bytes; memory that processes share counts for each of them
    open_files: int | None  # None where we may not look
    threads: int
    processes: int
    started: float  # epoch seconds, of the first process


def process_table() -> dict[int, Process]:
    """Every process of this machine, in one pass. Those that end meanwhile are left out."""
    boot = _boot_time()
    table = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  # a Path for every process is what we avoid here
        if name.isdigit():
            with suppress(OSError):  # it ended, or is hidden from us
                table[int(name)] = _read(int(name), boot)
    return table


@cache
def _boot_time() -> float:
    """Read once: the kernel's answer follows the wall clock, and a start time must not change."""
    with open("/proc/stat", "rb") as file:  # noqa: PTH123
        for line in file:
            if line.startswith(b"btime "):
                return float(line.split()[1])
    return 0.0


def _read(pid: int, boot: float) -> Process:
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        line = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    return parse_stat(pid, line, boot)


def parse_stat(pid: int, line: bytes, boot: float) -> Process:
    """``/proc/PID/stat``, see proc(5); the name in parentheses may hold anything, so we begin behind it."""
    fields = line[line.rindex(b")") + 2 :].split()
    return Process(
        pid=pid,
        ended=fields[0] in (b"Z", b"X", b"x"),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        cpu_seconds=(int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])) / _TICKS,
        resident=int(fields[21]) * _PAGE,
        threads=int(fields[17]),
        started=boot + int(fields[19]) / _TICKS,
    )


def members(table: Mapping[int, Process], roots: Collection[int]) -> dict[int, list[Process]]:
    """Which processes belong to which of `roots`: by session, by process group, or as descendants.

    What left all three (a daemon that forked twice) is not found.
    """
    owners: dict[int, int] = {root: root for root in roots}
    found: dict[int, list[Process]] = {root: [] for root in roots}
    for pid in table:
        owner = _owner(pid, table, owners, found)
        if owner is not None:
            found[owner].append(table[pid])
    return found


def _owner(
    pid: int, table: Mapping[int, Process], owners: dict[int, int], roots: Collection[int]
) -> int | None:
    path: list[int] = []
    owner: int | None = None
    current = table.get(pid)
    while current is not None and current.pid not in path:
        path.append(current.pid)
        owner = owners.get(current.pid)
        if owner is None:
            owner = next((root for root in (current.session, current.group) if root in roots), None)
        if owner is not None:
            break
        current = table.get(current.parent)
    if owner is not None:
        for step in path:
            owners[step] = owner
    return owner


def group_usage(roots: Collection[int]) -> dict[int, Usage]:
    """What each of the processes `roots` uses with all that belongs to it; those that have ended are left out."""
    if not roots:
        return {}
    found = {root: usage_of(root, group) for root, group in members(process_table(), roots).items()}
    return {root: usage for root, usage in found.items() if usage is not None}


def usage_of(root: int, processes: Iterable[Process]) -> Usage | None:
    """The sum over the members of `root`, or None when `root` itself has ended."""
    group = list(processes)
    first = next((process for process in group if process.pid == root), None)
    if first is None or first.ended:
        return None
    files = [_open_files(process.pid) for process in group]
    return Usage(
        cpu_seconds=sum(process.cpu_seconds for process in group),
        resident=sum(process.resident for process in group),
        open_files=sum(count for count in files if count is not None) if None not in files[:1] else None,
        threads=sum(process.threads for process in group),
        processes=len(group),
        started=first.started,
    )


def _open_files(pid: int) -> int | None:
    try:
        # Since Linux 6.2 the size of the folder is the number of descriptors; before, it is 0.
        return os.stat(f"/proc/{pid}/fd").st_size or len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH116, PTH208
    except PermissionError:
        return None
    except OSError:
        return 0  # it ended just now
