"""The vectorised engine beside an evaluator that goes sample by sample, over data that hypothesis makes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import Memory

from opsbook.promql import Engine, Matrix, Vector
from opsbook.promql.series import ABSENT, STALE, is_sample

Points = list[tuple[int, float]]  # milliseconds


def extrapolated(points: Points, start: int, end: int, *, counter: bool, rate: bool) -> float | None:
    """As Prometheus 3 defines rate, increase and delta."""
    if len(points) < 2:
        return None
    change = points[-1][1] - points[0][1]
    if counter:
        change += sum(a for (_, a), (_, b) in pairwise(points) if b < a)
    covered = (points[-1][0] - points[0][0]) / 1000
    before, after = (points[0][0] - start) / 1000, (end - points[-1][0]) / 1000
    between = covered / (len(points) - 1)
    before = between / 2 if before >= between * 1.1 else before
    if counter and change > 0 and points[0][1] >= 0:
        before = min(before, covered * (points[0][1] / change))
    after = between / 2 if after >= between * 1.1 else after
    change *= (covered + before + after) / covered
    return change / ((end - start) / 1000) if rate else change


def quantile(fraction: float) -> Callable[[list[float]], float]:
    def of(values: list[float]) -> float:
        ordered = sorted(values)
        rank = fraction * (len(ordered) - 1)
        low, high = math.floor(rank), min(math.floor(rank) + 1, len(ordered) - 1)
        return ordered[low] * (1 - (rank - low)) + ordered[high] * (rank - low)

    return of


OVER_TIME: dict[str, Callable[[list[float]], float]] = {
    "sum_over_time": math.fsum,
    "avg_over_time": lambda values: math.fsum(values) / len(values),
    "min_over_time": min,
    "max_over_time": max,
    "count_over_time": len,
    "last_over_time": lambda values: values[-1],
    "present_over_time": lambda _: 1.0,
    "stddev_over_time": statistics.pstdev,
    "changes": lambda values: sum(a != b for a, b in pairwise(values)),
    "resets": lambda values: sum(b < a for a, b in pairwise(values)),
    "quantile_over_time(0.7, ": quantile(0.7),
}


def naive(name: str, points: Points, at: int, span: int) -> float | None:
    inside = [(when, value) for when, value in points if at - span < when <= at]
    if name in OVER_TIME:
        return float(OVER_TIME[name]([value for _, value in inside])) if inside else None
    if name in ("rate", "increase"):
        return extrapolated(inside, at - span, at, counter=True, rate=name == "rate")
    if name == "delta":
        return extrapolated(inside, at - span, at, counter=False, rate=False)
    if len(inside) < 2:
        return None
    (before, a), (after, b) = inside[-2:]
    if name == "idelta":
        return b - a
    return (b if b < a else b - a) / ((after - before) / 1000)  # irate


Series = list[tuple[int, float | int]]
"""Seconds to the next sample, and its value; or a marker's bits."""

cells = st.one_of(
    st.integers(0, 1000).map(float),
    st.floats(0, 1e6, allow_nan=False),
    st.sampled_from([ABSENT, ABSENT, STALE]),
)
series = st.lists(st.tuples(st.integers(1, 90), cells), min_size=1, max_size=40)
NAMES = (*OVER_TIME, "rate", "increase", "delta", "irate", "idelta")


def stored(rows: list[Series]) -> tuple[Memory, list[Points], list[list[int]]]:
    """All series of one target at its times; each series' samples and the times at which it ended."""
    gaps = [gap for gap, _ in max(rows, key=len)]
    times = (np.cumsum(gaps) * 1000).astype(np.int64)
    values = np.full((len(rows), times.size), ABSENT)
    points: list[Points] = [[] for _ in rows]
    ends: list[list[int]] = [[] for _ in rows]
    for index, row in enumerate(rows):
        for column, (_, cell) in enumerate(row):
            if isinstance(cell, float):
                values[index, column] = np.array([cell]).view(np.int64)[0]
                points[index].append((int(times[column]), cell))
            else:
                values[index, column] = cell
                if cell == STALE:
                    ends[index].append(int(times[column]))
    memory = Memory()
    labels = [{"__name__": "m", "row": str(index)} for index in range(len(rows))]
    memory.targets.append((times, labels, values.view(np.float64)))
    return memory, points, ends


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(series, min_size=1, max_size=3),
    name=st.sampled_from(NAMES),
    span=st.integers(1, 400),
    start=st.integers(-100, 1000),
    step=st.integers(1, 300),
)
def test_windows(rows: list[Series], name: str, span: int, start: int, step: int) -> None:
    """Every function over ranges is, at every step, what a loop over the samples in its window gives."""
    memory, points, _ = stored(rows)
    call = name if name.endswith(" ") else f"{name}("
    value = (
        Engine(memory)
        .range(f"{call}m[{span}s])", start * 1000, (start + 12 * step) * 1000, step * 1000)
        .value
    )
    assert isinstance(value, Matrix)
    found = {
        labels["row"]: {
            int(at): float(number)
            for at, number, there in zip(value.timestamps, cells, is_sample(cells), strict=True)
            if there
        }
        for labels, cells in zip(value.series, value.values, strict=True)
    }
    for index, samples in enumerate(points):
        expected = {
            at * 1000: number
            for at in range(start, start + 12 * step + 1, step)
            if (number := naive(name, samples, at * 1000, span * 1000)) is not None
        }
        got = found.get(str(index), {})
        assert expected.keys() == got.keys()
        scale = max((abs(value) for _, value in samples), default=0.0)
        assert expected == pytest.approx(got, rel=1e-9, abs=1e-9 * scale)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(series, min_size=1, max_size=3), at=st.integers(-10, 4000))
def test_the_present_value(rows: list[Series], at: int) -> None:
    """A selector gives the newest sample of the last five minutes, unless the series is said to have ended since."""
    memory, points, ends = stored(rows)
    value = Engine(memory).instant("m", at * 1000).value
    assert isinstance(value, Vector)
    got = {labels["row"]: float(number) for labels, number in zip(value.series, value.values, strict=True)}
    expected = {}
    for index, samples in enumerate(points):
        last = max((when for when, _ in samples if at * 1000 - 300_000 < when <= at * 1000), default=None)
        if last is not None and not any(last < end <= at * 1000 for end in ends[index]):
            expected[str(index)] = dict(samples)[last]
    assert expected == got


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.tuples(st.sampled_from("xyz"), st.floats(-1e6, 1e6)), min_size=1, max_size=12),
    name=st.sampled_from(["sum", "avg", "min", "max", "count", "stddev", "quantile(0.3, "]),
)
def test_aggregations(values: list[tuple[str, float]], name: str) -> None:
    """Groups are what a dictionary of lists gives."""
    memory, groups = Memory(), dict[str, list[float]]()
    for number, (group, value) in enumerate(values):
        memory.add([10], {"m": [value]}, group=group, number=str(number))
        groups.setdefault(group, []).append(value)
    of: dict[str, Callable[[list[float]], float]] = {
        "sum": math.fsum,
        "avg": lambda each: math.fsum(each) / len(each),
        "min": min,
        "max": max,
        "count": len,
        "stddev": statistics.pstdev,
        "quantile(0.3, ": quantile(0.3),
    }
    word, _, rest = name.partition("(")
    answer = Engine(memory).instant(f"{word} by (group) ({rest}m)", 10_000).value
    assert isinstance(answer, Vector)
    got = {
        labels["group"]: float(number) for labels, number in zip(answer.series, answer.values, strict=True)
    }
    assert {group: of[name](each) for group, each in groups.items()} == pytest.approx(got, rel=1e-9, abs=1e-6)
