"""Aggregations of the samples of a range, series by series."""

from __future__ import annotations

import numpy as np

from opsbook.promql.series import Flags, Floats
from opsbook.promql.summation import means, sums, suspicious
from opsbook.promql.windows import Block, Windows, gathered, reduced


def count(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """How many samples there are."""
    return _alike(block, windows.count.astype(np.float64)), windows.count > 0


def present(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """1 where there is a sample."""
    return _alike(block, np.ones(windows.count.size)), windows.count > 0


def last(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """The newest sample."""
    return block.values[:, windows.last], windows.count > 0


def first(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """The oldest sample."""
    return block.values[:, windows.first], windows.count > 0


def time_of_last(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """When the newest sample was taken, in seconds."""
    return _alike(block, windows.timestamps[windows.last] / 1000), windows.count > 0


def time_of_first(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """When the oldest sample was taken."""
    return _alike(block, windows.timestamps[windows.first] / 1000), windows.count > 0


def minimum(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """The least value; NaN only when there is no other."""
    return reduced(np.fmin, block.values, windows.low, windows.high), windows.count > 0


def maximum(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """The greatest value; NaN only when there is no other."""
    return reduced(np.fmax, block.values, windows.low, windows.high), windows.count > 0


def time_of_minimum(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """When the least value was last taken, in seconds."""
    return _time_of_extreme(block, windows, 1.0)


def time_of_maximum(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """When the greatest value was last taken."""
    return _time_of_extreme(block, windows, -1.0)


def _time_of_extreme(block: Block, windows: Windows, sign: float) -> tuple[Floats, Flags]:
    def compute(samples: Floats, counted: Flags, part: slice) -> Floats:
        known = counted & ~np.isnan(samples)
        keys = np.where(known, sign * samples, np.inf)
        least = keys.min(axis=-1, keepdims=True)
        at = keys.shape[-1] - 1 - np.argmax(((keys == least) & known)[..., ::-1], axis=-1)
        # Nothing but NaN: the last of them, as each replaces the one before.
        at = np.where(known.any(axis=-1), at, counted.sum(axis=-1) - 1)
        index = np.minimum(windows.low[part] + at, windows.timestamps.size - 1)
        found: Floats = windows.timestamps[index] / 1000
        return found

    return gathered(block.values, windows, compute), windows.count > 0


def total(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """The sum of the values."""
    result = reduced(np.add, block.values, windows.low, windows.high)
    return _careful(block, windows, result, result, sums), windows.count > 0


def average(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """The mean of the values."""
    added = reduced(np.add, block.values, windows.low, windows.high)
    result = added / np.maximum(windows.count, 1)
    return _careful(block, windows, result, added, means), windows.count > 0


def _careful(block: Block, windows: Windows, result: Floats, added: Floats, again: object) -> Floats:
    """Do again what plain addition may have got wrong."""
    assert callable(again)
    largest = np.abs(block.values).max(axis=1, keepdims=True, initial=0.0)
    doubtful = suspicious(added, np.where(np.isfinite(largest), largest, np.inf)) & (windows.count > 0)
    rows, steps = np.nonzero(doubtful & (largest > 0))
    widest = max(1, int(windows.count.max(initial=1)))
    for begin in range(0, rows.size, max(1, 1_000_000 // widest)):
        part = slice(begin, begin + max(1, 1_000_000 // widest))
        row, step = rows[part], steps[part]
        index = windows.low[step, None] + np.arange(widest)
        counted = index < windows.high[step, None]
        samples = block.values[row[:, None], np.minimum(index, block.values.shape[1] - 1)]
        result[row, step] = again(samples, counted)
    return result


def variance(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """The population variance."""

    def compute(samples: Floats, counted: Flags, _: slice) -> Floats:
        # From the first sample on, so that equal values have exactly none.
        moved = np.where(counted, samples - samples[..., :1], 0.0)
        number = np.maximum(counted.sum(axis=-1), 1)
        mean = moved.sum(axis=-1) / number
        squares = np.where(counted, (moved - mean[..., None]) ** 2, 0.0)
        result: Floats = squares.sum(axis=-1) / number
        return result

    return gathered(block.values, windows, compute), windows.count > 0


def deviation(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """The population standard deviation."""
    values, there = variance(block, windows)
    return np.sqrt(values), there


def quantile(block: Block, windows: Windows, quantiles: Floats) -> tuple[Floats, Flags]:
    """The value below which a share of the samples lies; `quantiles` has one for each step."""

    def compute(samples: Floats, counted: Flags, part: slice) -> Floats:
        return quantile_of(samples, counted, quantiles[part])

    return gathered(block.values, windows, compute), windows.count > 0


def quantile_of(samples: Floats, counted: Flags, quantiles: Floats) -> Floats:
    """Quantiles along the last axis over the cells that count; NaN is less than every number."""
    keys = np.where(counted & ~np.isnan(samples), samples, np.inf)
    broken = (counted & np.isnan(samples)).sum(axis=-1)
    number = counted.sum(axis=-1)
    ordered = np.sort(keys, axis=-1)
    valid = (quantiles >= 0) & (quantiles <= 1)
    rank = np.where(valid, quantiles, 0.0) * (number - 1)
    lower = np.maximum(np.floor(rank), 0).astype(np.int64)
    upper = np.clip(lower + 1, 0, np.maximum(number - 1, 0))
    shape = ordered.shape[:-1]

    def at(position: object) -> Floats:
        index = np.broadcast_to(np.asarray(position), shape) - broken
        picked = np.take_along_axis(ordered, np.maximum(index, 0)[..., None], axis=-1)[..., 0]
        return np.where(index < 0, np.nan, picked)

    weight = rank - np.floor(rank)
    low_value, high_value = at(lower), at(upper)
    mixed = low_value * (1 - weight) + high_value * weight
    # Infinity times no weight would be NaN; Prometheus multiplies as well, so only the exact case is kept.
    result = np.where(np.isnan(quantiles) | (number == 0), np.nan, mixed)
    return np.where(quantiles < 0, -np.inf, np.where(quantiles > 1, np.inf, result))


def median_deviation(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """The median distance from the median; NaN when a sample is NaN."""

    def compute(samples: Floats, counted: Flags, _: slice) -> Floats:
        half = np.full(samples.shape[-2], 0.5)
        median = quantile_of(samples, counted, half)
        result = quantile_of(np.abs(samples - median[..., None]), counted, half)
        return np.where((np.isnan(samples) & counted).any(axis=-1), np.nan, result)

    return gathered(block.values, windows, compute), windows.count > 0


def _alike(block: Block, values: Floats) -> Floats:
    return np.broadcast_to(values, (len(block.values), values.size))
