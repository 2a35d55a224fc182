"""How values change over ranges: rate, increase, delta and their kin. Rules and extrapolation are Prometheus'."""

from __future__ import annotations

import numpy as np

from opsbook.promql.series import Flags, Floats
from opsbook.promql.windows import Block, Windows, reduced


def increase(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """How much a counter grew."""
    return _extrapolated(block, windows, counter=True)


def rate(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """How much a counter grew a second."""
    values, present = _extrapolated(block, windows, counter=True)
    return values / (windows.span / 1000), present


def delta(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """How much a gauge changed."""
    return _extrapolated(block, windows, counter=False)


def _extrapolated(block: Block, windows: Windows, *, counter: bool) -> tuple[Floats, Flags]:
    """The change from the first to the last sample, extended to the edges of the window.

    The change is taken to go on to an edge when that is nearer than 1.1 intervals between samples, else half an
    interval; a counter not further back than where it would have been 0.
    """
    count = windows.count
    present = count > 1
    first, last, times = windows.first, windows.last, windows.timestamps
    begin = block.values[:, first]
    change = block.values[:, last] - begin
    if counter:
        _add_resets(block.values, windows, change)
    first_at, last_at = times[first], times[last]
    sampled = (last_at - first_at) / 1000
    interval = sampled / np.maximum(count - 1, 1)
    to_start = (first_at - windows.starts) / 1000
    to_end = (windows.ends - last_at) / 1000
    to_start = np.where(to_start >= interval * 1.1, interval / 2, to_start)
    to_end = np.where(to_end >= interval * 1.1, interval / 2, to_end)
    factor = (sampled + to_start + to_end) / sampled
    if counter:
        # to_zero = sampled * begin / change < to_start; without dividing where it does not matter
        cut = (begin * sampled < change * to_start) & (change > 0) & (begin >= 0)
        if cut.any():
            to_zero = sampled * (begin / change)
            return change * np.where(cut, (sampled + to_zero + to_end) / sampled, factor), present
    return change * factor, present


def _add_resets(values: Floats, windows: Windows, change: Floats) -> None:
    """Add what a counter had reached before each fall within a window."""
    fallen = values[:, 1:] < values[:, :-1]
    rows = np.flatnonzero(fallen.any(axis=1))
    if not rows.size:
        return
    # Column i tells of the step from sample i to i + 1.
    before = np.where(fallen[rows], values[rows, :-1], 0.0)
    steps = before.shape[1]  # a window may be empty, also behind the last sample
    low = np.minimum(windows.low, steps)
    high = np.clip(windows.high - 1, low, steps)
    added = reduced(np.add, before, low, high)
    change[rows] += np.where(high > low, added, 0.0)


def irate(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """The growth a second between the last two samples."""
    last, before = windows.last, np.maximum(windows.high - 2, 0)
    now, then = block.values[:, last], block.values[:, before]
    seconds = (windows.timestamps[last] - windows.timestamps[before]) / 1000
    return np.where(now < then, now, now - then) / seconds, windows.count > 1


def idelta(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """The change between the last two samples."""
    last, before = windows.last, np.maximum(windows.high - 2, 0)
    return block.values[:, last] - block.values[:, before], windows.count > 1


def resets(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """How often a counter fell."""
    return _counted(block.values[:, 1:] < block.values[:, :-1], windows)


def changes(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """How often a value became another one."""
    now, then = block.values[:, 1:], block.values[:, :-1]
    return _counted((now != then) & ~(np.isnan(now) & np.isnan(then)), windows)


def _counted(events: Flags, windows: Windows) -> tuple[Floats, Flags]:
    until = np.zeros((len(events), events.shape[1] + 1))
    np.cumsum(events, axis=1, out=until[:, 1:])
    return until[:, windows.last] - until[:, windows.first], windows.count > 0
