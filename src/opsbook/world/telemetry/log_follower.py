"""One log as it grows, across rotation and truncation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from opsbook.world.telemetry.log_files import MAX_LINE, RawLine
from opsbook.world.words import Clock

_CHUNK = 256 * 1024
_PATIENCE = 8  # looks at a shortened log until we stop expecting its copy: somebody emptied it by hand
_UNFINISHED = 1.0  # seconds after which a line without an end is shown: a prompt, or last words


class LogFollower:
    """Reads what is appended to a log.

    Args:
        log: ``INSTANCE.log``; may appear later.
        position: where to begin.
        clock: for how long an unfinished line has waited.
    """

    def __init__(self, log: Path, position: int, clock: Clock) -> None:
        self._log = log
        self._copy = Path(f"{log}.1")
        self._position = position
        self._clock = clock
        self._copied = _identity(self._copy)
        self._looks = 0
        self._head = b""
        self._length = 0
        self._waiting_since = 0.0

    def new_lines(self) -> Iterator[RawLine]:
        """What was completed since the last call."""
        if self._rotated():
            yield from self._read(self._copy)  # the rest of what we were reading
            self._position = 0
        if self._looks == 0:
            yield from self._read(self._log)
        if self._length and self._clock.monotonic() - self._waiting_since >= _UNFINISHED:
            yield self._complete()

    def _rotated(self) -> bool:
        """Whether the log was truncated and its copy, if there will be one, is there."""
        copied = _identity(self._copy)
        if copied is not None and copied != self._copied:
            self._copied, self._looks = copied, 0
            return True
        if self._size() >= self._position:
            self._looks = 0
            return False
        self._looks += 1
        if self._looks < _PATIENCE:
            return False
        self._looks, self._position = 0, 0
        return False

    def _size(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def _read(self, path: Path) -> Iterator[RawLine]:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            end = os.fstat(descriptor).st_size  # not further: others want to be read too
            while data := os.pread(descriptor, min(_CHUNK, max(0, end - self._position)), self._position):
                self._position += len(data)
                yield from self._split(data)
        finally:
            os.close(descriptor)

    def _split(self, data: bytes) -> Iterator[RawLine]:
        *complete, rest = data.split(b"\n")
        for piece in complete:
            self._add(piece)
            yield self._complete()
        if rest:
            self._add(rest)
            self._waiting_since = self._clock.monotonic()

    def _add(self, piece: bytes) -> None:
        self._head = (self._head + piece)[:MAX_LINE]
        self._length += len(piece)

    def _complete(self) -> RawLine:
        line = RawLine(self._head, self._length, self._position)
        self._head, self._length = b"", 0
        return line


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
