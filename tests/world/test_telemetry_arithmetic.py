"""Counters and histograms: exact where PromQL estimates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.world.telemetry.arithmetic import increase, quantile_of_buckets
from opsbook.world.telemetry.staleness import ABSENT, STALE, is_sample, is_stale

MARKS = {"absent": ABSENT, "stale": STALE}


def row(*cells: float | str) -> np.ndarray:
    values = np.zeros((1, len(cells)))
    for column, cell in enumerate(cells):
        if isinstance(cell, str):
            values.view(np.int64)[0, column] = MARKS[cell]
        else:
            values[0, column] = cell
    return values


def grown(*cells: float | str, scraped: str | None = None) -> float:
    flags = np.array([flag == "1" for flag in scraped or "1" * len(cells)])
    return float(increase(row(*cells), flags)[0])


@pytest.mark.parametrize(
    ("cells", "scraped", "expected"),
    [
        ((3, 5, 9), None, 6),
        ((3, 9, 2, 4), None, 10),  # reset: 6, then 2 since the restart, then 2
        (("absent", 7, 9), None, 9),  # appeared while it was watched
        ((3, "stale", 7), "101", 4),  # the scrape between failed: nothing ended
        ((3, "stale", 7), None, 7),  # it was gone, and is a new one
        ((3, "stale", "absent"), None, 0),
        (("absent", "absent"), None, 0),
        ((5,), None, 0),
        ((5, math.nan, 8), None, 3),
        ((math.nan, 8), None, 8),
    ],
)
def test_increase(cells: tuple[float | str, ...], scraped: str | None, expected: float) -> None:
    """Resets, appearance, disappearance, failed scrapes and NaN are each counted as what they are."""
    assert expected == grown(*cells, scraped=scraped)


@given(st.lists(st.one_of(st.integers(0, 1000), st.just("restart")), max_size=40), st.integers(0, 10**6))
def test_no_event_is_lost_or_invented(story: list[int | str], start: int) -> None:
    """Whatever happens between scrapes, the increase is what happened, as restarts are seen right after them."""
    counter, cells, happened = start, [float(start)], 0
    for step in story:
        if step == "restart":
            counter = 0
        else:
            counter += int(step)
            happened += int(step)
        cells.append(float(counter))
    assert happened == grown(*cells)


@given(
    st.dictionaries(st.integers(1, 10_000), st.integers(0, 1000), min_size=1),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_quantiles_are_ordered_and_within(sizes: dict[int, int], first: float, second: float) -> None:
    """A quantile lies within the buckets, and a higher one is not lower."""
    counts, total = dict[float, float](), 0
    for bound in sorted(sizes):
        total += sizes[bound]
        counts[float(bound)] = total
    counts[math.inf] = total
    low, high = (quantile_of_buckets(q, counts) for q in sorted((first, second)))
    if total == 0:
        assert (None, None) == (low, high)
    else:
        assert low is not None
        assert high is not None
        assert 0 <= low <= high + 1e-9 <= max(sizes) + 1e-6


def test_quantile_is_that_of_prometheus() -> None:
    """The worked values are those of PromQL's histogram_quantile."""
    counts = {10.0: 50.0, 100.0: 90.0, 1000.0: 100.0, math.inf: 100.0}
    assert 10.0 == quantile_of_buckets(0.5, counts)
    assert 550.0 == pytest.approx(quantile_of_buckets(0.95, counts))
    assert 1000.0 == quantile_of_buckets(0.99, {**counts, math.inf: 200.0})


@pytest.mark.parametrize("counts", [{}, {math.inf: 5.0}, {1.0: 5.0}, {1.0: 0.0, math.inf: 0.0}])
def test_quantile_without_data(counts: dict[float, float]) -> None:
    """No observations, no bound, or no open bucket: there is no quantile."""
    assert quantile_of_buckets(0.5, counts) is None


def test_quantile_repairs_what_a_torn_scrape_left() -> None:
    """A bucket that lags behind the one below does not make the quantile fall."""
    torn = {1.0: 10.0, 2.0: 9.0, 4.0: 20.0, math.inf: 20.0}
    value = quantile_of_buckets(0.75, torn)
    assert value is not None
    assert 2.0 <= value <= 4.0


def test_markers_survive_numpy() -> None:
    """Stale and absent keep their bits through copies, slices, fancy indexing and concatenation."""
    values = row(1.0, "stale", "absent", math.nan)
    for moved in (
        values.copy(),
        values[:, ::-1][:, ::-1],
        values[[0]][:, [0, 1, 2, 3]],
        np.concatenate([values[:, :2], values[:, 2:]], axis=1),
        np.where(np.array([[True] * 4]), values, 0.0),
    ):
        assert [[False, True, False, False]] == is_stale(moved).tolist()
        assert [[True, False, False, True]] == is_sample(moved).tolist()
