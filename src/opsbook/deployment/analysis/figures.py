"""Small figures over counts, and how they are written in a reason."""

from __future__ import annotations

from collections.abc import Sequence


def share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def quantile(buckets: Sequence[float], bounds_ms: Sequence[float], at: float) -> float:
    """The response time in seconds below which a share `at` of the requests lies, linear within a bucket.

    In the bucket without an end it is that bucket's beginning.
    """
    wanted, below, floor = at * sum(buckets), 0.0, 0.0
    for count, bound in zip(buckets, bounds_ms, strict=False):
        if count > 0 and below + count >= wanted:
            return (floor + (bound - floor) * max(0.0, wanted - below) / count) / 1000
        below, floor = below + count, bound
    return floor / 1000


def slower(buckets: Sequence[float], bounds_ms: Sequence[float], seconds: float) -> float:
    """How many requests took longer than `seconds`, linear within a bucket; of the one without an end none."""
    within, floor = 0.0, 0.0
    for count, bound in zip(buckets, bounds_ms, strict=False):
        if seconds * 1000 < bound:
            within += count * max(0.0, seconds * 1000 - floor) / (bound - floor)
            return sum(buckets) - within
        within, floor = within + count, bound
    return 0.0


def percent(ratio: float) -> str:
    value = 100 * ratio
    return f"{value:.1f} %" if value >= 1 or value == 0 else f"{value:.2g} %"


def duration(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def odds(to_one: float) -> str:
    if to_one >= 1e6:
        return "over 1,000,000:1"
    return f"{to_one:,.0f}:1" if to_one >= 10 else f"{to_one:.2g}:1"


def measured(metric: str, value: float) -> str:
    """A metric's value in its own unit."""
    if metric in {"error_rate", "availability", "cpu_usage", "memory_usage"}:
        return percent(value)
    return duration(value) if metric.startswith("response_time_") else f"{value:,.6g}"
