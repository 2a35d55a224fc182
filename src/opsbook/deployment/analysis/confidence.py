"""Between what the difference of two error rates lies, at every look at once: what the chart shows."""

from __future__ import annotations

import numpy as np

from opsbook.deployment.analysis.betting import Array

_STEEPNESS = np.geomspace(0.02, 12.0, 16)
_HALVINGS = 40


def difference_bounds(
    canary: tuple[Array, Array], stable: tuple[Array, Array], alpha: float
) -> tuple[Array, Array]:
    """Lower and upper bound of canary minus stable, right at all looks together with probability 1 - `alpha`.

    A release is its errors and requests. Each rate gets its own two bounds, a quarter of `alpha` each. Under drift
    they hold for the average so far.
    """
    part = alpha / 4
    lower = _lowest(*canary, part) - _highest(*stable, part)
    upper = _highest(*canary, part) - _lowest(*stable, part)
    return lower, upper


def _highest(errors: Array, requests: Array, alpha: float) -> Array:
    return 1 - _lowest(requests - errors, requests, alpha)


def _lowest(errors: Array, requests: Array, alpha: float) -> Array:
    """The smallest average rate m that has not been disproved at `alpha`.

    For each steepness s, exp(s errors - requests log(1 - m + m e^s)) is at most a supermartingale when the average
    rate so far is m (rates that vary only make it smaller, as the logarithm is concave). Their mean falls in m, so
    the bound is found by halving.
    """
    errors, requests = np.asarray(errors, dtype=np.float64), np.asarray(requests, dtype=np.float64)
    limit = np.log(len(_STEEPNESS) / alpha)
    low = np.zeros_like(errors)
    high = np.divide(errors, requests, out=np.zeros_like(errors), where=requests > 0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        grown = _STEEPNESS * errors[..., None] - requests[..., None] * np.log1p(
            middle[..., None] * np.expm1(_STEEPNESS)
        )
        highest = grown.max(axis=-1)
        disproved = highest + np.log(np.exp(grown - highest[..., None]).sum(axis=-1)) >= limit
        low, high = np.where(disproved, middle, low), np.where(disproved, high, middle)
    return low
