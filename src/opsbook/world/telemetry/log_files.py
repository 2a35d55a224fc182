"""The log of one instance as files: read from the end, or followed, across rotation.

The files and their rotation are described in ``world/runtimes/process_logs.py``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from opsbook.world.telemetry.staleness import Floats

MAX_LINE = 16 * 1024  # bytes of a line that are shown
Identity: TypeAlias = tuple[int, int]  # inode and time of the last change: an inode alone may be used again

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
    ended = False  # whether we are before the last newline; behind it there may be no line
    position = end
    while position > 0:
        step = min(_CHUNK, position)
        position -= step
        pieces = read(position, step).split(b"\n")
        after = position + step  # offset behind the piece in hand
        for piece in reversed(pieces[1:]):
            head, length = (piece + head)[:MAX_LINE], length + len(piece)
            after -= len(piece)  # now behind the newline before the piece
            if length or ended:
                yield RawLine(head, length, line_end)
            head, length, line_end, ended = b"", 0, after, True
            after -= 1
        head, length = (pieces[0] + head)[:MAX_LINE], length + len(pieces[0])
    if length or ended:
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


class _CurrentLog:
    """The file an instance writes now, as it was when it was opened; afterwards it may be rotated at any time.

    Rotation renames ``.1`` before it truncates. So as long as ``.1`` is the file it was, nothing was truncated.

    Args:
        log: its path.
        descriptor: of it; closed by `close`.
        size: it had.
        older: the older files at that moment, newest first.
    """

    def __init__(self, log: Path, descriptor: int, size: int, older: list[Identity]) -> None:
        self.descriptor = descriptor
        self.size = size
        self.older = older
        self._log = log
        self._newest = older[0] if older else None
        self._copy: int | None = None

    @classmethod
    def open(cls, log: Path) -> _CurrentLog | None:
        """Opens `log` between two rotations; None if there is no such file."""
        for attempt in range(1, _ATTEMPTS + 1):
            older = _older(log)
            descriptor = _open(log)
            if descriptor is None:
                return None
            size = os.fstat(descriptor).st_size
            rotating = older[0] is None and Path(f"{log}.new").exists()
            # The last attempt takes what there is: a crash may have left a rotation half done.
            if attempt == _ATTEMPTS or (_older(log) == older and not rotating):
                return cls(log, descriptor, size, [each for each in older if each is not None])
            os.close(descriptor)
            time.sleep(_PAUSE)
        return None

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes from there, of the file as it was: from its copy once it is rotated, at the same offset."""
        if self._copy is None:
            data = os.pread(self.descriptor, size, offset)
            if self._untouched():
                return data
            self._copy = self._find_copy()
        return b"" if self._copy is None else os.pread(self._copy, size, offset)

    def close(self) -> None:
        """Close what is open."""
        os.close(self.descriptor)
        if self._copy is not None:
            os.close(self._copy)

    def _untouched(self) -> bool:
        newest = identity_of(_numbered(self._log, 1))
        if self._newest is not None:
            return newest == self._newest
        return newest is None and os.fstat(self.descriptor).st_size >= self.size

    def _find_copy(self) -> int | None:
        """The file that is next to those that were older; waits until it has its name. None: it was removed."""
        for _ in range(_ATTEMPTS):
            for number in range(1, _ROTATED):
                descriptor = _open(_numbered(self._log, number))
                if descriptor is None:
                    continue
                older = identity_of(_numbered(self._log, number + 1))
                if older == self._newest and identity_of(descriptor) != self._newest:
                    return descriptor
                os.close(descriptor)
            time.sleep(_PAUSE)
        return None


class LogHistory:
    """All that an instance wrote, newest first; correct also while it is being rotated.

    Args:
        log: ``INSTANCE.log``.
        end: offset in `log` behind which nothing is read; None: all of it.
        lines: gives the lines of a file before an offset; others than all of them when only some are wanted.
    """

    def __init__(
        self,
        log: Path,
        *,
        end: int | None = None,
        lines: Callable[[Callable[[int, int], bytes], int], Iterator[RawLine]] = lines_backwards,
    ) -> None:
        self._log = log
        self._end = end
        self._lines = lines

    def newest_first(self, since: float | None) -> Iterator[tuple[float, RawLine]]:
        """Lines with their times (epoch seconds), until one is older than `since`."""
        current = _CurrentLog.open(self._log)
        if current is None:
            return
        latest = float("inf")
        with closing(current):
            end = current.size if self._end is None else min(self._end, current.size)
            latest = os.fstat(current.descriptor).st_mtime
            times = Checkpoints(_index(self._log, 0), latest)
            for line in self._lines(current.read, end):
                latest = times.at(line.end)
                if since is not None and latest < since:
                    return
                yield latest, line
        for wanted in current.older:
            for at, line in self._rotated(wanted, latest):
                if since is not None and at < since:
                    return
                latest = at
                yield at, line

    def _rotated(self, wanted: Identity, latest: float) -> Iterator[tuple[float, RawLine]]:
        """The lines of an older file, wherever rotation has moved it meanwhile."""
        for number in range(1, _ROTATED):
            path = _numbered(self._log, number)
            if identity_of(path) != wanted or (descriptor := _open(path)) is None:
                continue
            try:
                status = os.fstat(descriptor)
                times = Checkpoints(_index(self._log, number), min(latest, status.st_mtime))
                if identity_of(descriptor) != wanted or identity_of(path) != wanted:
                    continue  # moved while we opened it and its index: it has the next number
                read = partial(_pread, descriptor)
                yield from ((times.at(line.end), line) for line in self._lines(read, status.st_size))
                return
            finally:
                os.close(descriptor)


def identity_of(file: Path | int) -> Identity | None:
    """Which file is at a path, or behind a descriptor; None when there is none."""
    try:
        status = os.stat(file)  # noqa: PTH116  # of a descriptor too
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


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


def _older(log: Path) -> list[Identity | None]:
    """Which files are ``.1``, ``.2`` ...; while they are being renamed one may be there twice, or not at all."""
    return [identity_of(_numbered(log, number)) for number in range(1, _ROTATED)]


def _index(log: Path, number: int) -> Path:
    return _numbered(log.with_suffix(".index"), number)
