"""One log as it grows, across rotation and truncation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from opsbook.world.telemetry.log_files import MAX_LINE, Identity, RawLine, identity_of
from opsbook.world.words import Clock

_CHUNK = 256 * 1024
_ROTATED = 10  # more than process_logs keeps
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
        self._position = position
        self._clock = clock
        self._copied = identity_of(_copy(log, 1))  # the newest copy whose lines we need not read
        self._looks = 0
        self._head = b""
        self._length = 0
        self._waiting_since = 0.0

    def new_lines(self) -> Iterator[RawLine]:
        """What was completed since the last call."""
        copies = self._new_copies()
        try:
            while copies:  # the oldest is what we were reading, the others came and went since
                yield from self._read(copies.pop(0))
                self._position, self._looks = 0, 0
        finally:
            for descriptor in copies:
                os.close(descriptor)
        if self._not_truncated():
            with suppress(FileNotFoundError):
                yield from self._read(os.open(self._log, os.O_RDONLY | os.O_CLOEXEC))
        if self._length and self._clock.monotonic() - self._waiting_since >= _UNFINISHED:
            yield self._complete()

    def _new_copies(self) -> list[int]:
        """Descriptors of the copies that rotation made since the last look, the oldest first."""
        if identity_of(_copy(self._log, 1)) in (None, self._copied):
            return []
        found: dict[Identity, int] = {}
        for number in range(1, _ROTATED):
            try:
                descriptor = os.open(_copy(self._log, number), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # on its way from one number to the next, or there are no more
            identity = identity_of(descriptor)
            if identity is None or identity in found or identity == self._copied:
                os.close(descriptor)
                if identity == self._copied:
                    break
            else:
                found[identity] = descriptor
        self._copied = next(iter(found), self._copied)
        return list(found.values())[::-1]

    def _not_truncated(self) -> bool:
        """Whether the log is still what we were reading. If it is shorter, its copy will appear in a moment."""
        try:
            size = self._log.stat().st_size
        except FileNotFoundError:
            return False
        if size >= self._position:
            self._looks = 0
            return True
        self._looks += 1
        if self._looks >= _PATIENCE:
            self._looks, self._position = 0, 0
        return False

    def _read(self, descriptor: int) -> Iterator[RawLine]:
        """From our position to the present end, and no further: others want to be read too."""
        try:
            end = os.fstat(descriptor).st_size
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


def _copy(log: Path, number: int) -> Path:
    return Path(f"{log}.{number}")
