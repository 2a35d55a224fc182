"""The log of one instance as files: read from the end, or followed, across rotation.

The files and their rotation are described in ``world/runtimes/process_logs.py``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from opsbook.world.telemetry.staleness import Floats

MAX_LINE = 16 * 1024  # bytes of a line that are shown
_CHUNK = 64 * 1024
_ROTATED = 10  # more than process_logs keeps
_ATTEMPTS = 40
_PAUSE = 0.005  # seconds; a rotation takes milliseconds


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line as it is in the file, without its end."""

    head: bytes  # at most MAX_LINE of it
    length: int
    end: int  # offset just behind it, its newline included

    @property
    def text(self) -> str:
        """Readable whatever it holds: invalid UTF-8 is replaced, and a cut is marked."""
        text = self.head.decode("utf-8", "replace").rstrip("\r")
        return f"{text} … [{self.length - MAX_LINE} more bytes]" if self.length > MAX_LINE else text


def lines_backwards(read: Callable[[int, int], bytes], end: int) -> Iterator[RawLine]:
    """The lines before offset `end`, the last one first, with memory for one chunk and one line.

    Args:
        read: gives so many bytes (second) from an offset (first).
        end: where to begin; what stands there without a newline counts as a line.
    """
    head, length, line_end = b"", 0, end
    position = end
    while position > 0:
        step = min(_CHUNK, position)
        position -= step
        pieces = read(position, step).split(b"\n")
        after = position + step  # offset behind the piece in hand
        for piece in reversed(pieces[1:]):
            head, length = (piece + head)[:MAX_LINE], length + len(piece)
            after -= len(piece)  # now behind the newline before the piece
            if length or line_end != end:  # behind the very last newline there is no line
                yield RawLine(head, length, line_end)
            head, length, line_end = b"", 0, after
            after -= 1
        head, length = (pieces[0] + head)[:MAX_LINE], length + len(pieces[0])
    if length or line_end != end:
        yield RawLine(head, length, line_end)


class Checkpoints:
    """When which bytes of a log were written.

    Where the wall clock was set back, older bytes are given the time after that: lines never seem to be newer than
    those behind them.

    Args:
        index: the file of checkpoints; may be missing.
        latest: the time of what is behind the last checkpoint, and of nothing later.
    """

    def __init__(self, index: Path, latest: float) -> None:
        data = b""
        with suppress(OSError):
            data = index.read_bytes()
        lines = [line.split() for line in data[: data.rfind(b"\n") + 1].splitlines()]
        numbers = np.array([pair for pair in lines if len(pair) == 2], np.float64).reshape(-1, 2)
        self._offsets: Floats = numbers[:, 0]
        times = np.minimum(numbers[:, 1], latest)
        self._times: Floats = np.minimum.accumulate(times[::-1])[::-1]
        self._latest = latest

    def at(self, end: int) -> float:
        """When the line that ends at offset `end` was written, at the latest; epoch seconds."""
        place = int(np.searchsorted(self._offsets, end))
        return float(self._times[place]) if place < self._times.size else self._latest


class LogHistory:
    """All that an instance wrote, newest first; correct also while it is being rotated.

    Args:
        log: ``INSTANCE.log``.
        end: offset in `log` behind which nothing is read; None: all of it.
    """

    def __init__(self, log: Path, *, end: int | None = None) -> None:
        self._log = log
        self._end = end

    def newest_first(self, since: float | None) -> Iterator[tuple[float, RawLine]]:
        """Lines with their times (epoch seconds), until one is older than `since`."""
        opened = self._open()
        if opened is None:
            return
        current, size, rotated = opened
        latest = float("inf")
        try:
            end = size if self._end is None else min(self._end, size)
            latest = min(latest, os.fstat(current).st_mtime)
            times = Checkpoints(_index(self._log, 0), latest)
            for line in lines_backwards(partial(self._read_current, current), end):
                latest = times.at(line.end)
                if since is not None and latest < since:
                    return
                yield latest, line
        finally:
            os.close(current)
        for inode in rotated:
            for at, line in self._rotated(inode, latest):
                if since is not None and at < since:
                    return
                latest = at
                yield at, line

    def _open(self) -> tuple[int, int, list[int]] | None:
        """A descriptor of the current file, its size, and the inodes of the older files, newest first.

        They belong together: if a rotation came between, we look again.
        """
        for _ in range(_ATTEMPTS):
            descriptor = _open(self._log)
            if descriptor is None:
                return None
            size = os.fstat(descriptor).st_size
            numbered = [inode_of(_numbered(self._log, number)) for number in range(1, _ROTATED)]
            rotating = numbered[0] is None and Path(f"{self._log}.new").exists()
            if os.fstat(descriptor).st_size >= size and not rotating:
                break
            os.close(descriptor)
            time.sleep(_PAUSE)
        else:  # a rotation was left half done by a crash: take what there is
            descriptor = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)
        return descriptor, size, [inode for inode in numbered if inode is not None]

    def _read_current(self, descriptor: int, offset: int, size: int) -> bytes:
        """From the current file; if it was truncated meanwhile, from its copy, where the offsets are the same."""
        data = os.pread(descriptor, size, offset)
        for _ in range(_ATTEMPTS):
            if len(data) == size:
                break
            time.sleep(_PAUSE)  # the copy gets its name only after the truncation
            copy = _open(_numbered(self._log, 1))
            if copy is not None:
                data = os.pread(copy, size, offset)
                os.close(copy)
        return data

    def _rotated(self, inode: int, latest: float) -> Iterator[tuple[float, RawLine]]:
        """The lines of an older file, wherever rotation has moved it meanwhile."""
        for number in range(1, _ROTATED):
            path = _numbered(self._log, number)
            if inode_of(path) != inode or (descriptor := _open(path)) is None:
                continue
            try:
                status = os.fstat(descriptor)
                times = Checkpoints(_index(self._log, number), min(latest, status.st_mtime))
                if status.st_ino != inode or inode_of(path) != inode:
                    continue  # moved while we opened it and its index: it has the next number
                read = partial(_pread, descriptor)
                yield from ((times.at(line.end), line) for line in lines_backwards(read, status.st_size))
                return
            finally:
                os.close(descriptor)


def inode_of(path: Path) -> int | None:
    """Which file is at `path`, or None."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def last_newline(log: Path) -> int:
    """The offset behind the last complete line of a file, 0 when there is none."""
    descriptor = _open(log)
    if descriptor is None:
        return 0
    try:
        position = os.fstat(descriptor).st_size
        while position > 0:
            step = min(_CHUNK, position)
            position -= step
            found = os.pread(descriptor, step, position).rfind(b"\n")
            if found >= 0:
                return position + found + 1
        return 0
    finally:
        os.close(descriptor)


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _pread(descriptor: int, offset: int, size: int) -> bytes:
    return os.pread(descriptor, size, offset)


def _numbered(log: Path, number: int) -> Path:
    return Path(f"{log}.{number}") if number else log


def _index(log: Path, number: int) -> Path:
    return _numbered(log.with_suffix(".index"), number)
