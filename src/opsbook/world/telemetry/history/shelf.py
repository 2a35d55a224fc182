"""The files of one resolution: which there are now, and those that are to go once nobody reads them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from opsbook.world.telemetry.history.segments import Segment, listed


class Shelf:
    """Thread-safe.

    Args:
        folder: of the files.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._segments = tuple(listed(folder))
        self._leaving: list[Path] = []

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All files, oldest first."""
        return self._segments

    def between(self, start: int, end: int) -> list[Segment]:
        """The files that may have samples between two times, both included."""
        return [segment for segment in self._segments if segment.overlaps(start, end)]

    def change(self, *, gone: Iterable[Segment] = (), come: Iterable[Segment] = ()) -> None:
        """Files went, others came. Those that went are removed from the disk by whoever asks for `leaving`."""
        gone = set(gone)
        with self._lock:
            kept = (segment for segment in self._segments if segment not in gone)
            self._segments = tuple(sorted([*kept, *come]))
            self._leaving += [segment.path for segment in gone]

    def leave(self, paths: Iterable[Path]) -> None:
        """Have other files removed along with those that went."""
        with self._lock:
            self._leaving += paths

    def forget_file(self, path: Path) -> None:
        """A damaged file is no more."""
        with self._lock:
            self._segments = tuple(segment for segment in self._segments if segment.path != path)

    def leaving(self) -> list[Path]:
        """The files that went since the last call."""
        with self._lock:
            leaving, self._leaving = self._leaving, []
        return leaving

    @property
    def nbytes(self) -> int:
        """Of all files on the disk."""
        total = 0
        for segment in self._segments:
            try:
                total += segment.path.stat().st_size
            except OSError:  # it was replaced meanwhile, or the disk is gone
                continue
        return total
