"""How sure and how quick the judge of canaries is: `python bench/analysis.py [--full]`.

Simulated canaries at 10 % weight, looked at every second. First 10,000 that are exactly as good as stable, for an hour
each, with both comparisons on (errors and p95): how many are taken back? They are spread over rates of errors and of
requests; `--full` takes 10,000 of each kind. Then bad ones: how many requests does it take to stop them, against

- a fixed window: every 5 minutes the canary's error rate of these 5 minutes is compared with 1 %;
- Mann-Whitney as Kayenta's classifier has it: a value a minute from both, confidence 0.98, tolerance 0.25, the location
  shift's lower bound above a quarter of its estimate is "high"; here judged at every minute from the 5th to the 30th.

Simulated is the judge's own arithmetic (`opsbook.deployment.analysis.betting`) on many canaries at once; that it comes
to the decisions of `judge` itself is measured too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from math import erf, inf, log, sqrt
from typing import Any

import numpy as np
from harness import Bench, percentile

from opsbook.deployment.analysis import AnalysisState, Counts, Reading, Settings, betting, judge
from opsbook.deployment.analysis.figures import quantile
from opsbook.deployment.analysis.tolerance import errors_matter, times_matter
from opsbook.deployment.model import Rule

BOUNDS = (5, 10, 25, 50, 100, 250, 500, 1000)  # milliseconds
SETTINGS = Settings(bounds_ms=BOUNDS)
RULES = (Rule(metric="error_rate", compare="stable"), Rule(metric="response_time_p95", compare="stable"))
LIMIT = log(len(RULES) / SETTINGS.alpha)
MEDIAN, SPREAD = 40.0, 0.5  # of the response times: log-normal, milliseconds
AT_ONCE = 500  # canaries; their arrays then fit the processor's cache
Array = Any


@dataclass(frozen=True)
class Kind:
    """Canaries of one kind. Rates of requests a second, of errors a share."""

    rate: float = 200.0
    weight: float = 0.1
    stable_errors: float = 0.001
    canary_errors: float = 0.001
    slower: float = 1.0  # times stable's response times
    good_until: int = 0  # looks

    def __str__(self) -> str:
        rate = f"{self.rate:g}/s" if self.rate >= 1 else f"{self.rate * 3600:g}/h"
        return f"{rate}, errors {self.stable_errors:.1%}"


@dataclass
class Counted:
    """Requests of many canaries, or of their stables: (well, failed) and buckets of response times."""

    answers: Array
    latency: Array

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.answers + other.answers, self.latency + other.latency)


def shares(slower: float) -> Array:
    """Of requests in each bucket."""
    upto = [(1 + erf(log(bound / (MEDIAN * slower)) / SPREAD / sqrt(2))) / 2 for bound in BOUNDS]
    return np.diff([0.0, *upto, 1.0])


def looks(
    kind: Kind, canaries: int, many: int, chance: np.random.Generator
) -> Iterator[tuple[Counted, Counted]]:
    """What came since the last look, for canary and stable."""

    def drawn(rate: float, errors: float, slower: float) -> Counted:
        expected = rate * np.array([1 - errors, errors])
        times = rate * shares(slower)
        return Counted(
            chance.poisson(expected, (canaries, 2)).astype(float),
            chance.poisson(times, (canaries, len(times))).astype(float),
        )

    for look in range(many):
        bad = look >= kind.good_until
        errors, slower = (kind.canary_errors, kind.slower) if bad else (kind.stable_errors, 1.0)
        yield (
            drawn(kind.rate * kind.weight, errors, slower),
            drawn(kind.rate * (1 - kind.weight), kind.stable_errors, 1.0),
        )


class Tests:
    """One of the two comparisons for many canaries, as `judge` makes it for one."""

    def __init__(self, canaries: int, categories: int, bettors: int) -> None:
        self.capital = np.tile(betting.bettors(bettors), (canaries, 1))
        self.waiting = [np.zeros((canaries, categories)), np.zeros((canaries, categories))]
        self.learnt = np.zeros((canaries, categories))
        self.blocks = np.zeros(canaries)
        self.ours = np.zeros((canaries, categories))
        self.even = [self.ours.copy(), self.ours.copy()]

    def look(self, canary: Array, stable: Array) -> Array:
        """The logarithm of the evidence against each canary."""
        self.waiting = [self.waiting[0] + canary, self.waiting[1] + stable]
        now = np.flatnonzero((self.waiting[0].sum(axis=1) > 0) & (self.waiting[1].sum(axis=1) > 0))
        if now.size:
            ours, theirs, learnt = self.waiting[0][now], self.waiting[1][now], self.learnt[now]
            ratios = (
                betting.error_ratios(learnt[:, 0], learnt[:, 1])
                if learnt.shape[1] == 2
                else betting.latency_ratios(learnt, 0.95)
            )
            factors = betting.against_stable(ratios, ours, theirs)
            self.capital[now] = betting.settle(self.capital[now], factors, self.blocks[now])
            self.ours[now] += ours
            self.learnt[now] += theirs
            self.blocks[now] += 1
            even = now[betting.wealth(self.capital[now]) <= 0]
            self.even[0][even], self.even[1][even] = self.ours[even], self.learnt[even]
            for counts in self.waiting:
                counts[now] = 0
        return betting.wealth(self.capital)

    def lately(self, index: int) -> tuple[Array, Array]:
        """What this canary and its stable have answered since the evidence rises."""
        return self.ours[index] - self.even[0][index], self.learnt[index] - self.even[1][index]


def stopped(kind: Kind, many: int, task: tuple[int, int]) -> list[tuple[float, float]]:
    """For each canary the look at which it is stopped and its requests since it is bad; inf for never."""
    seed, canaries = task
    errors = Tests(canaries, 2, len(betting.ERROR_GAINS))
    times = Tests(canaries, len(BOUNDS) + 1, betting.LATENCY_BETTORS)
    found = np.full((canaries, 2), inf)
    requests = np.zeros(canaries)
    for look, (canary, stable) in enumerate(looks(kind, canaries, many, np.random.default_rng(seed))):
        if look >= kind.good_until:
            requests += canary.answers.sum(axis=1)
        by_errors = errors.look(canary.answers, stable.answers) >= LIMIT
        by_times = times.look(canary.latency, stable.latency) >= LIMIT
        for index in np.flatnonzero((by_errors | by_times) & np.isinf(found[:, 0])):
            if (by_errors[index] and errors_matter(*errors.lately(index), SETTINGS)) or (
                by_times[index] and times_matter(*times.lately(index), 0.95, SETTINGS)
            ):
                found[index] = look, requests[index]
        if np.isfinite(found[:, 0]).all():
            break
    return [(float(look), float(requests)) for look, requests in found]


def simulate(pool: ProcessPoolExecutor, kind: Kind, canaries: int, many: int) -> list[tuple[float, float]]:
    tasks = [(seed, min(AT_ONCE, canaries - seed)) for seed in range(0, canaries, AT_ONCE)]
    return [one for part in pool.map(partial(stopped, kind, many), tasks) for one in part]


# --- the peers ---------------------------------------------------------------------------------------------------


def minutes(kind: Kind, canaries: int, many: int) -> tuple[Counted, Counted]:
    """Counts of each minute; one more axis in front."""
    chance = np.random.default_rng(1)
    a_minute = replace(kind, rate=kind.rate * 60)
    parts = list(looks(a_minute, canaries, many, chance))
    canary, stable = (
        Counted(np.stack([p[i].answers for p in parts]), np.stack([p[i].latency for p in parts]))
        for i in (0, 1)
    )
    return canary, stable


def fixed_window(kind: Kind, canaries: int) -> list[float]:
    """Requests of each canary until the end of the first 5 minutes with more than 1 % errors."""
    answers, _ = minutes(kind, canaries, 30)
    windows = answers.answers.reshape(6, 5, canaries, 2).sum(axis=1)
    high = windows[..., 1] > 0.01 * windows.sum(axis=-1)
    return first(high, np.cumsum(windows.sum(axis=-1), axis=0))


def mann_whitney(kind: Kind, canaries: int, *, latency: bool = False) -> list[float]:
    """Requests of each canary until the minute at which it is classified high."""
    canary, stable = minutes(kind, canaries, 30)
    ours, theirs = ((p95s(c.latency) if latency else error_rates(c.answers)) for c in (canary, stable))
    high = np.array([is_high(ours[: minute + 1].T, theirs[: minute + 1].T) for minute in range(4, 30)])
    requests = np.cumsum(canary.answers.sum(axis=-1), axis=0)[4:]
    return first(high, requests)


def is_high(experiment: Array, control: Array) -> Array:
    """Kayenta's "high" for each row: is the lower bound of the shift above a quarter of the estimated shift?

    The shift's estimate is the median of all differences. Its lower bound is above d when the rank sum test, normal
    with corrections for ties and continuity as R's `wilcox.test`, still rejects after d is taken off the experiment.
    """
    differences = experiment[:, :, None] - control[:, None, :]
    estimate = np.median(differences.reshape(len(experiment), -1), axis=1)
    d = 0.25 * np.abs(estimate)
    shifted = differences - d[:, None, None]
    wins = (np.sign(shifted).sum(axis=(1, 2)) + shifted[0].size) / 2
    pooled = np.concatenate([experiment - d[:, None], control], axis=1)
    ties = ((pooled[:, :, None] == pooled[:, None, :]).sum(axis=2) ** 2 - 1).sum(axis=1)
    m, n = experiment.shape[1], control.shape[1]
    variance = m * n / 12 * ((m + n + 1) - ties / ((m + n) * (m + n - 1)))
    off = wins - m * n / 2
    z = np.divide(off - 0.5 * np.sign(off), np.sqrt(variance), out=np.zeros_like(off), where=variance > 0)
    return z > 2.3263


def error_rates(answers: Array) -> Array:
    return answers[..., 1] / np.maximum(1, answers.sum(axis=-1))


def p95s(latency: Array) -> Array:
    return np.array([[quantile(row, BOUNDS, 0.95) for row in minute] for minute in latency])


def first(high: Array, requests: Array) -> list[float]:
    """The requests so far where `high` is first true along the first axis; inf where it never is."""
    when = high.argmax(axis=0)
    so_far = np.take_along_axis(requests, when[None], axis=0)[0]
    return [float(value) for value in np.where(high.any(axis=0), so_far, inf)]


# --- that it is the judge who was simulated --------------------------------------------------------------------------


def disagreements(kind: Kind, canaries: int, many: int) -> int:
    """How many of these canaries `judge` stops at another look than the simulation does."""
    simulated = [look for look, _ in stopped(kind, many, (0, canaries))]
    judged = [inf] * canaries
    states = [AnalysisState()] * canaries
    total: list[Counted] | None = None
    for look, step in enumerate(looks(kind, canaries, many, np.random.default_rng(0))):
        total = [a + b for a, b in zip(total, step, strict=True)] if total else list(step)
        for index in range(canaries):
            if judged[index] == inf:
                counts = [counts_of(part, index) for part in total]
                reading = Reading(float(look), counts[0], counts[1])
                states[index], found = judge(states[index], RULES, reading, SETTINGS)
                if found.verdict == "fail":
                    judged[index] = look
    return sum(ours != theirs for ours, theirs in zip(judged, simulated, strict=True))


def counts_of(counted: Counted, index: int) -> Counts:
    well, failed = counted.answers[index]
    return Counts(int(well + failed), int(failed), tuple(int(count) for count in counted.latency[index]))


# --- the bench -------------------------------------------------------------------------------------------------------


def good_ones(bench: Bench, pool: ProcessPoolExecutor, *, full: bool) -> None:
    kinds = [
        *(Kind(stable_errors=errors, canary_errors=errors) for errors in (0.0, 0.001, 0.05)),
        Kind(rate=2.0, stable_errors=0.05, canary_errors=0.05),
        Kind(rate=100 / 3600),
    ]
    each = 10_000 if full else 10_000 // len(kinds)
    false = 0
    for kind in kinds:
        here = sum(look < inf for look, _ in simulate(pool, kind, each, 3600))
        bench.fact(f"equal canaries taken back: {kind}", here / each * 100, f"% of {each:,}")
        false += here
    bench.figure(
        f"{each * len(kinds):,} equal canaries taken back", false / each / len(kinds) * 100, "%", 1.0
    )


def bad_ones(bench: Bench, pool: ProcessPoolExecutor, *, full: bool) -> None:
    canaries = 2_000 if full else 500
    for rate in (200.0, 20.0):
        for errors in (0.02, 0.05, 0.2):
            kind = Kind(rate=rate, canary_errors=errors)
            what = f"{rate:g}/s, {errors:.0%} errors: canary's requests"
            peers = {
                "fixed 5 min window": fixed_window(kind, canaries),
                "Mann-Whitney": mann_whitney(kind, canaries),
            }
            compared(bench, what, [requests for _, requests in simulate(pool, kind, canaries, 1800)], peers)
    for slower in (1.5, 2.0):
        kind = Kind(slower=slower)
        what = f"200/s, {slower - 1:.0%} slower: canary's requests"
        ours = [requests for _, requests in simulate(pool, kind, canaries, 1800)]
        compared(bench, what, ours, {"Mann-Whitney of p95": mann_whitney(kind, canaries, latency=True)})
    late = Kind(canary_errors=0.05, good_until=1800)
    ours = [requests for _, requests in simulate(pool, late, AT_ONCE, 2400)]
    bench.fact("200/s, 5% errors after a good half hour: median", percentile(ours, 0.5), "requests")
    slightly = simulate(pool, Kind(canary_errors=0.003), canaries, 1800)
    bench.fact(
        "0.2 points more errors, tolerable: taken back in 30 min",
        sum(look < inf for look, _ in slightly) / canaries * 100,
        "%",
    )


def compared(bench: Bench, what: str, ours: list[float], peers: dict[str, list[float]]) -> None:
    for name, part in (("median", 0.5), ("p90", 0.9)):
        best = min(percentile(theirs, part) for theirs in peers.values())
        bench.figure(f"{what}, {name}", percentile(ours, part), "requests", best - 1)
    for peer, theirs in peers.items():
        bench.ratio("", percentile(ours, 0.5), percentile(theirs, 0.5), peer, "requests")


def main() -> int:
    full = "--full" in sys.argv
    bench = Bench("analysis: the always-valid test against fixed windows and Mann-Whitney, simulated")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        differ = disagreements(Kind(rate=20.0, canary_errors=0.05), 40, 120)
        differ += disagreements(Kind(rate=20.0, slower=1.5), 40, 120)
        bench.figure("of 80 canaries, judge() and the simulation differ on", differ, "", 0)
        bad_ones(bench, pool, full=full)
        good_ones(bench, pool, full=full)
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
