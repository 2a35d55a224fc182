"""From memory to files: what is new since the last time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from opsbook.errors import OpsbookError
from opsbook.promql.series import ABSENT, Floats, Integers, is_stale, key_of
from opsbook.world.telemetry.block import Block
from opsbook.world.telemetry.history.catalogue import Catalogue
from opsbook.world.telemetry.history.database import Database
from opsbook.world.telemetry.history.segments import Segment
from opsbook.world.telemetry.history.shelf import Shelf
from opsbook.world.telemetry.store import HotStore

_CELLS = 250_000  # of one file, about
_LONGEST = 86_400_000  # milliseconds of one file
_MOST_LATE = 100_000  # samples that are kept for another try


@dataclass(slots=True)
class _Batch:
    """Samples of one file to be, and how to take back that they were handed over."""

    keys: list[npt.NDArray[np.uint64]] = field(default_factory=list)
    times: list[Integers] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)
    undo: list[Callable[[], None]] = field(default_factory=list)
    size: int = 0

    def add(self, keys: npt.NDArray[np.uint64], times: Integers, values: Floats) -> None:
        self.keys.append(keys)
        self.times.append(times)
        self.values.append(values)
        self.size += keys.size


class Writing:
    """Writes what the hot store has and the files have not. For one thread.

    Args:
        hot: whose samples.
        catalogue: gives keys to its series.
        database: writes the files.
        shelf: gets them.
    """

    def __init__(self, hot: HotStore, catalogue: Catalogue, database: Database, shelf: Shelf) -> None:
        self._hot = hot
        self._catalogue = catalogue
        self._database = database
        self._shelf = shelf
        self._number = 1 + max((segment.highest for segment in shelf.segments), default=0)

    def flush(self) -> int:
        """Write all that is new; returns the number of samples.

        Raises:
            Failed: the files cannot be written. What was not written will be, as long as it is in memory.
        """
        written, batch = 0, _Batch()
        for block in self._hot.blocks():
            while self._take(block, batch):
                if batch.size >= _CELLS:
                    written += self._write(batch)
                    batch = _Batch()
        return written + self._write(batch)

    def keys(self) -> set[int]:
        """Of the series in memory."""
        found: set[int] = set()
        for block in self._hot.blocks():
            with self._hot.lock:
                found.update(block.keys[: len(block.series)].tolist())
        return found - {0}

    def _take(self, block: Block, batch: _Batch) -> bool:
        with self._hot.lock:
            before = block.written
            found = block.unwritten(_CELLS)
            if found is None:
                return False
            stretch, late = found
            target = key_of(block.labels)
            for slot in np.flatnonzero(block.keys[: len(block.series)] == 0).tolist():
                labels = block.series[slot]
                if labels is not None:
                    block.keys[slot] = self._catalogue.enter(target, labels)
            keys = block.keys[stretch.slots]
            if late:
                batch.add(
                    block.keys[[slot for slot, _, _ in late]],
                    np.array([at for _, at, _ in late], np.int64),
                    np.concatenate([value for _, _, value in late]),
                )

        def undo() -> None:
            block.written = min(block.written, before)
            block.late = [*late, *block.late][-_MOST_LATE:]

        batch.undo.append(undo)
        window = stretch.window()
        values = window.values.ravel()
        there = values.view(np.int64) != ABSENT
        width = window.timestamps.size
        batch.add(np.repeat(keys, width)[there], np.tile(window.timestamps, keys.size)[there], values[there])
        return True

    def _write(self, batch: _Batch) -> int:
        if not batch.size:
            return 0
        keys, times, values = (np.concatenate(parts) for parts in (batch.keys, batch.times, batch.values))
        # One file for each stretch of time: what a clock that was wrong has put years apart belongs together in none.
        stretch = times // _LONGEST
        try:
            self._catalogue.save()
            for number in np.unique(stretch).tolist():
                mine = stretch == number
                self._write_file(keys[mine], times[mine], values[mine])
        except OpsbookError:
            with self._hot.lock:
                for undo in batch.undo:
                    undo()
            raise
        return batch.size

    def _write_file(self, keys: npt.NDArray[np.uint64], times: Integers, values: Floats) -> None:
        number = self._number
        segment = Segment(int(times.min()), int(times.max()), 0, number, number, self._shelf.folder)
        # Not sorted: that is done when many files become one. Until then all of a series lies together anyway.
        # DuckDB takes any NaN of an array for NULL; to us NULL is the marker of staleness, and NaN a value.
        nan = np.isnan(values) & ~is_stale(values)
        self._database.write(
            "SELECT series, ts, CASE WHEN nan THEN 'NaN'::DOUBLE ELSE value END AS value FROM samples",
            segment.path,
            final=False,
            samples={"series": keys, "ts": times, "value": values, "nan": nan},
        )
        self._number += 1
        self._shelf.change(come=[segment])
