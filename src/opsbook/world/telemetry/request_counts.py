"""How many requests a release answered, how many of them were errors, and in which time: what a canary is judged by.

The numbers are those of the named metrics, from the same growths of the same counters, but whole and by bucket.
"""

from __future__ import annotations

import math

from opsbook.world.telemetry.named import REQUESTS, TIMES, is_error
from opsbook.world.telemetry.stretch import Stretch
from opsbook.world.words import RequestCounts


def request_counts(stretch: Stretch) -> RequestCounts | None:
    """The counts of what the stretch's matchers choose; None when the proxy counted nothing of it at all.

    A histogram without the bucket ``+Inf`` is none: `latency` and `bounds_ms` are empty then.
    """
    growths = stretch.growths(REQUESTS)
    if not growths:
        return None
    latency, bounds = _buckets(stretch)
    return RequestCounts(
        requests=round(sum(growth.total for growth in growths)),
        errors=round(sum(growth.total for growth in growths if is_error(growth))),
        latency=latency,
        bounds_ms=bounds,
    )


def _buckets(stretch: Stretch) -> tuple[tuple[int, ...], tuple[float, ...]]:
    cumulative: dict[float, float] = {}
    for growth in stretch.growths(TIMES):
        if "le" in growth.labels:
            bound = float(growth.labels["le"])
            cumulative[bound] = cumulative.get(bound, 0.0) + growth.total
    bounds = sorted(cumulative)
    if len(bounds) < 2 or not math.isinf(bounds[-1]):
        return (), ()
    counts, below = [], 0
    for bound in bounds:
        upto = max(below, round(cumulative[bound]))
        counts.append(upto - below)
        below = upto
    return tuple(counts), tuple(bounds[:-1])
