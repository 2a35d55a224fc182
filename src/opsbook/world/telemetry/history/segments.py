"""The files of the history: immutable, complete or not there at all, and named by what they hold.

A file is written beside its place, synced, and renamed. One that was made of others says so in its name, so whatever
a crash leaves of those is recognised and removed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"(\d+)-(-?\d+)-(-?\d+)-(\d+)-(\d+)\.parquet")
UNFINISHED = ".unfinished"


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file. `level` grows with every rewriting; numbers are given once and never again."""

    first: int  # milliseconds of the oldest sample
    last: int  # and of the newest
    level: int
    lowest: int  # numbers of the files it was made of; its own for a new one
    highest: int
    folder: Path

    @property
    def path(self) -> Path:
        """Where it lies."""
        name = f"{self.level}-{self.first}-{self.last}-{self.lowest}-{self.highest}.parquet"
        return self.folder / name

    def replaces(self, other: Segment) -> bool:
        """Whether it was made of `other`, among others."""
        return self.level > other.level and self.lowest <= other.lowest and other.highest <= self.highest

    def overlaps(self, start: int, end: int) -> bool:
        """Whether it may have samples between two times, both included."""
        return self.first <= end and self.last >= start


def listed(folder: Path) -> list[Segment]:
    """The files of a folder, oldest first; what a crash left over is removed.

    Raises:
        OSError: the folder cannot be made or read.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = []
    for path in folder.iterdir():
        if path.name.endswith(UNFINISHED):
            path.unlink()
        elif match := _NAME.fullmatch(path.name):
            level, first, last, lowest, highest = map(int, match.groups())
            found.append(Segment(first, last, level, lowest, highest, folder))
    replaced = {old for old in found for new in found if new.replaces(old)} if len(found) > 1 else set()
    for segment in replaced:
        segment.path.unlink()
    return sorted(segment for segment in found if segment not in replaced)


def settle(unfinished: Path, path: Path) -> None:
    """Make a written file appear under its name, complete and for good.

    Raises:
        OSError: it cannot; then it is not there.
    """
    unfinished.chmod(0o600)
    _sync(unfinished)
    unfinished.replace(path)
    _sync(path.parent)


def remove(paths: Iterable[Path]) -> None:
    """Remove files. One that cannot be does no harm: at the next start it is recognised as replaced."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
