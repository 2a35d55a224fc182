"""The history as a whole: one thread that writes and rewrites, answers for any other, and what to do when a file or the
disk fails. Nothing here is on the way from a scrape to a notification.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from opsbook.errors import Failed, Locked, OpsbookError
from opsbook.promql.series import Labels, Matcher, Selection
from opsbook.world.telemetry.history.catalogue import Catalogue
from opsbook.world.telemetry.history.compaction import Compaction, Retention
from opsbook.world.telemetry.history.database import Database
from opsbook.world.telemetry.history.memory import give_back
from opsbook.world.telemetry.history.reading import Aggregates, Reading
from opsbook.world.telemetry.history.restoring import restore
from opsbook.world.telemetry.history.segments import remove
from opsbook.world.telemetry.history.shelf import Shelf
from opsbook.world.telemetry.history.writing import Writing
from opsbook.world.telemetry.store import HotStore

Answer = TypeVar("Answer")

FLUSH = 30.0  # seconds between two writings: so much is lost at most
_LEAVE = 60.0  # seconds that a file which was replaced stays, for those who are reading it
_PRUNE = 86_400.0
_FREE = 64 * 1024 * 1024  # bytes that are left to others


@dataclass(frozen=True, slots=True)
class HistoryStatus:
    """How the history goes."""

    open: bool
    problem: str = ""  # why nothing is written at present; empty when all is well
    written_at: float | None = None  # epoch seconds of the last writing that succeeded
    samples: int = 0  # written since the start
    failures: int = 0  # writings that failed
    damaged: int = 0  # files that had to be moved aside
    nbytes: int = 0
    files: int = 0


class _Rooms:
    """What is open while the history is."""

    def __init__(self, folder: Path, hot: HotStore, retention: Retention, memory: int) -> None:
        self.lock = _locked(folder / "lock")
        try:
            self.database = Database(folder / "spill", memory=memory)
            self.raw, self.minutes, self.hours = (
                Shelf(folder / name) for name in ("raw", "minutes", "hours")
            )
            self.catalogue = Catalogue(folder / "series", self.database, first=1 + _highest_given(folder))
        except BaseException:
            os.close(self.lock)
            raise
        shelves = (self.raw, self.minutes, self.hours)
        self.writing = Writing(hot, self.catalogue, self.database, self.raw)
        self.reading = Reading(self.catalogue, self.database, *shelves)
        self.compaction = Compaction(self.catalogue, self.database, *shelves, retention)

    @property
    def shelves(self) -> tuple[Shelf, Shelf, Shelf]:
        return self.raw, self.minutes, self.hours

    def close(self) -> None:
        self.database.close()
        os.close(self.lock)


class History:
    """See the module. `start` opens it; without that, or while it cannot be opened, it knows nothing and keeps nothing.

    Args:
        folder: its own; made when it is not there.
        hot: whose samples it keeps.
        now: milliseconds on the clock of the samples.
        retention: how long things are kept.
        warn: told in a sentence when something fails that did not fail before, and when it works again.
        memory: bytes that DuckDB may use.
        flush: seconds between two writings.
        free: bytes free on the disk of a folder.
    """

    def __init__(
        self,
        folder: Path,
        hot: HotStore,
        now: Callable[[], int],
        *,
        retention: Retention = Retention(),  # noqa: B008 - frozen
        warn: Callable[[str], None] = lambda _: None,
        memory: int = 160 * 1024 * 1024,
        flush: float = FLUSH,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self.folder = folder
        self._hot = hot
        self._now = now
        self._retention = retention
        self._warn = warn
        self._memory = memory
        self._flush_every = flush
        self._free = free
        self._rooms: _Rooms | None = None
        self._status = HistoryStatus(open=False)
        self._working = threading.Lock()  # one who writes
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._leaving: list[tuple[int, list[Path]]] = []
        self._swept = self._pruned = now()

    def start(self) -> None:
        """Open the files, fill the hot store from them, and begin to write. What fails is told and tried again."""
        self._open()
        rooms, since = self._rooms, self._now()
        if rooms is not None:
            try:
                since = self._mended(
                    lambda: restore(self._hot, rooms.catalogue, rooms.database, rooms.raw, since)
                )
            except OpsbookError as error:
                self._problem(error)
        self._hot.begins(since)
        give_back()
        self._thread = threading.Thread(target=self._run, name="opsbook-history", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is new and end. A second call does nothing."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.flush()
        with self._working:
            rooms, self._rooms = self._rooms, None
            if rooms is not None:
                self._sweep(rooms, after=0.0)
                rooms.close()
            self._status = replace(self._status, open=False)

    def flush(self) -> None:
        """Write what is new now. What fails is told, and tried again the next time."""
        with self._working:
            if self._rooms is None:
                return
            try:
                self._check_disk()
                written = self._rooms.writing.flush()
            except OpsbookError as error:
                self._problem(error)
                return
            if self._status.problem:
                self._warn(f"the history is written again; it was not because {self._status.problem}")
            self._status = replace(
                self._status,
                problem="",
                written_at=self._now() / 1000,
                samples=self._status.samples + written,
            )

    def maintain(self) -> None:
        """Rewrite and forget files as far as it is due."""
        with self._working:
            rooms = self._rooms
            if rooms is None:
                return
            rooms.compaction.expire(self._now())
            try:
                self._check_disk()
                while not self._stopping.is_set() and self._mended(
                    lambda: rooms.compaction.step(self._now())
                ):
                    give_back()
                rooms.raw.leave(rooms.catalogue.tidy())
                if self._now() - self._pruned > _PRUNE * 1000:
                    self._pruned = self._now()
                    self._mended(lambda: rooms.compaction.prune(rooms.writing.keys()))
            except OpsbookError as error:
                self._problem(error)
            self._sweep(rooms)

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> list[Selection]:
        """See `Reading.select`; nothing while the history is not open."""
        rooms = self._rooms
        return self._mended(lambda: rooms.reading.select(matchers, start, end)) if rooms else []

    def series(self, matchers: Sequence[Matcher], start: int, end: int) -> list[Labels]:
        """See `Reading.series`; nothing while the history is not open."""
        rooms = self._rooms
        return self._mended(lambda: rooms.reading.series(matchers, start, end)) if rooms else []

    def aggregates(
        self, matchers: Sequence[Matcher], start: int, end: int, *, hours: bool
    ) -> tuple[list[Aggregates], int]:
        """See `Reading.aggregates`; nothing while the history is not open."""
        rooms = self._rooms
        if rooms is None:
            return [], 0
        return self._mended(lambda: rooms.reading.aggregates(matchers, start, end, hours=hours))

    def status(self) -> HistoryStatus:
        """How it goes."""
        rooms = self._rooms
        if rooms is None:
            return self._status
        return replace(
            self._status,
            nbytes=sum(shelf.nbytes for shelf in rooms.shelves),
            files=sum(len(shelf.segments) for shelf in rooms.shelves),
        )

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.wait(self._flush_every):
            try:
                if self._rooms is None:
                    self._open()
                self.flush()
                self.maintain()
            except Exception as error:  # what nobody thought of must not end the history for good
                self._problem(Failed(f"the history stumbled: {type(error).__name__}: {error}"))

    def _open(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._rooms = _Rooms(self.folder, self._hot, self._retention, self._memory)
            self._status = replace(self._status, open=True)
        except OpsbookError as error:
            self._problem(error)
        except Exception as error:  # whatever is wrong with the place: monitoring goes on without it
            self._problem(Failed(f"the history cannot be opened: {error}", where=str(self.folder)))

    def _problem(self, error: OpsbookError) -> None:
        if not self._status.problem:
            self._warn(f"{error}; the history is not written, samples are kept in memory only")
        self._status = replace(self._status, problem=str(error), failures=self._status.failures + 1)

    def _check_disk(self) -> None:
        try:
            free = self._free(self.folder)
        except OSError as error:
            raise Failed(f"the history's folder is gone: {error.strerror}", where=str(self.folder)) from error
        if free < _FREE:
            raise Failed("the disk is full", hint=f"free some of {self.folder}", where=str(self.folder))

    def _mended(self, act: Callable[[], Answer]) -> Answer:
        """Do it; when a file turns out damaged, move it aside and do it again without."""
        try:
            return act()
        except Failed:
            if not self._move_damaged_aside():
                raise
            return act()

    def _move_damaged_aside(self) -> bool:
        rooms = self._rooms
        if rooms is None:
            return False
        places = [(shelf, s.path) for shelf in rooms.shelves for s in shelf.segments]
        damaged = [(shelf, path) for shelf, path in places if _is_damaged(rooms.database, path)]
        for shelf, path in damaged:
            shelf.forget_file(path)
        lost = [s.path for s in rooms.catalogue.files if _is_damaged(rooms.database, s.path)]
        for path in lost:
            rooms.catalogue.forget_file(path)
        for path in [*(path for _, path in damaged), *lost]:
            aside = self.folder / "damaged" / f"{path.parent.name}-{path.name}"
            aside.parent.mkdir(mode=0o700, exist_ok=True)
            if path.exists():
                path.replace(aside)
            self._warn(f"a file of the history was damaged and is now {aside}; the others are still read")
        self._status = replace(self._status, damaged=self._status.damaged + len(damaged) + len(lost))
        return bool(damaged or lost)

    def _sweep(self, rooms: _Rooms, *, after: float = _LEAVE) -> None:
        now = self._now()
        leaving = [path for shelf in rooms.shelves for path in shelf.leaving()]
        if leaving:
            self._leaving.append((now, leaving))
        while self._leaving and self._leaving[0][0] <= now - after * 1000:
            remove(self._leaving.pop(0)[1])


def _is_damaged(database: Database, path: Path) -> bool:
    """Whether a file cannot be read to its end; then it is looked at as a whole."""
    try:
        database.read("SELECT count(COLUMNS(*)) FROM read_parquet(?)", [[str(path)]])
    except OpsbookError:
        return True
    return False


def _locked(path: Path) -> int:
    """Hold a file so that no other opsbook writes here. Raises Locked."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Locked("another opsbook writes this history", where=str(path.parent)) from error
    return descriptor


def _highest_given(folder: Path) -> int:
    """The highest number of a series whose file was damaged: samples may still bear it."""
    aside = folder / "damaged"
    names = [path.stem for path in aside.glob("series-*.parquet")] if aside.is_dir() else []
    return max((int(name.rpartition("-")[2]) for name in names), default=0)
