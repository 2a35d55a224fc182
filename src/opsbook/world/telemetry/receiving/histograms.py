"""OpenTelemetry's histograms as Prometheus' classic buckets. Pure.

An exponential histogram has bounds ``base ** index`` with ``base = 2 ** 2 ** -scale``. Its scale changes while it
runs, so its finer buckets are merged into those of `SCALE`, which is exact; a coarser one keeps its own bounds, which
are among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

SCALE: Final = 1  # neighbouring bounds are a factor of the square root of 2 apart
MOST_BUCKETS: Final = 400
_FURTHEST: Final = 1022  # powers of two that a float can hold


def bucket_counts(bounds: Sequence[float], counts: Sequence[int]) -> dict[float, float]:
    """Explicit buckets by their upper bound; what lies beyond all bounds under infinity.

    Raises:
        ValueError: they do not belong together.
    """
    if len(counts) != len(bounds) + 1 or any(a >= b for a, b in pairwise(bounds)):
        raise ValueError("its buckets and bounds do not belong together")
    return dict(zip((*bounds, float("inf")), map(float, counts), strict=True))


def exponential_counts(point: Any) -> dict[float, float]:
    """Exponential buckets by their upper bound.

    Raises:
        ValueError: they are beyond what can be told.
    """
    down = max(0, point.scale - SCALE)
    scale = point.scale - down
    found: dict[float, float] = {}
    for index, count in _buckets(point.negative, down):
        _add(found, -_bound(index, scale), count)
    if point.zero_count:
        _add(found, point.zero_threshold, float(point.zero_count))
    for index, count in _buckets(point.positive, down):
        _add(found, _bound(index + 1, scale), count)
    if len(found) > MOST_BUCKETS:
        raise ValueError(f"it has more than {MOST_BUCKETS} buckets")
    found[float("inf")] = 0.0
    return found


def _buckets(buckets: Any, down: int) -> list[tuple[int, float]]:
    offset = buckets.offset
    return [
        ((offset + place) >> down, float(count)) for place, count in enumerate(buckets.bucket_counts) if count
    ]


def _bound(index: int, scale: int) -> float:
    power = index * 2.0**-scale
    if abs(power) > _FURTHEST:
        raise ValueError("its buckets are beyond all numbers")
    return float(2.0**power)


def _add(found: dict[float, float], bound: float, count: float) -> None:
    found[bound] = found.get(bound, 0.0) + count


def cumulative(counts: Mapping[float, float]) -> list[tuple[str, float]]:
    """Counts by bound as Prometheus tells them: up to each bound all that is below, in order."""
    bounds = sorted(counts)
    return list(zip(map(bound_text, bounds), accumulate(counts[bound] for bound in bounds), strict=True))


def bound_text(bound: float) -> str:
    """The value of `le` or `quantile`, as Prometheus' clients write it."""
    if bound == float("inf"):
        return "+Inf"
    return repr(bound)
