"""Range vectors: samples in blocks that have no gaps, and where the window of each step lies in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from opsbook.promql.native import Natives
from opsbook.promql.series import ABSENT, Flags, Floats, Integers, Labels, Selection, is_sample, is_stale
from opsbook.promql.vectors import Vectors

_GATHERED = 4_000_000  # cells that a chunk of windows may have: 32 MB


@dataclass(slots=True)
class Block:
    """Some series with samples at the same times, each at every one.

    `rows` are their numbers among the series of the range vector; `natives` is None without native histograms.
    """

    rows: Integers
    timestamps: Integers
    values: Floats
    natives: Natives | None = None


@dataclass(slots=True)
class Ranges:
    """A range vector at every step: the window of a step begins after `starts` and ends with `ends` (ms)."""

    series: list[Labels]
    nameless: Flags
    blocks: list[Block]
    starts: Integers
    ends: Integers
    span: int

    @property
    def samples(self) -> int:
        """How many cells are held."""
        return sum(block.values.size for block in self.blocks)


class Windows:
    """Where the windows of all steps lie in the samples of a block: `low` inclusive, `high` exclusive."""

    __slots__ = ("count", "ends", "high", "low", "span", "starts", "timestamps")

    def __init__(self, block: Block, ranges: Ranges) -> None:
        self.timestamps = block.timestamps
        self.starts, self.ends, self.span = ranges.starts, ranges.ends, ranges.span
        self.low = np.searchsorted(block.timestamps, ranges.starts, "right")
        self.high = np.searchsorted(block.timestamps, ranges.ends, "right")
        self.count = self.high - self.low

    @property
    def first(self) -> Integers:
        """The first sample of each window; of an empty one any."""
        return np.minimum(self.low, self.timestamps.size - 1)

    @property
    def last(self) -> Integers:
        """The last sample of each window; of an empty one any."""
        return np.maximum(self.high - 1, 0)


def blocks_of(selection: Selection, base: int) -> Iterator[Block]:
    """The samples of a selection without markers, series with the same pattern of gaps together."""
    window = selection.window
    values, times = window.values, window.timestamps
    natives: Natives | None = window.natives
    rows = np.arange(base, base + len(values))
    # A sum is the cheapest way to learn that there is no NaN, and so no marker.
    if not np.isnan(values.sum()):
        yield Block(rows, times, values)
        return
    present = is_sample(values)
    if present.all():
        yield Block(rows, times, values, natives)
        return
    yield from dense(rows, times, values, present, natives)


def dense(
    rows: Integers, times: Integers, values: Floats, present: Flags, natives: Natives | None
) -> Iterator[Block]:
    """Blocks without gaps of a matrix that has some."""
    patterns: dict[bytes, list[int]] = {}
    for row, pattern in enumerate(np.packbits(present, axis=1)):
        patterns.setdefault(pattern.tobytes(), []).append(row)
    for members in patterns.values():
        columns = np.flatnonzero(present[members[0]])
        if columns.size:
            chosen = np.array(members)
            grid = np.ix_(chosen, columns)
            yield Block(
                rows[chosen], times[columns], values[grid], None if natives is None else natives[grid]
            )


def ranges_of(vectors: Vectors, times: Integers, starts: Integers, ends: Integers, span: int) -> Ranges:
    """A range vector of what a subquery gave at its own steps `times`."""
    rows = np.arange(len(vectors.series))
    if vectors.present.all():
        blocks = [Block(rows, times, vectors.values, vectors.natives)] if rows.size and times.size else []
    else:
        blocks = list(dense(rows, times, vectors.values, vectors.present, vectors.natives))
    return Ranges(vectors.series, vectors.nameless, blocks, starts, ends, span)


def latest(
    selection: Selection, ends: Integers, lookback: int
) -> tuple[Floats, Flags, Integers, Natives | None]:
    """The last sample of each series not after each of `ends` and younger than `lookback` (ms).

    Returns:
        Values, presence and times (all series x steps), and native histograms if there are any.
    """
    window = selection.window
    values, times = window.values, window.timestamps
    natives: Natives | None = window.natives
    column = np.searchsorted(times, ends, "right") - 1
    found = column >= 0
    safe = np.maximum(column, 0)
    if np.isnan(values.sum()):
        cells = values.view(np.int64) != ABSENT
        if not cells.all():
            return _latest_of_each(values, times, natives, cells, safe, found, ends, lookback)
        picked = values[:, safe]
        present = (found & (times[safe] > ends - lookback)) & ~is_stale(picked)
    else:
        picked = values[:, safe]
        present = np.broadcast_to(found & (times[safe] > ends - lookback), picked.shape)
    taken = np.broadcast_to(times[safe], picked.shape)
    return picked, present, taken, None if natives is None else natives[:, safe]


def _latest_of_each(
    values: Floats,
    times: Integers,
    natives: Natives | None,
    cells: Flags,
    safe: Integers,
    found: Flags,
    ends: Integers,
    lookback: int,
) -> tuple[Floats, Flags, Integers, Natives | None]:
    """As `latest`, where each series has its own gaps."""
    filled = np.maximum.accumulate(np.where(cells, np.arange(times.size), -1), axis=1)
    index = filled[:, safe]
    has = found & (index >= 0)
    index = np.maximum(index, 0)
    picked = np.take_along_axis(values, index, axis=1)
    taken = times[index]
    present = has & (taken > ends - lookback) & ~is_stale(picked)
    return picked, present, taken, None if natives is None else np.take_along_axis(natives, index, axis=1)


def computed(
    ranges: Ranges, function: Callable[[Block, Windows], tuple[Floats, Flags]]
) -> tuple[Floats, Flags]:
    """What a function of blocks makes of each series at each step, and where it makes anything."""
    shape = (len(ranges.series), ranges.ends.size)
    values, present = np.empty(shape), np.zeros(shape, np.bool_)
    for block in ranges.blocks:
        values[block.rows], present[block.rows] = function(block, Windows(block, ranges))
    return values, present


def reduced(reduce: np.ufunc, values: Floats, low: Integers, high: Integers) -> Floats:
    """`reduce` over ``values[:, low:high]`` for each window; of an empty window anything."""
    if not values.size:
        return np.zeros((len(values), low.size))
    edges = np.empty(2 * low.size, np.intp)
    edges[0::2], edges[1::2] = low, high
    if high.max(initial=0) >= values.shape[1] or low.max(initial=0) >= values.shape[1]:
        values = np.concatenate([values, values[:, -1:]], axis=1)
    result: Floats = reduce.reduceat(values, edges, axis=1)[:, ::2]
    return result


Gathered: TypeAlias = Callable[[Floats, Flags, slice], Floats]


def gathered(values: Floats, windows: Windows, compute: Gathered) -> Floats:
    """What `compute` makes of the samples of each window, in chunks that bound memory.

    Args:
        values: series x samples.
        windows: where they lie.
        compute: given the samples (series x steps x widest window), which of them count (steps x widest), and
            which steps they are of; answers series x steps.
    """
    rows, steps = len(values), windows.low.size
    result = np.empty((rows, steps))
    widest = max(1, int(windows.count.max(initial=1)))
    steps_at_once = max(1, _GATHERED // max(1, widest * rows))
    rows_at_once = max(1, _GATHERED // widest) if steps_at_once == 1 else max(1, rows)
    offsets = np.arange(widest)
    last = values.shape[1] - 1
    for begin in range(0, steps, steps_at_once):
        part = slice(begin, min(steps, begin + steps_at_once))
        index = windows.low[part, None] + offsets
        counted = index < windows.high[part, None]
        index = np.minimum(index, last)
        for top in range(0, rows, rows_at_once):
            chunk = slice(top, top + rows_at_once)
            result[chunk, part] = compute(values[chunk][:, index], counted, part)
    return result
