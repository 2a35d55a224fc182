"""What functions make of native histograms; rules are Prometheus'."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from opsbook.promql.annotations import Annotations
from opsbook.promql.native import Histogram
from opsbook.promql.series import NAME, Flags, Floats, Labels
from opsbook.promql.vectors import Vectors


def simple(name: str, vectors: Vectors) -> Vectors:
    """``histogram_count`` and its kin: a number of each native histogram; what is a number already is left out."""
    assert vectors.natives is not None
    values = np.full(vectors.values.shape, np.nan)
    present = np.zeros(values.shape, np.bool_)
    for row, step, histogram in cells(vectors):
        values[row, step] = _SIMPLE[name](histogram)
        present[row, step] = True
    return vectors.having(values, present=present).inhabited()


def cells(vectors: Vectors) -> Iterator[tuple[int, int, Histogram]]:
    """Row, step and histogram of every sample that is one."""
    if vectors.natives is None:
        return
    for row, step in np.argwhere(vectors.natives.astype(np.bool_) & vectors.present).tolist():
        yield row, step, vectors.natives[row, step]


def without_mixed(vectors: Vectors, notes: Annotations) -> Vectors:
    """Without the steps at which a histogram is there both as classic buckets and as a native one."""
    keys: dict[object, list[int]] = {}
    for row, labels in enumerate(vectors.series):
        keys.setdefault(frozenset(item for item in labels.items() if item[0] != "le"), []).append(row)
    floats = vectors.floats()
    natives = vectors.present & ~floats
    present = vectors.present.copy()
    for rows in keys.values():
        both = floats[rows].any(axis=0) & natives[rows].any(axis=0)
        if both.any():
            name = vectors.series[rows[0]].get(NAME, "")
            notes.warn(f'vector contains a mix of classic and native histograms for metric name "{name}"')
            present[np.ix_(np.array(rows), np.flatnonzero(both))] = False
    return Vectors(vectors.series, vectors.values, present, vectors.nameless, None, vectors.natives)


def answers(
    vectors: Vectors, what: str, wanted: Sequence[tuple[Floats, str | None, str]]
) -> Iterator[tuple[Labels, Floats, Flags]]:
    """Quantiles (one for each of `wanted`) or fractions (between the two of `wanted`) of native histograms.

    Args:
        vectors: with them.
        what: ``quantile`` or ``fraction``.
        wanted: numbers by step, and for quantiles the label that says which (or None) with its value.
    """
    steps_of: dict[int, list[tuple[int, Histogram]]] = {}
    for row, step, histogram in cells(vectors):
        steps_of.setdefault(row, []).append((step, histogram))
    for row, found in steps_of.items():
        labels = vectors.series[row]
        present = np.zeros(vectors.values.shape[1], np.bool_)
        present[[step for step, _ in found]] = True
        if what == "fraction":
            values = np.full(present.size, np.nan)
            for step, histogram in found:
                values[step] = fraction(histogram, wanted[0][0][step], wanted[1][0][step])
            yield labels, values, present
            continue
        for quantiles, label, text in wanted:
            values = np.full(present.size, np.nan)
            for step, histogram in found:
                values[step] = quantile(histogram, quantiles[step])
            yield ({**labels, label: text} if label is not None else labels), values, present


def quantile(histogram: Histogram, wanted: float) -> float:
    """The value below which a share of the observations lies."""
    if wanted < 0:
        return -math.inf
    if wanted > 1:
        return math.inf
    spans = list(histogram.spans())
    if histogram.count == 0 or math.isnan(wanted) or not spans:
        return math.nan
    upwards = math.isnan(histogram.sum) or wanted < 0.5
    rank = (wanted if upwards else 1 - wanted) * histogram.count
    count = lower = upper = inside = 0.0
    for lower, upper, inside in spans if upwards else reversed(spans):  # noqa: B007
        count += inside
        if count >= rank:
            break
    if histogram.custom:
        if math.isinf(lower):
            return upper
        if math.isinf(upper):
            return lower
    elif lower < 0 < upper:
        lower, upper = (0.0 if not histogram.negative else lower), (0.0 if not histogram.buckets else upper)
    count = min(count, histogram.count)
    if count < rank:
        return upper if upwards else lower
    share = (rank - (count - inside) if upwards else count - rank) / inside
    return _between(histogram, lower, upper, share)


def _between(histogram: Histogram, lower: float, upper: float, share: float) -> float:
    if histogram.custom or lower <= 0 <= upper:
        return lower + (upper - lower) * share
    low, high = math.log2(abs(lower)), math.log2(abs(upper))
    if lower > 0:
        return float(2 ** (low + (high - low) * share))
    return -float(2 ** (high + (low - high) * (1 - share)))


def fraction(histogram: Histogram, lower: float, upper: float) -> float:
    """The share of observations between two values."""
    if histogram.count == 0 or math.isnan(lower) or math.isnan(upper):
        return math.nan
    if lower >= upper:
        return 0.0
    return (_below(histogram, upper) - _below(histogram, lower)) / histogram.count


def _below(histogram: Histogram, value: float) -> float:
    if math.isinf(value):
        return histogram.count if value > 0 else 0.0
    total = 0.0
    for lower, upper, count in histogram.spans():
        if lower <= 0 <= upper and not histogram.custom:
            lower = 0.0 if not histogram.negative else lower  # noqa: PLW2901
            upper = 0.0 if not histogram.buckets and histogram.negative else upper  # noqa: PLW2901
        if math.isinf(lower) or value >= upper:  # without a width: all lies at its finite end
            total += count
        elif value > lower and not math.isinf(upper):
            total += count * _share(histogram, lower, upper, value)
    return total


def _share(histogram: Histogram, lower: float, upper: float, value: float) -> float:
    if histogram.custom or lower <= 0 <= upper:
        return (value - lower) / (upper - lower)
    low, high, at = (math.log2(abs(bound)) for bound in (lower, upper, value))
    return (at - low) / (high - low)


def _variance(histogram: Histogram) -> float:
    if not histogram.count:
        return math.nan
    mean = histogram.sum / histogram.count
    total = 0.0
    for lower, upper, count in histogram.spans():
        if histogram.custom:
            middle = (upper + lower) / 2
        elif lower <= 0 <= upper:
            middle = 0.0
        else:
            middle = math.copysign(math.sqrt(upper * lower), upper)
        total += count * (middle - mean) ** 2
    return total / histogram.count


_SIMPLE: dict[str, Callable[[Histogram], float]] = {
    "histogram_count": lambda histogram: histogram.count,
    "histogram_sum": lambda histogram: histogram.sum,
    "histogram_avg": lambda histogram: histogram.sum / histogram.count if histogram.count else math.nan,
    "histogram_stdvar": _variance,
    "histogram_stddev": lambda histogram: math.sqrt(_variance(histogram)),
}
