"""Canaries to judge: rules, counts and a telemetry that grows by drawn requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from opsbook.deployment.analysis import AnalysisState, Counts, Judgement, Reading, Settings, judge
from opsbook.deployment.model import Rule

BOUNDS = (5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
SETTINGS = Settings(bounds_ms=BOUNDS)
ERRORS = Rule(metric="error_rate", compare="stable")
P95 = Rule(metric="response_time_p95", compare="stable")
COMPARISONS = (ERRORS, P95)


def reading(
    canary: tuple[Any, Any], stable: tuple[Any, Any] | None, *, at: float = 0.0, **metrics: Any
) -> Reading:
    """Of (requests, errors); `metrics` are the canary's, those of stable are named `stable_...`."""
    theirs = {name.removeprefix("stable_"): metrics[name] for name in metrics if name.startswith("stable_")}
    ours = {name: metrics[name] for name in metrics if not name.startswith("stable_")}
    return Reading(at, Counts(*canary), Counts(*stable) if stable else None, ours, theirs)


def once(rules: tuple[Rule, ...], found: Reading, settings: Settings = SETTINGS) -> Judgement:
    return judge(AnalysisState(), rules, found, settings)[1]


def telemetry(
    *,
    looks: int,
    rates: tuple[float, float] = (20.0, 180.0),
    errors: Callable[[int], tuple[float, float]] = lambda look: (0.001, 0.001),
    milliseconds: Callable[[int], tuple[float, float]] = lambda look: (40.0, 40.0),
    seed: int = 0,
) -> Iterator[Reading]:
    """Readings a second apart; each function says what holds for (canary, stable) at a look."""
    chance = np.random.default_rng(seed)
    totals: list[tuple[int, int, Any]] = [(0, 0, np.zeros(len(BOUNDS) + 1, dtype=int))] * 2
    for look in range(looks):
        for index in (0, 1):
            requests = int(chance.poisson(rates[index]))
            failed = int(chance.binomial(requests, errors(look)[index]))
            times = milliseconds(look)[index] * np.exp(0.5 * chance.normal(size=requests))
            buckets = np.bincount(np.searchsorted(BOUNDS, times), minlength=len(BOUNDS) + 1)
            total = totals[index]
            totals[index] = (total[0] + requests, total[1] + failed, total[2] + buckets)
        canary, stable = (Counts(r, e, tuple(int(n) for n in b)) for r, e, b in totals)
        yield Reading(float(look), canary, stable)
