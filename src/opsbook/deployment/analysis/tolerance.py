"""Whether a difference is one that anybody minds, by more than the few requests it was seen in can feign.

No test, for the evidence against equality is already there: this keeps a canary that is a little worse, within what is
tolerated, from being taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from opsbook.deployment.analysis import figures
from opsbook.deployment.analysis.model import Settings

_CREDIBLE = 1.0  # log-likelihood ratio of the share that was seen against the tolerated one


def errors_matter(canary: Sequence[float], stable: Sequence[float], settings: Settings) -> bool:
    """Of counts (well, failed): is the canary's error rate above stable's by more than `error_tolerance`?"""
    tolerated = figures.share(stable[1], sum(stable)) + settings.error_tolerance
    return _above(canary[1], sum(canary), tolerated)


def times_matter(
    canary: Sequence[float], stable: Sequence[float], quantile: float, settings: Settings
) -> bool:
    """Of buckets: is the canary's quantile above stable's by more than `relative_tolerance`?

    That is, do more of its requests take longer than stable's quantile and that much?
    """
    base = figures.quantile(stable, settings.bounds_ms, quantile) * (1 + settings.relative_tolerance)
    slow = figures.slower(canary, settings.bounds_ms, base)
    return _above(slow, sum(canary), 1 - quantile)


def _above(bad: float, of: float, tolerated: float) -> bool:
    seen = figures.share(bad, of)
    if seen <= tolerated or tolerated >= 1:
        return False
    if tolerated <= 0:
        return True
    ratio = bad * log(seen / tolerated)
    if seen < 1:
        ratio += (of - bad) * log((1 - seen) / (1 - tolerated))
    return ratio >= _CREDIBLE
