"""What counters and histograms tell about a stretch of time. Pure.

Other than PromQL's ``increase()`` nothing is extrapolated: a canary that has answered 7 requests has answered 7,
not 7.4. And a counter that appears while its target is being scraped has grown from 0 (PromQL would lose its
first value: with Envoy, which shows a counter only once it is used, that would be the first errors of a release).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from opsbook.world.telemetry.staleness import Flags, Floats, is_sample


def increase(values: Floats, scraped: Flags) -> Floats:
    """How much each counter grew between the first and the last successful scrape.

    Args:
        values: series x samples, with markers of staleness and absence.
        scraped: per sample, whether the target answered; other columns are ignored.

    Returns:
        One number per series. A counter that falls was reset and counts from 0, and so does one that appears after
        a successful scrape without it. A counter that is there from the first column counts from its first value.
    """
    matrix = values[:, scraped]
    present = is_sample(matrix)
    matrix = _without_nan(np.where(present, matrix, 0.0), present)
    before, after = matrix[:, :-1], matrix[:, 1:]
    # An absent cell is 0 here, so "appeared" and "grew from 0" are the same subtraction; vanishing is no decrease.
    grown = np.where(after >= before, after - before, after)
    total: Floats = np.where(present[:, 1:], grown, 0.0).sum(axis=1)
    return total


def _without_nan(matrix: Floats, present: Flags) -> Floats:
    """A counter that says NaN is taken to stand still: the cell repeats the one before it."""
    broken = np.isnan(matrix) & present
    if broken.any():
        matrix = matrix.copy()
        for row, column in np.argwhere(broken):
            matrix[row, column] = matrix[row, column - 1] if column else 0.0
    return matrix


def quantile_of_buckets(quantile: float, counts: Mapping[float, float]) -> float | None:
    """The value below which a share of the observations lies, from a classic histogram.

    The rules are those of PromQL's ``histogram_quantile()``: linear inside a bucket, the first bucket begins at 0
    when its bound is positive, and what lies in the last, open bucket is given the highest finite bound.

    Args:
        quantile: 0..1.
        counts: cumulative number of observations by upper bound; must have the bound +Inf to say anything.

    Returns:
        A value in the unit of the bounds, or None when there are no observations or fewer than two buckets.
    """
    bounds = sorted(counts)
    if len(bounds) < 2 or not np.isposinf(bounds[-1]):
        return None
    # Scrapes are not atomic: a bucket may be a little behind the one below it.
    cumulative = np.maximum.accumulate(np.array([counts[bound] for bound in bounds]))
    total = float(cumulative[-1])
    if not total > 0:
        return None
    rank = quantile * total
    bucket = int(np.searchsorted(cumulative, rank, side="left"))
    if bucket >= len(bounds) - 1:
        return float(bounds[-2])
    upper = bounds[bucket]
    if bucket == 0 and upper <= 0:
        return float(upper)
    lower = bounds[bucket - 1] if bucket else 0.0
    below = float(cumulative[bucket - 1]) if bucket else 0.0
    inside = float(cumulative[bucket]) - below
    if inside <= 0:  # only for quantile 0 with empty first buckets
        return float(lower)
    return float(lower + (upper - lower) * (rank - below) / inside)
