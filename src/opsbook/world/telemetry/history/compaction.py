"""Rewrites files in the background: many small ones become a sorted one, old samples coarser ones, the oldest go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from opsbook.world.telemetry.history.catalogue import Catalogue
from opsbook.world.telemetry.history.database import Database, plain
from opsbook.world.telemetry.history.downsampling import Baseline, downsample
from opsbook.world.telemetry.history.reading import FIVE_MINUTES, HOUR
from opsbook.world.telemetry.history.segments import UNFINISHED, Segment, remove
from opsbook.world.telemetry.history.shelf import Shelf

SPAN = 2 * HOUR  # of a sorted file of samples
_MOST_SMALL = 500  # files, whatever their span
_ROWS = 1_000_000  # worked on at a time,
_COARSE_ROWS = 250_000  # and so many of what comes of them
_BASELINE = 15 * 60_000  # milliseconds that a sample is a baseline for what comes after it
_APART = 24 * HOUR  # between samples of different files
_MERGED = (12, 30)  # files of a level of the coarse ones that become one: about a day, a month


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept, in seconds."""

    raw: float = 15 * 86_400.0
    coarse: float = 400 * 86_400.0


class Compaction:
    """One step at a time, each complete or without effect. For one thread.

    Args:
        catalogue, database, raw, minutes, hours: see `Reading`.
        retention: how long things are kept.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        database: Database,
        raw: Shelf,
        minutes: Shelf,
        hours: Shelf,
        retention: Retention,
    ) -> None:
        self._catalogue = catalogue
        self._database = database
        self._raw = raw
        self._minutes = minutes
        self._hours = hours
        self._retention = retention

    def step(self, now: int) -> bool:
        """Do what is most due, if anything.

        Args:
            now: milliseconds.

        Returns:
            Whether something was done; then there may be more.

        Raises:
            Failed: a file cannot be read or written; nothing has changed.
        """
        return self._sort(now) or self._coarser() or self._merge(self._minutes) or self._merge(self._hours)

    def expire(self, now: int) -> None:
        """Let the files go that are older than the retention. That needs no room on the disk.

        Args:
            now: milliseconds.
        """
        raw = now - int(self._retention.raw * 1000)
        coarse = now - int(self._retention.coarse * 1000)
        for shelf, oldest in ((self._raw, raw), (self._minutes, coarse), (self._hours, coarse)):
            shelf.change(gone=[segment for segment in shelf.segments if segment.last < oldest])

    def prune(self, using: Iterable[int]) -> None:
        """Forget series that no file has any more.

        Args:
            using: keys under which more will be written; those stay.

        Raises:
            Failed: a file cannot be read or written; nothing has changed.
        """
        used = set(using)
        for shelf in (self._raw, self._minutes):
            for segment in shelf.segments:
                found = self._database.read(
                    "SELECT DISTINCT series FROM read_parquet(?)", [[str(segment.path)]]
                )
                used.update(found["series"].tolist())
        old = self._catalogue.tidy(np.array(sorted(used), np.uint64))
        self._raw.leave(old)

    def _sort(self, now: int) -> bool:
        small = [segment for segment in self._raw.segments if segment.level == 0]
        if not small or (min(s.first for s in small) > now - SPAN and len(small) < _MOST_SMALL):
            return False
        # Not what a clock that was wrong for a while has put years apart: such a file would never expire.
        end = next(
            (n for n, (s, after) in enumerate(pairwise(small), 1) if after.first > s.last + _APART), None
        )
        small = small[:end]
        merged = _merged(small)
        self._database.write(
            "SELECT series, ts, value FROM read_parquet(?) ORDER BY series, ts",
            merged.path, [_paths(small)], final=True,
        )  # fmt: skip
        self._raw.change(gone=small, come=[merged])
        return True

    def _coarser(self) -> bool:
        for shelf, work in ((self._minutes, self._by_minutes), (self._hours, self._by_hours)):
            source = self._raw if shelf is self._minutes else self._minutes
            done = max((segment.highest for segment in shelf.segments), default=0)
            sorted_ones = (
                s for s in source.segments if s.lowest > done and (s.level or source is self._minutes)
            )
            segment = min(sorted_ones, key=lambda s: s.lowest, default=None)
            if segment is not None:
                made = Segment(
                    -(-segment.first // HOUR) * HOUR - HOUR, -(-segment.last // HOUR) * HOUR,
                    0, segment.lowest, segment.highest, shelf.folder,
                )  # fmt: skip
                work(segment, made)
                shelf.change(come=[made])
                return True
        return False

    def _by_minutes(self, segment: Segment, made: Segment) -> None:
        counted = self._database.read(
            "SELECT series, count(*) AS n FROM read_parquet(?) GROUP BY series ORDER BY series",
            [[str(segment.path)]],
        )
        series, before = plain(counted["series"]), np.cumsum(plain(counted["n"]))
        baseline = self._baseline(segment)
        parts, files = list[dict[str, npt.NDArray[np.generic]]](), list[Path]()
        low = 0
        while low < series.size:
            done = before[low - 1] if low else 0
            high = max(low + 1, int(np.searchsorted(before, done + _ROWS, "right")))
            found = self._database.read(
                "SELECT series, ts, value FROM read_parquet(?) WHERE series BETWEEN ? AND ? AND value IS NOT NULL"
                " ORDER BY series, ts",
                [[str(segment.path)], int(series[low]), int(series[high - 1])],
            )
            columns = (plain(found[name]) for name in ("series", "ts", "value"))
            parts.append(downsample(*columns, every=FIVE_MINUTES, baseline=baseline))
            low = high
            if sum(part["series"].size for part in parts) >= _COARSE_ROWS or low == series.size:
                files.append(made.path.with_name(f"{made.path.name}-{len(files)}{UNFINISHED}"))
                rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
                self._database.write("SELECT * FROM rows", files[-1], final=False, rows=rows)
                parts.clear()
        try:
            self._database.write(
                "SELECT * FROM read_parquet(?)",  # in the order of the files, which is that of their series
                made.path, [[str(path) for path in files]], final=True,
            )  # fmt: skip
        finally:
            remove(files)

    def _by_hours(self, segment: Segment, made: Segment) -> None:
        self._database.write(
            _summed(f"(((ts + {HOUR - 1}) // {HOUR}) * {HOUR})::BIGINT"),
            made.path,
            [_paths([segment])],
            final=True,
        )

    def _baseline(self, segment: Segment) -> Baseline:
        """The last samples before a file, from those shortly before it."""
        since = segment.first - _BASELINE
        earlier = [s for s in self._raw.between(since, segment.first - 1) if s.highest < segment.lowest]
        if not earlier:
            return Baseline(np.empty(0, np.uint64), np.empty(0))
        found = self._database.read(
            "SELECT series, arg_max(value, ts) AS value FROM read_parquet(?)"
            " WHERE ts BETWEEN ? AND ? AND value IS NOT NULL AND NOT isnan(value) GROUP BY series ORDER BY series",
            [_paths(earlier), since, segment.first - 1],
        )
        return Baseline(plain(found["series"]), plain(found["value"]))

    def _merge(self, shelf: Shelf) -> bool:
        for level, most in enumerate(_MERGED):
            same = [segment for segment in shelf.segments if segment.level == level]
            if len(same) >= most:
                merged = _merged(same)
                self._database.write(_summed("ts"), merged.path, [_paths(same)], final=True)
                shelf.change(gone=same, come=[merged])
                return True
        return False


def _summed(ts: str) -> str:
    """Rows of the same stretch, from files that share it or of several stretches, as one."""
    columns = (
        f"series, {ts} AS ts, sum(n)::BIGINT AS n, sum(total) AS total, min(least) AS least, max(most) AS most,"
        " arg_max(last, latest) AS last, max(latest) AS latest, sum(grown) AS grown"
    )
    return f"SELECT {columns} FROM read_parquet(?) GROUP BY series, {ts} ORDER BY series, ts"  # noqa: S608


def _merged(segments: Sequence[Segment]) -> Segment:
    return Segment(
        min(segment.first for segment in segments),
        max(segment.last for segment in segments),
        max(segment.level for segment in segments) + 1,
        min(segment.lowest for segment in segments),
        max(segment.highest for segment in segments),
        segments[0].folder,
    )


def _paths(segments: Sequence[Segment]) -> list[str]:
    return [str(segment.path) for segment in segments]
