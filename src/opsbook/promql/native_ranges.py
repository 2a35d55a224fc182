"""Functions of range vectors that have native histograms among their samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from opsbook.promql.annotations import Annotations
from opsbook.promql.functions import KEEPING_NAME, OfRange
from opsbook.promql.native import Histogram
from opsbook.promql.series import NAME, Flags, Floats, Integers
from opsbook.promql.vectors import Vectors
from opsbook.promql.windows import Block, Ranges, Windows, computed, dense

Cell: TypeAlias = float | Histogram

_BLIND = frozenset({"count_over_time", "present_over_time", "ts_of_first_over_time", "ts_of_last_over_time"})


@dataclass(frozen=True, slots=True)
class Window:
    """The samples of one series at one step."""

    name: str  # of the metric
    cells: list[Cell]
    times: Integers
    start: int
    end: int
    span: int

    @property
    def natives(self) -> list[Histogram]:
        """The samples that are native histograms."""
        return [cell for cell in self.cells if isinstance(cell, Histogram)]

    @property
    def mixed(self) -> bool:
        """Whether there are numbers too."""
        return len(self.natives) < len(self.cells)


def apply(name: str, function: OfRange, ranges: Ranges, notes: Annotations) -> Vectors:
    """The function at each step for each series."""
    if name in _BLIND:
        values, present = computed(ranges, function)
        return _vectors(name, ranges, values, present, None)
    values, present = computed(_numbers(ranges), function)
    natives = np.full(values.shape, None)
    handler = _HANDLERS.get(name, _ignored)
    for row, step, window in _windows(ranges):
        answer = handler(window, notes)
        if answer is _AS_NUMBERS:
            continue
        present[row, step] = answer is not None
        if isinstance(answer, Histogram):
            natives[row, step] = answer
        elif isinstance(answer, float):
            values[row, step] = answer
    return _vectors(name, ranges, values, present, natives)


def _vectors(name: str, ranges: Ranges, values: Floats, present: Flags, natives: object) -> Vectors:
    nameless = ranges.nameless if name in KEEPING_NAME else np.ones(len(ranges.series), np.bool_)
    found = natives if isinstance(natives, np.ndarray) and natives.astype(np.bool_).any() else None
    return Vectors(ranges.series, values, present, nameless, None, found).inhabited()


def _numbers(ranges: Ranges) -> Ranges:
    """Without native histograms."""
    blocks: list[Block] = []
    for block in ranges.blocks:
        if block.natives is None:
            blocks.append(block)
        else:
            floats = ~block.natives.astype(np.bool_)
            blocks += dense(block.rows, block.timestamps, block.values, floats, None)
    return replace(ranges, blocks=blocks)


def _windows(ranges: Ranges) -> Iterator[tuple[int, int, Window]]:
    """Every window that has a native histogram."""
    for block in ranges.blocks:
        if block.natives is None:
            continue
        windows = Windows(block, ranges)
        for index, row in enumerate(block.rows.tolist()):
            cells: list[Cell] = [
                float(value) if native is None else native
                for value, native in zip(block.values[index], block.natives[index], strict=True)
            ]
            name = ranges.series[row].get(NAME, "")
            for step, (low, high) in enumerate(zip(windows.low.tolist(), windows.high.tolist(), strict=True)):
                if any(isinstance(cell, Histogram) for cell in cells[low:high]):
                    start, end = int(ranges.starts[step]), int(ranges.ends[step])
                    times = block.timestamps[low:high]
                    yield row, step, Window(name, cells[low:high], times, start, end, ranges.span)


_AS_NUMBERS = object()


def _ignored(window: Window, notes: Annotations) -> object:
    if window.mixed:
        notes.info(
            f'ignored histograms in a range containing both floats and histograms for metric name "{window.name}"'
        )
    return _AS_NUMBERS


def _first(window: Window, _: Annotations) -> object:
    return window.cells[0]


def _last(window: Window, _: Annotations) -> object:
    return window.cells[-1]


def _pairs(window: Window) -> Iterator[tuple[Cell, Cell]]:
    return pairwise(window.cells)


def _resets(window: Window, _: Annotations) -> object:
    def fell(before: Cell, now: Cell) -> bool:
        if isinstance(before, Histogram) and isinstance(now, Histogram):
            return now.fell(before)
        if isinstance(before, float) and isinstance(now, float):
            return now < before
        return True  # from one kind to the other

    return float(sum(fell(before, now) for before, now in _pairs(window)))


def _changes(window: Window, _: Annotations) -> object:
    return float(sum(before != now for before, now in _pairs(window)))


def _mix(window: Window, notes: Annotations) -> bool:
    if window.mixed:
        notes.warn(f'encountered a mix of histograms and floats for metric name "{window.name}"')
    return window.mixed


def _kinds(window: Window, natives: list[Histogram], notes: Annotations) -> bool:
    """Whether they cannot be added; says so."""
    if all(native.addable(natives[0]) for native in natives):
        if len({native.bounds for native in natives}) > 1:
            notes.info("mismatched custom buckets were reconciled during subtraction")
        return False
    notes.warn(
        "vector contains a mix of histograms with exponential and custom buckets schemas"
        f' for metric name "{window.name}"'
    )
    return True


def _total(window: Window, notes: Annotations) -> Histogram | None:
    if _mix(window, notes) or _kinds(window, window.natives, notes):
        return None
    total = window.natives[0]
    for native in window.natives[1:]:
        total = total.plus(native)
    return total


def _average(window: Window, notes: Annotations) -> Histogram | None:
    total = _total(window, notes)
    return None if total is None else total.scaled(1 / len(window.cells))


def _hinted(window: Window, natives: list[Histogram], notes: Annotations, *, counter: bool) -> None:
    if counter and any(native.hint == "gauge" for native in natives):
        notes.warn(f'this native histogram metric is not a counter: "{window.name}"')
    if not counter and any(native.hint != "gauge" for native in natives):
        notes.warn(f'this native histogram metric is not a gauge: "{window.name}"')


def _extrapolated(window: Window, notes: Annotations, *, counter: bool, per_second: bool) -> Histogram | None:
    if len(window.cells) < 2 or _mix(window, notes) or _kinds(window, window.natives, notes):
        return None
    natives = window.natives
    _hinted(window, natives, notes, counter=counter)
    change = natives[-1].minus(natives[0])
    if counter:
        for before, now in pairwise(natives):
            if now.fell(before):
                change = change.plus(before)
    sampled = float(window.times[-1] - window.times[0]) / 1000
    interval = sampled / (len(natives) - 1)
    to_start = float(window.times[0] - window.start) / 1000
    to_end = float(window.end - window.times[-1]) / 1000
    to_start = interval / 2 if to_start >= interval * 1.1 else to_start
    to_end = interval / 2 if to_end >= interval * 1.1 else to_end
    if counter and change.count > 0 and natives[0].count >= 0:
        to_start = min(to_start, sampled * natives[0].count / change.count)
    factor = (sampled + to_start + to_end) / sampled
    if per_second:
        factor /= window.span / 1000
    return replace(change.scaled(factor), hint="gauge")


def _instant(window: Window, notes: Annotations, *, counter: bool) -> object:
    if len(window.cells) < 2:
        return None
    latest = replace(window, cells=window.cells[-2:])
    if not latest.natives:
        return _AS_NUMBERS
    if _mix(latest, notes) or _kinds(latest, latest.natives, notes):
        return None
    before, now = latest.natives
    _hinted(latest, latest.natives, notes, counter=counter)
    change = now if counter and now.fell(before) else now.minus(before)
    if counter:
        change = change.scaled(1000 / float(window.times[-1] - window.times[-2]))
    return replace(change, hint="gauge")


_HANDLERS: dict[str, Callable[[Window, Annotations], object]] = {
    "first_over_time": _first,
    "last_over_time": _last,
    "resets": _resets,
    "changes": _changes,
    "sum_over_time": _total,
    "avg_over_time": _average,
    "rate": lambda window, notes: _extrapolated(window, notes, counter=True, per_second=True),
    "increase": lambda window, notes: _extrapolated(window, notes, counter=True, per_second=False),
    "delta": lambda window, notes: _extrapolated(window, notes, counter=False, per_second=False),
    "irate": lambda window, notes: _instant(window, notes, counter=True),
    "idelta": lambda window, notes: _instant(window, notes, counter=False),
}
