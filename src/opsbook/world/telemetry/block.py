"""The samples of one target: rows are its series, columns its scrapes; the newest as they are, the others packed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from opsbook.promql.series import (
    ABSENT,
    NAME,
    Flags,
    Floats,
    Integers,
    LabelKey,
    Labels,
    Window,
    is_sample,
    key_of,
)
from opsbook.world.telemetry.chunk import Chunk
from opsbook.world.telemetry.head import COLUMNS, SEALED, Head


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some rows between two times, not yet unpacked: taken under the store's lock, unpacked without it."""

    slots: Integers
    chunks: tuple[tuple[Chunk, int, int], ...]
    newest: Window

    def window(self) -> Window:
        """The samples."""
        if not self.chunks:
            return self.newest
        sizes = [high - low for _, low, high in self.chunks]
        width = sum(sizes) + self.newest.timestamps.size
        values = np.empty((self.slots.size, width))
        at = 0
        for (chunk, low, high), size in zip(self.chunks, sizes, strict=True):
            chunk.fill(values[:, at : at + size], self.slots, low, high)
            at += size
        values[:, at:] = self.newest.values
        return Window(
            np.concatenate(
                [*(c.timestamps[low:high] for c, low, high in self.chunks), self.newest.timestamps]
            ),
            values,
            np.concatenate([*(c.scraped[low:high] for c, low, high in self.chunks), self.newest.scraped]),
        )


class Block:
    """A window that slides over the samples of one target. Not thread-safe; the store holds its lock.

    Args:
        labels: of the target.
        common: labels that every series has; what does not fit them fits no series.
        retention: milliseconds that samples are kept (while memory allows).
        max_series: how many series may exist at a time.
        may_grow: asked with the number of bytes before the arrays grow; may make room.
        changed: called whenever series come or go.
        since: from when on every sample of the target is here.
    """

    def __init__(
        self,
        labels: Labels,
        *,
        retention: int,
        max_series: int,
        common: Labels | None = None,
        may_grow: Callable[[int], bool] = lambda _: True,
        changed: Callable[[], None] = lambda: None,
        since: int = 0,
    ) -> None:
        self.labels = labels
        self.common = labels if common is None else common
        self.retention = retention
        self.max_series = max_series
        self.since = since
        self.layout = 0  # changes whenever slots were given new meanings
        self.version = 0  # changes whenever series come or go
        self.dropped_early = 0  # samples given up before the retention had passed, for want of memory
        self.series: list[Labels | None] = []  # by slot; None: free
        self.keys: npt.NDArray[np.uint64] = np.zeros(16, np.uint64)  # by slot, in the history; 0: none yet
        self.written = 0  # everything up to this time has been handed to the history,
        self.late: list[tuple[int, int, Floats]] = []  # but these: slot, time, value
        self.chunks: list[Chunk] = []
        self.head = Head()
        self._may_grow = may_grow
        self._changed = changed
        self._slots: dict[LabelKey, int] = {}
        self._by_name: dict[str, list[int]] = {}
        self._free: list[int] = []
        self._alive: Flags = np.zeros(0, np.bool_)  # rows with a sample in the last scrape
        self._nbytes_chunks = 0
        self._used: tuple[int, Integers] = (-1, np.empty(0, np.int64))  # rows with a series, at a version
        self._to_release = False  # chunks were forgotten, so rows may be empty

    @property
    def length(self) -> int:
        """How many columns there are."""
        return self.head.length + sum(chunk.timestamps.size for chunk in self.chunks)

    @property
    def count(self) -> int:
        """How many series there are."""
        return len(self._slots)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return self.head.nbytes + self._nbytes_chunks + self.keys.nbytes

    @property
    def last(self) -> int | None:
        """The newest timestamp, or None."""
        if self.head.length:
            return int(self.head.timestamps[self.head.length - 1])
        return self.chunks[-1].last if self.chunks else None

    def slot(self, labels: Labels) -> int | None:
        """The row of a series, made when it is new; None when it is refused because there are too many."""
        key = key_of(labels)
        slot = self._slots.get(key)
        if slot is not None:
            return slot
        if len(self._slots) >= self.max_series:
            return None
        if self._free:
            slot = self._free.pop()
            self.series[slot] = dict(key)
            self.keys[slot] = 0
        else:
            slot = len(self.series)
            if not self._room_for(slot):
                return None
            self.series.append(dict(key))
        self._slots[key] = slot
        self._by_name.setdefault(labels.get(NAME, ""), []).append(slot)
        self.version += 1
        self._changed()
        return slot

    def slots_of(self, name: str | None) -> list[int]:
        """The rows of all series with this name, or of all series."""
        return list(self._slots.values()) if name is None else self._by_name.get(name, [])

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
        last = self.last
        if last is not None:
            at = max(at, last + 1)
        self._make_room()
        present = np.zeros(len(self.series), np.bool_)
        present[slots] = True
        ended = self._alive & ~present[: self._alive.size]
        self.head.append(at, slots, values, ended, scraped=scraped)
        self._alive = present
        self.release()
        return at

    def place(self, slot: int, at: int, value: Floats) -> bool | None:
        """Write a sample that somebody sent, where its time belongs; nothing is marked stale.

        Args:
            slot: of the series.
            at: milliseconds.
            value: an array of one.

        Returns:
            True when it was taken or was here already, False when there is another value, None when it is too old.
        """
        head = self.head
        if self.chunks and at <= self.chunks[-1].last:
            return None
        if head.full and at <= head.timestamps[SEALED - 1]:
            return None
        self._make_room()
        column = head.column_at(at)
        cell = head.values[column, slot : slot + 1]
        before = cell.view(np.int64)[0]
        if before != ABSENT:
            return bool(before == value.view(np.int64)[0])
        cell[:] = value  # an array, because a float of Python may lose the bits of a marker
        if at <= self.written:
            self.late.append((slot, at, value.copy()))
        return True

    def end(self, at: int) -> None:
        """The target left: mark every series stale, and pack what there is."""
        self.append(at, np.empty(0, np.int64), np.empty(0), scraped=False)
        self.seal(self.head.length)
        self.head = Head(rows=1)  # should it come back, there will be room
        self.release()

    def stretch(self, slots: Integers, start: int, end: int) -> Stretch:
        """The rows `slots` between two times in milliseconds, both included."""
        chunks = []
        for chunk in reversed(self.chunks):
            if chunk.last < start:
                break
            low, high = np.searchsorted(chunk.timestamps, (start, end + 1))
            if low < high:
                chunks.append((chunk, int(low), int(high)))
        head = self.head
        low, high = np.searchsorted(head.timestamps[: head.length], (start, end + 1))
        values = head.values[low:high, slots].T if low < high else np.empty((slots.size, 0))
        newest = Window(
            head.timestamps[low:high].copy(), np.ascontiguousarray(values), head.scraped[low:high].copy()
        )
        return Stretch(slots, tuple(reversed(chunks)), newest)

    def found(self, slots: Integers, start: int, end: int) -> Flags:
        """Which of `slots` have something between two times; of packed samples the whole chunk counts."""
        there = np.zeros(slots.size, np.bool_)
        for chunk in self.chunks:
            if chunk.last >= start and chunk.timestamps[0] <= end:
                known = slots < chunk.present.size
                there[known] |= chunk.present[slots[known]]
        head = self.head
        low, high = np.searchsorted(head.timestamps[: head.length], (start, end + 1))
        if low < high:
            there |= (head.values.view(np.int64)[low:high, slots] != ABSENT).any(axis=0)
        return there

    def unwritten(self, most: int) -> tuple[Stretch, list[tuple[int, int, Floats]]] | None:
        """What the history does not have yet, at most about `most` cells of it; taken to be written from now on.

        Returns:
            A stretch of all series, and the samples that came late; None when there is nothing.
        """
        last = self.last
        if (last is None or last <= self.written) and not self.late:
            return None
        slots = self._used_slots()
        times = [chunk.timestamps for chunk in self.chunks if chunk.last > self.written]
        times.append(self.head.timestamps[: self.head.length])
        new = np.concatenate(times)
        new = new[new > self.written][: max(1, most // max(1, slots.size))]
        late, self.late = self.late, []
        stretch = self.stretch(slots, self.written + 1, int(new[-1]) if new.size else self.written)
        if new.size:
            self.written = int(new[-1])
        return stretch, late

    def restore(self, series: Sequence[Labels], keys: Sequence[int], window: Window) -> None:
        """Take back what the history remembers; what is here already stays as it is.

        Args:
            series: labels, one for each row of the window.
            keys: theirs, in the history.
            window: samples, all of them older than what is here.
        """
        first = next((int(c.timestamps[0]) for c in self.chunks), None)
        if first is None and self.head.length:
            first = int(self.head.timestamps[0])
        width = (
            int(np.searchsorted(window.timestamps, first)) if first is not None else window.timestamps.size
        )
        placed = [(row, slot) for row, labels in enumerate(series) if (slot := self.slot(labels)) is not None]
        if not placed or not width:
            return
        rows, slots = (np.array(part, np.int64) for part in zip(*placed, strict=True))
        self.keys[slots] = np.asarray(keys, np.uint64)[rows]
        chunks = []
        for low in range(0, width, SEALED):
            part = slice(low, min(low + SEALED, width))
            values = np.empty((part.stop - low, len(self.series)))
            values.view(np.int64)[:] = ABSENT
            values[:, slots] = window.values[rows, part].T
            chunks.append(Chunk(window.timestamps[part], window.scraped[part], values))
        if first is None:
            self._alive = is_sample(values[-1])
            self.written = chunks[-1].last
        self.chunks[:0] = chunks
        nbytes = sum(chunk.nbytes for chunk in chunks)
        self._nbytes_chunks += nbytes
        self._may_grow(nbytes)

    def seal(self, count: int) -> None:
        """Pack the `count` oldest columns of the head, and forget what is too old."""
        if not count:
            return
        head, rows = self.head, len(self.series)
        chunk = Chunk(head.timestamps[:count], head.scraped[:count], head.values[:count, :rows])
        head.drop(count)
        self.chunks.append(chunk)
        self._nbytes_chunks += chunk.nbytes
        self._may_grow(chunk.nbytes)
        self.expire(chunk.last - self.retention)

    def expire(self, before: int) -> None:
        """Forget the chunks that ended before a time, and the series that have nothing left."""
        gone = 0
        while gone < len(self.chunks) and self.chunks[gone].last < before:
            gone += 1
        if gone:
            self._forget(gone)

    def give_up(self) -> int:
        """Forget the oldest chunk for want of memory; returns its bytes, 0 when there is none."""
        if not self.chunks:
            return 0
        chunk = self.chunks[0]
        self.dropped_early += chunk.timestamps.size * int(chunk.present.sum())
        self._forget(1)
        return chunk.nbytes

    def release(self) -> None:
        """Free the rows that have nothing left. Not between asking for a slot and writing to it."""
        if not self._to_release:
            return
        self._to_release = False
        head, rows = self.head, len(self.series)
        used = np.zeros(rows, np.bool_)
        if head.length:
            used |= (head.values.view(np.int64)[: head.length, :rows] != ABSENT).any(axis=0)
        used[: self._alive.size] |= self._alive
        for chunk in self.chunks:
            used[: chunk.present.size] |= chunk.present
        freed = [slot for slot in np.flatnonzero(~used).tolist() if self.series[slot] is not None]
        for slot in freed:
            self._release(slot)
        if freed:
            self.layout += 1
            self.version += 1
            self._changed()

    def _used_slots(self) -> Integers:
        version, slots = self._used
        if version != self.version:
            found = [slot for slot, labels in enumerate(self.series) if labels is not None]
            slots = np.array(found, np.int64)
            self._used = self.version, slots
        return slots

    def _forget(self, count: int) -> None:
        self.since = self.chunks[count - 1].last + 1
        self._nbytes_chunks -= sum(chunk.nbytes for chunk in self.chunks[:count])
        del self.chunks[:count]
        self._to_release = True

    def _make_room(self) -> None:
        """For one more column of all rows."""
        if self.head.full:
            self.seal(SEALED)
        if self.head.rows < len(self.series):
            self.head.resize(len(self.series))

    def _release(self, slot: int) -> None:
        labels = self.series[slot]
        assert labels is not None
        name = labels.get(NAME, "")
        del self._slots[key_of(labels)]
        self._by_name[name].remove(slot)
        if not self._by_name[name]:
            del self._by_name[name]
        self.series[slot] = None
        self._free.append(slot)

    def _room_for(self, slot: int) -> bool:
        rows = self.head.rows
        if slot >= rows:
            wanted = min(rows * 2, max(self.max_series, slot + 1))
            if not self._may_grow((wanted - rows) * COLUMNS * 8):
                return False
            self.head.resize(wanted)
        if slot >= self.keys.size:
            self.keys = np.concatenate([self.keys, np.zeros(max(self.keys.size, slot + 1), np.uint64)])
        return True
