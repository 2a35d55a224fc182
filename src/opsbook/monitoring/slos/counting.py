"""Counts events in stretches of five minutes: exactly, from samples, where those are at hand; else by PromQL.

Growth of a counter belongs to the stretch in which it was seen: that of the later of two samples. A counter that falls
was reset and counts from 0; one that appears at a target that was there before, and did not have it, began at 0. So
the stretches of a window add up to exactly what the counters grew by, without `increase`'s extrapolation.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from opsbook.book.slos import SLICE, filled
from opsbook.errors import Failed
from opsbook.monitoring.querying.ports import Queries
from opsbook.monitoring.slos.model import Indicator, Objective
from opsbook.promql.model import Matrix
from opsbook.promql.parsing import parse
from opsbook.promql.series import Floats, Integers, LabelKey, Matcher, Selection, is_sample, key_of

LOOKBACK = 900.0
"""Seconds before a stretch in which the sample before its first one is looked for."""
LOOK = 30.0
"""Seconds between two looks at a value."""
RECENT = 24
"""Stretches that are counted from samples; older ones from what the history has of each five minutes, if it can."""
_CHUNK = 24  # stretches that are asked for at once
_OPERATORS: dict[str, Callable[[Floats, float], npt.NDArray[np.bool_]]] = {
    "lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge
}  # fmt: skip


class Aggregates(Protocol):
    """What one series did in stretches of five minutes; `opsbook.world.telemetry.storage.Aggregates` is one."""

    @property
    def timestamps(self) -> Integers: ...

    @property
    def grown(self) -> Floats: ...


class Samples(Protocol):
    """The part of the storage that is counted from. Times are milliseconds."""

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> Sequence[Selection]: ...

    def aggregates(self, matchers: Sequence[Matcher], start: int, end: int) -> Sequence[Aggregates]: ...


@dataclass(frozen=True, slots=True)
class Stretch:
    """Good and all events of consecutive stretches; NaN where nothing is known."""

    first: int  # number of the first: its beginning over five minutes
    good: Floats
    total: Floats


class Counter:
    """See the module.

    Args:
        queries: PromQL, for what is no counter. samples: None: everything is asked by PromQL.
    """

    def __init__(self, queries: Queries, samples: Samples | None) -> None:
        self._queries = queries
        self._samples = samples

    def count(self, objective: Objective, first: int, last: int, now: float) -> Stretch:
        """The stretches `first` to `last`, both included, as far as they are over at `now` (epoch seconds).

        Raises:
            OpsbookError: what is counted cannot be read.
        """
        good, total = np.full(last - first + 1, np.nan), np.full(last - first + 1, np.nan)
        since = first
        old = min(last, int(now // SLICE) - RECENT)
        exact = self._samples is not None and objective.indicator.kind == "selectors"
        if self._samples is not None and exact and objective.slice != 60.0 and since <= old:
            found = self._from_history(self._samples, objective, since, old)
            good[: old - first + 1], total[: old - first + 1] = found
            since = old + 1
        while since <= last:
            until = min(last, since + _CHUNK - 1)
            where = slice(since - first, until - first + 1)
            good[where], total[where] = self._chunk(objective, since, until, now)
            since = until + 1
        return Stretch(first, good, total)

    def _from_history(
        self, samples: Samples, objective: Objective, first: int, last: int
    ) -> tuple[Floats, Floats]:
        def grown(selector: str) -> Floats:
            sums = np.full(last - first + 1, np.nan)
            start, end = _ms(first * SLICE), _ms((last + 1) * SLICE)
            for one in samples.aggregates(_matchers(selector), start, end):
                numbers = one.timestamps // _ms(SLICE) - 1 - first
                within = (numbers >= 0) & (numbers < len(sums))
                chosen = numbers[within]
                sums[chosen] = np.where(np.isnan(sums[chosen]), 0.0, sums[chosen]) + one.grown[within]
            return sums

        return _sliced(objective, *_good_of(objective.indicator, grown), parts=1)

    def _chunk(self, objective: Objective, first: int, last: int, now: float) -> tuple[Floats, Floats]:
        step = objective.slice or SLICE
        parts = round(SLICE / step)
        start, end = first * SLICE, min((last + 1) * SLICE, now)
        count = (last - first + 1) * parts
        indicator = objective.indicator
        if indicator.kind == "looks":
            good, total = self._looks(indicator, start, end, step, count)
        elif indicator.kind == "selectors" and self._samples is not None:
            samples = self._samples
            good, total = _good_of(indicator, lambda text: _growth(samples, text, start, end, step, count))
        else:
            good, total = _good_of(indicator, lambda text: self._asked(text, start, end, step, count))
        return _sliced(objective, good, total, parts)

    def _looks(
        self, indicator: Indicator, start: float, end: float, step: float, count: int
    ) -> tuple[Floats, Floats]:
        good, total = np.zeros(count), np.zeros(count)
        answer = self._range(indicator.total, _ms(start), _ms(end), _ms(LOOK))
        for row in range(len(answer.series)):
            times, values = answer.points(row)
            numbers = ((times - _ms(start)) // _ms(step)).astype(np.int64)
            within = numbers < count  # the last moment of a stretch is the first of the next one
            kept = _OPERATORS[indicator.op](values, indicator.limit)
            np.add.at(total, numbers[within], 1.0)
            np.add.at(good, numbers[within], kept[within].astype(np.float64))
        total[total == 0] = np.nan
        return good, total

    def _asked(self, text: str, start: float, end: float, step: float, count: int) -> Floats:
        """What PromQL counts in each stretch; in one that is not over, since it began."""
        counted = text if "$window" in text or "${window}" in text else f"sum(increase({text}[$window]))"
        sums = np.full(count, np.nan)
        whole = int((end - start) // step)
        if whole:
            window = filled(counted, window=f"{step:g}s")
            answer = self._range(window, _ms(start + step), _ms(start + whole * step), _ms(step))
            _add(sums, answer, _ms(start + step), _ms(step))
        if whole < count and (passed := int(end - start - whole * step)) >= 1:
            answer = self._range(filled(counted, window=f"{passed}s"), _ms(end), _ms(end), 1000)
            _add(sums[whole : whole + 1], answer, _ms(end), 1000)
        return sums

    def _range(self, query: str, start: int, end: int, step: int) -> Matrix:
        value = self._queries.range(query, start, end, step).value
        if not isinstance(value, Matrix):
            raise Failed("expected a number at each time", where=query)
        return value


def _add(sums: Floats, answer: Matrix, start: int, step: int) -> None:
    for row in range(len(answer.series)):
        times, values = answer.points(row)
        finite = np.isfinite(values)
        numbers = ((times[finite] - start) // step).astype(np.int64)
        sums[numbers] = np.where(np.isnan(sums[numbers]), 0.0, sums[numbers]) + values[finite]


def _good_of(indicator: Indicator, grown: Callable[[str], Floats]) -> tuple[Floats, Floats]:
    """Good and all; what has no series of bad ones (or of good ones) had none."""
    total = grown(indicator.total)
    part = np.nan_to_num(grown(indicator.good or indicator.bad))
    good = np.minimum(part, total) if indicator.good else np.maximum(0.0, total - part)
    return good, total


def _sliced(objective: Objective, good: Floats, total: Floats, parts: int) -> tuple[Floats, Floats]:
    """In Timeslices a stretch with events is one, and good or not as a whole; `parts` of them are five minutes."""
    if objective.slice is None:
        return good, total
    with np.errstate(invalid="ignore", divide="ignore"):
        counts = np.where(np.isnan(total), np.nan, (total > 0).astype(np.float64))
        well = np.where(counts > 0, (good / total >= objective.slice_target).astype(np.float64), 0.0)
    known = ~np.isnan(counts).reshape(-1, parts).all(axis=1)
    folded = np.nansum(counts.reshape(-1, parts), axis=1)
    return (
        np.where(known, well.reshape(-1, parts).sum(axis=1), np.nan),
        np.where(known, folded, np.nan),
    )


def _growth(samples: Samples, selector: str, start: float, end: float, step: float, count: int) -> Floats:
    """How much the counters grew in each stretch; NaN in one without a sample."""
    sums = np.full(count, np.nan)
    pieces: dict[LabelKey, list[tuple[Integers, Floats, bool]]] = {}
    for selection in samples.select(_matchers(selector), _ms(start - LOOKBACK), _ms(end)):
        for row, labels in enumerate(selection.series):
            times, values = selection.points(row)
            if len(times):
                key = (*key_of(selection.target), ("", ""), *key_of(labels))
                pieces.setdefault(key, []).append((times, values, _born(selection, row)))
    for found in pieces.values():
        found.sort(key=lambda piece: int(piece[0][0]))
        times = np.concatenate([piece[0] for piece in found])
        values = np.concatenate([piece[1] for piece in found])
        before = np.concatenate([[0.0 if found[0][2] else values[0]], values[:-1]])
        grown = np.where(values >= before, values - before, values)
        grown[~np.isfinite(grown)] = 0.0
        numbers = (times - _ms(start)) // _ms(step)
        within = (numbers >= 0) & (numbers < count)
        chosen = numbers[within].astype(np.int64)
        sums[chosen] = np.where(np.isnan(sums[chosen]), 0.0, sums[chosen])
        np.add.at(sums, chosen, grown[within])
    return sums


def _born(selection: Selection, row: int) -> bool:
    """Whether the target answered before without this series."""
    present = is_sample(selection.window.values[row])
    first = int(np.argmax(present))
    return bool(selection.window.scraped[:first].any())


def _matchers(selector: str) -> tuple[Matcher, ...]:
    return parse(selector).selectors[0].matchers


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
