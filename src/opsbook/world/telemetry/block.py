"""The samples of one target: one shared vector of timestamps, and a row of values for every series."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from opsbook.promql.series import (
    ABSENT,
    STALE,
    Flags,
    Floats,
    Integers,
    LabelKey,
    Labels,
    Window,
    key_of,
)

_FIRST_ROWS = 16
_FIRST_COLUMNS = 64


class Block:
    """A window that slides over the samples of one target.

    The arrays have some slack at their end. When it is used up, what is older than the retention is dropped by
    moving the rest to the front; only if that frees little do the arrays grow. So they fit the interval of the
    scrapes by themselves, a stretch of time is always contiguous, and a sample costs O(1).

    Not thread-safe; the store holds its lock.

    Args:
        labels: of the target.
        retention: milliseconds that samples are kept at least (while `may_grow` allows).
        max_series: how many series may exist at a time.
        may_grow: asked with the number of bytes before the arrays grow.
    """

    def __init__(
        self,
        labels: Labels,
        *,
        retention: int,
        max_series: int,
        may_grow: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.labels = labels
        self.retention = retention
        self.max_series = max_series
        self.layout = 0  # changes whenever slots were given new meanings
        self.dropped_early = 0  # samples given up before the retention had passed, for want of memory
        self.series: list[Labels] = []
        self._may_grow = may_grow
        self._slots: dict[LabelKey, int] = {}
        self._by_name: dict[str, list[int]] = {}
        self._length = 0
        self._timestamps: Integers = np.empty(_FIRST_COLUMNS, np.int64)
        self._scraped: Flags = np.empty(_FIRST_COLUMNS, np.bool_)
        self._values: Floats = np.empty((_FIRST_ROWS, _FIRST_COLUMNS))
        self._present: Flags = np.zeros(_FIRST_ROWS, np.bool_)

    @property
    def length(self) -> int:
        """How many samples every row has."""
        return self._length

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return self._values.nbytes + self._timestamps.nbytes + self._scraped.nbytes

    @property
    def last(self) -> int | None:
        """The newest timestamp, or None."""
        return int(self._timestamps[self._length - 1]) if self._length else None

    def slot(self, labels: Labels) -> int | None:
        """The row of a series, made when it is new; None when it is refused because there are too many."""
        key = key_of(labels)
        slot = self._slots.get(key)
        if slot is None:
            slot = len(self.series)
            if slot >= self.max_series or not self._room_for_row(slot):
                return None
            self._slots[key] = slot
            self.series.append(dict(key))
            self._by_name.setdefault(labels.get("__name__", ""), []).append(slot)
            self._values.view(np.int64)[slot, : self._length] = ABSENT
            self._present[slot] = False
        return slot

    def slots_of(self, name: str | None) -> list[int]:
        """The rows of all series with this name, or of all series."""
        return list(range(len(self.series))) if name is None else self._by_name.get(name, [])

    def append(self, at: int, slots: Integers, values: Floats, *, scraped: bool = True) -> int:
        """Write one sample for the series in `slots`; those that had one and have none now are marked stale.

        Args:
            at: milliseconds; taken as one more than the newest timestamp when it is not later than that.
            slots: rows, each at most once.
            values: one for each of `slots`.
            scraped: whether the target answered.

        Returns:
            The timestamp as written.
        """
        if self.last is not None:
            at = max(at, self.last + 1)
        if self._length == self._timestamps.size:
            slots = self._make_room(at, slots)
        column, rows = self._length, len(self.series)
        present = np.zeros(self._present.size, np.bool_)
        present[slots] = True
        bits = self._values.view(np.int64)[:rows, column]
        bits[:] = ABSENT
        bits[(self._present & ~present)[:rows]] = STALE
        self._values[slots, column] = values
        self._timestamps[column] = at
        self._scraped[column] = scraped
        self._present = present
        self._length += 1
        return at

    def end(self, at: int) -> None:
        """The target left: mark every series stale and give back the slack."""
        self.append(at, np.empty(0, np.int64), np.empty(0), scraped=False)
        self._resize(max(1, len(self.series)), self._length)

    def window(self, slots: list[int], start: int, end: int) -> Window:
        """The rows `slots` between two times in milliseconds, both included."""
        times = self._timestamps[: self._length]
        low, high = np.searchsorted(times, start, "left"), np.searchsorted(times, end, "right")
        return Window(times[low:high].copy(), self._values[slots, low:high], self._scraped[low:high].copy())

    def _make_room(self, at: int, slots: Integers) -> Integers:
        """Drop what is too old, else grow, else drop the oldest quarter; returns `slots` as they are now."""
        capacity = self._timestamps.size
        old = int(np.searchsorted(self._timestamps[: self._length], at - self.retention))
        if old < max(1, capacity // 5):
            wanted = max(_FIRST_COLUMNS, capacity + capacity // 2)
            if self._may_grow(self._values.shape[0] * (wanted - capacity) * 8):
                self._resize(self._values.shape[0], wanted)
            else:
                old = max(old, capacity // 4, 1)
                self.dropped_early += old * len(self.series)
        return self._forget(old, slots) if old else slots

    def _forget(self, count: int, slots: Integers) -> Integers:
        """Drop the `count` oldest samples, and the series that have none left; returns `slots` renumbered."""
        kept = slice(count, self._length)
        self._length -= count
        for array in (self._timestamps, self._scraped):
            array[: self._length] = array[kept].copy()
        rows = len(self.series)
        self._values[:rows, : self._length] = self._values[:rows, kept].copy()
        used = self._present[:rows].copy()
        used |= (self._values.view(np.int64)[:rows, : self._length] != ABSENT).any(axis=1)
        used[slots] = True
        if used.all():
            return slots
        return self._renumber(np.flatnonzero(used), slots)

    def _renumber(self, kept: Integers, slots: Integers) -> Integers:
        rows = kept.size
        self._values[:rows] = self._values[kept]
        self._present[:rows] = self._present[kept]
        self._present[rows:] = False
        self.series = [self.series[slot] for slot in kept]
        self._slots = {key_of(labels): slot for slot, labels in enumerate(self.series)}
        self._by_name = {}
        for slot, labels in enumerate(self.series):
            self._by_name.setdefault(labels.get("__name__", ""), []).append(slot)
        self.layout += 1
        return np.searchsorted(kept, slots)

    def _room_for_row(self, slot: int) -> bool:
        rows, columns = self._values.shape
        if slot < rows:
            return True
        wanted = min(rows * 2, max(self.max_series, slot + 1))
        if not self._may_grow((wanted - rows) * columns * 8):
            return False
        self._resize(wanted, columns)
        return True

    def _resize(self, rows: int, columns: int) -> None:
        used, length = len(self.series), self._length
        values = np.empty((rows, columns))
        values[:used, :length] = self._values[:used, :length]
        present = np.zeros(rows, np.bool_)
        present[:used] = self._present[:used]
        timestamps, scraped = np.empty(columns, np.int64), np.empty(columns, np.bool_)
        timestamps[:length], scraped[:length] = self._timestamps[:length], self._scraped[:length]
        self._values, self._present, self._timestamps, self._scraped = values, present, timestamps, scraped
