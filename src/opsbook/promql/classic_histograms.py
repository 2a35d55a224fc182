"""Quantiles and fractions of classic histograms: series with a bucket's upper bound in the label ``le``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from opsbook.promql.annotations import Annotations
from opsbook.promql.series import NAME, Flags, Floats, Integers, Labels
from opsbook.promql.vectors import Vectors, shown

LE = "le"
_SMALL = 1e-12  # relative decrease from a bucket to the next that is a rounding error


@dataclass(slots=True)
class Histogram:
    """The buckets of one histogram: cumulative counts are buckets x steps, bounds ascend."""

    labels: Labels
    nameless: bool
    rows: Integers
    bounds: Floats
    counts: Floats
    present: Flags


def histograms(vectors: Vectors, notes: Annotations) -> list[Histogram]:
    """The histograms that the series are buckets of; says which are none."""
    found: dict[frozenset[tuple[str, str]], list[tuple[float, int]]] = {}
    floats = vectors.floats()
    for row, labels in enumerate(vectors.series):
        if not floats[row].any():
            continue
        bound = _bound(labels)
        if bound is None:
            notes.warn(
                f'bucket label "le" is missing or has a malformed value of "{labels.get(LE, "")}"'
                f' for metric name "{labels.get(NAME, "")}"'
            )
            continue
        key = frozenset([item for item in labels.items() if item[0] != LE])
        found.setdefault(key, []).append((bound, row))
    return [_histogram(vectors, floats, members) for members in found.values()]


def _bound(labels: Labels) -> float | None:
    text = labels.get(LE, "")
    try:
        bound = float(text)
    except ValueError:
        return None
    return None if "_" in text or np.isnan(bound) else bound


def _histogram(vectors: Vectors, floats: Flags, members: list[tuple[float, int]]) -> Histogram:
    members.sort()
    rows = np.array([row for _, row in members])
    labels = {label: value for label, value in vectors.series[rows[0]].items() if label != LE}
    nameless = bool(vectors.nameless[rows].any())
    bounds = np.array([bound for bound, _ in members])
    present = floats[rows]
    counts = np.where(present, vectors.values[rows], 0.0)
    if (np.diff(bounds) == 0).any():  # several spellings of a bound are one bucket
        starts = np.flatnonzero(np.diff(bounds, prepend=np.nan) != 0)
        bounds = bounds[starts]
        counts = np.add.reduceat(counts, starts, axis=0)
        present = np.logical_or.reduceat(present, starts, axis=0)
    return Histogram(labels, nameless, rows, bounds, counts, present)


def quantiles(histogram: Histogram, quantile: Floats, notes: Annotations) -> Floats:
    """The quantile at each step."""
    return _each(
        histogram,
        quantile,
        lambda bounds, counts, wanted: _quantile(bounds, counts, wanted, histogram, notes),
    )


def fractions(histogram: Histogram, lower: Floats, upper: Floats) -> Floats:
    """The share of observations between two values at each step."""

    def compute(bounds: Floats, counts: Floats, steps: Floats) -> Floats:
        chosen = steps.astype(np.int64)
        return _fraction(bounds, counts, lower[chosen], upper[chosen])

    return _each(histogram, np.arange(lower.size, dtype=np.float64), compute)


def _each(
    histogram: Histogram, argument: Floats, compute: Callable[[Floats, Floats, Floats], Floats]
) -> Floats:
    """`compute` for the steps that have the same buckets, together."""
    if histogram.present.all():
        return compute(histogram.bounds, histogram.counts, argument)
    result = np.full(argument.shape, np.nan)
    patterns, of_step = np.unique(histogram.present, axis=1, return_inverse=True)
    for number in range(patterns.shape[1]):
        steps = np.flatnonzero(of_step.ravel() == number)
        there = np.flatnonzero(patterns[:, number])
        if there.size:
            result[steps] = compute(
                histogram.bounds[there], histogram.counts[np.ix_(there, steps)], argument[steps]
            )
    return result


def _quantile(
    bounds: Floats, counts: Floats, quantile: Floats, histogram: Histogram, notes: Annotations
) -> Floats:
    """Linear within a bucket; the first begins at 0 if it ends above, the last has no width."""
    result = np.full(quantile.shape, np.nan)
    if bounds.size >= 2 and np.isposinf(bounds[-1]):
        counts = _monotonic(counts, histogram, notes)
        total = counts[-1]
        rank = quantile * total
        bucket = (counts[:-1] < rank).sum(axis=0)
        steps = np.arange(quantile.size)
        inside = np.minimum(bucket, bounds.size - 2)
        upper = bounds[inside]
        lower = np.where(inside > 0, bounds[np.maximum(inside - 1, 0)], 0.0)
        below = np.where(inside > 0, counts[np.maximum(inside - 1, 0), steps], 0.0)
        share = (rank - below) / (counts[inside, steps] - below)
        result = lower + (upper - lower) * share
        result = np.where((bucket == 0) & (bounds[0] <= 0), bounds[0], result)
        result = np.where(bucket >= bounds.size - 1, bounds[-2], result)
        result = np.where((total > 0) | np.isnan(total), result, np.nan)
    result = np.where(quantile < 0, -np.inf, np.where(quantile > 1, np.inf, result))
    return np.where(np.isnan(quantile), np.nan, result)


def _monotonic(counts: Floats, histogram: Histogram, notes: Annotations) -> Floats:
    """Counts that never fall from a bucket to the next: scrapes and rates are not atomic."""
    fallen = counts[1:] < counts[:-1]
    if not fallen.any():
        return counts
    highest = np.maximum.accumulate(counts, axis=0)
    if ((highest - counts) > _SMALL * (highest + np.abs(counts))).any():
        name = histogram.labels.get(NAME, "")
        notes.info(
            "input to histogram_quantile needed to be fixed for monotonicity (see "
            "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
            f' for metric name "{name}" {shown(histogram.labels)}'
        )
    return highest


def _fraction(bounds: Floats, counts: Floats, lower: Floats, upper: Floats) -> Floats:
    total = counts[-1]
    below = _rank(bounds, counts, lower)
    until = _rank(bounds, counts, upper)
    known = np.isposinf(bounds[-1]) & (total > 0) & ~np.isnan(lower) & ~np.isnan(upper)
    result = np.where(lower >= upper, 0.0, (until - below) / total)
    return np.where(known, result, np.nan)


def _rank(bounds: Floats, counts: Floats, value: Floats) -> Floats:
    """How many observations lie below `value`."""
    steps = np.arange(value.size)
    bucket = np.searchsorted(bounds, value, "left")  # the first bucket whose bound is not less
    bucket = np.minimum(bucket, bounds.size - 1)
    upper = bounds[bucket]
    lower = np.where(bucket > 0, bounds[np.maximum(bucket - 1, 0)], np.where(bounds[0] > 0, 0.0, -np.inf))
    at_upper = counts[bucket, steps]
    at_lower = np.where(bucket > 0, counts[np.maximum(bucket - 1, 0), steps], 0.0)
    share = np.clip((value - lower) / (upper - lower), 0.0, 1.0)
    inside = at_lower + (at_upper - at_lower) * share
    # A bucket without an end has no width that could be divided: all lies at its finite end.
    inside = np.where(np.isposinf(upper) & ~np.isposinf(value), at_lower, inside)
    inside = np.where(np.isneginf(lower) & (value < upper), at_upper, inside)
    inside = np.where(np.isposinf(value), counts[-1], inside)
    inside = np.where(np.isneginf(value), 0.0, inside)
    return np.where(
        value >= upper, np.where(np.isposinf(upper) & ~np.isposinf(value), at_lower, at_upper), inside
    )
