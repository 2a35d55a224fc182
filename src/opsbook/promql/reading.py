"""Reading what selectors choose, within a query's bounds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from opsbook.errors import Failed
from opsbook.promql.expression import Select
from opsbook.promql.series import (
    ABSENT,
    Integers,
    LabelKey,
    Labels,
    Matcher,
    Selection,
    Storage,
    Window,
    key_of,
)
from opsbook.promql.vectors import Vectors, empty
from opsbook.promql.windows import Block, Ranges, blocks_of, latest


class Budget:
    """How many samples a query may hold, and until when it may take.

    Args:
        samples: at a time, counted generously: everything ever held.
        deadline: of `monotonic`.
        monotonic: a clock in seconds.
    """

    def __init__(self, samples: int, deadline: float, monotonic: Callable[[], float]) -> None:
        self._left = samples
        self._limit = samples
        self._deadline = deadline
        self._monotonic = monotonic

    def hold(self, samples: int) -> None:
        """Take account of samples.

        Raises:
            Failed: they are too many.
        """
        self._left -= samples
        if self._left < 0:
            raise Failed(
                f"query processing would load too many samples into memory: more than {self._limit}",
                hint="ask for fewer series, a shorter range or a longer step",
            )

    def check(self) -> None:
        """Whether there is time left.

        Raises:
            Failed: there is none.
        """
        if self._monotonic() > self._deadline:
            raise Failed(
                "query timed out in expression evaluation",
                hint="ask for fewer series or a shorter range",
                details={"errorType": "timeout"},
            )


class Reader:
    """The series of selectors; the same selector over the same time is read once a query."""

    def __init__(self, storage: Storage, budget: Budget) -> None:
        self._storage = storage
        self._budget = budget
        self._known: dict[tuple[tuple[Matcher, ...], int, int], tuple[Selection, ...]] = {}

    def vector(self, select: Select, ends: Integers, lookback: int) -> Vectors:
        """The last sample of each series at each of `ends`."""
        parts = []
        series: list[Labels] = []
        for selection in self._read(select, int(ends.min()) - lookback + 1, int(ends.max())):
            parts.append(latest(selection, ends, lookback))
            series += selection.series
        if not parts:
            return empty(ends.size)
        if len(parts) == 1:
            values, present, times, natives = parts[0]
        else:
            values, present, times = (np.concatenate([part[index] for part in parts]) for index in range(3))
            natives = None
            if any(part[3] is not None for part in parts):
                natives = np.concatenate(
                    [np.full(part[0].shape, None) if part[3] is None else part[3] for part in parts]
                )
        self._budget.hold(values.size)
        if natives is not None and not natives.astype(np.bool_).any():
            natives = None
        marks = np.zeros(len(series), np.bool_)
        return Vectors(series, values, present, marks, times, natives).inhabited()

    def ranges(self, select: Select, ends: Integers) -> Ranges:
        """The samples of each series before each of `ends`, as far back as the selector's range."""
        assert select.range is not None
        starts = ends - select.range
        series: list[Labels] = []
        blocks: list[Block] = []
        for selection in self._read(select, int(starts.min()) + 1, int(ends.max())):
            blocks += blocks_of(selection, len(series))
            series += selection.series
        return Ranges(series, np.zeros(len(series), np.bool_), blocks, starts, ends, select.range)

    def _read(self, select: Select, start: int, end: int) -> tuple[Selection, ...]:
        key = (select.matchers, start, end)
        found = self._known.get(key)
        if found is None:
            self._budget.check()
            found = self._storage.select(select.matchers, start, end)
            if len({id(selection.target) for selection in found}) < len(found):
                found = united(found)
            self._budget.hold(sum(selection.window.values.size for selection in found))
            self._known[key] = found
        return found


def united(selections: tuple[Selection, ...]) -> tuple[Selection, ...]:
    """The selections of a target made one, so that each series is in one of them only."""
    of_target: dict[LabelKey, list[Selection]] = {}
    for selection in selections:
        of_target.setdefault(key_of(selection.target), []).append(selection)
    return tuple(_join(parts) if len(parts) > 1 else parts[0] for parts in of_target.values())


def _join(parts: list[Selection]) -> Selection:
    timestamps = np.unique(np.concatenate([part.window.timestamps for part in parts]))
    rows: dict[LabelKey, int] = {}
    series: list[Labels] = []
    numbers = []
    for part in parts:
        own = []
        for labels in part.series:
            row = rows.setdefault(key_of(labels), len(series))
            if row == len(series):
                series.append(labels)
            own.append(row)
        numbers.append(np.array(own, np.intp))
    values = np.full((len(series), timestamps.size), ABSENT).view(np.float64)
    scraped = np.zeros(timestamps.size, np.bool_)
    for part, own_rows in zip(parts, numbers, strict=True):
        columns = np.searchsorted(timestamps, part.window.timestamps)
        cells = np.ix_(own_rows, columns)
        there = part.window.values.view(np.int64) != ABSENT
        bits = values.view(np.int64)
        bits[cells] = np.where(there, part.window.values.view(np.int64), bits[cells])
        scraped[columns] |= part.window.scraped
    return Selection(parts[0].target, tuple(series), Window(timestamps, values, scraped))
