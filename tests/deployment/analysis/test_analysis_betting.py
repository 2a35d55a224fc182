"""The mathematics beneath the judge, by enumeration and by simulation."""

from __future__ import annotations

from math import comb

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.deployment.analysis import betting
from opsbook.deployment.analysis.confidence import difference_bounds

rates = st.floats(0.0, 1.0)
counts = st.integers(0, 5000)


def _binomial(n: int, k: int, rate: float) -> float:
    return comb(n, k) * rate**k * (1 - rate) ** (n - k)


@settings(max_examples=150, deadline=None)
@given(
    stable=rates, better=rates, ours=st.integers(1, 5), theirs=st.integers(1, 8), well=counts, failed=counts
)
def test_no_bet_on_errors_pays_against_a_canary_that_is_no_worse(
    stable: float, better: float, ours: int, theirs: int, well: int, failed: int
) -> None:
    """Over all outcomes of a block the expected factor is at most 1, whatever was learnt and whatever the rates are."""
    canary = stable * better
    ratios = betting.error_ratios(np.array(float(well)), np.array(float(failed)))
    expected = sum(
        _binomial(ours, i, canary)
        * _binomial(theirs, j, stable)
        * np.exp(
            betting.against_stable(
                ratios, np.array([ours - i, i], dtype=float), np.array([theirs - j, j], dtype=float)
            )
        )
        for i in range(ours + 1)
        for j in range(theirs + 1)
    )
    assert (expected <= 1 + 1e-9).all()


@settings(max_examples=150, deadline=None)
@given(
    mass=st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8).filter(lambda mass: sum(mass) > 0.01),
    faster=st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8),
    learnt=st.lists(counts, min_size=8, max_size=8),
    ours=st.integers(1, 40),
    theirs=st.integers(1, 400),
    quantile=st.sampled_from([0.5, 0.95, 0.99]),
)
def test_no_bet_on_response_times_pays_against_a_canary_that_is_no_slower(
    mass: list[float], faster: list[float], learnt: list[int], ours: int, theirs: int, quantile: float
) -> None:
    """The same for any distribution over buckets, and for a canary some of whose requests are moved to faster ones."""
    stable = np.array(mass) / sum(mass)
    moved = stable * np.array(faster)
    moved[0] = 0.0
    canary = stable - moved
    canary[:-1] += moved[1:]
    ratios = betting.latency_ratios(np.array(learnt, dtype=float), quantile)
    weight = ours / (ours + theirs)
    common = weight * ratios + 1 - weight
    factors = ours * np.log((ratios / common) @ canary) + theirs * np.log((1 / common) @ stable)
    assert (factors <= 1e-9).all()
    assert (np.diff(ratios, axis=-1) >= -1e-9 * ratios[:, 1:]).all()


@settings(max_examples=100, deadline=None)
@given(limit=st.floats(0.0, 0.99), below=rates)
def test_no_bet_pays_while_a_limit_is_kept(limit: float, below: float) -> None:
    """One request's expected factor is at most 1 for every share of failures within the limit."""
    rate = limit * below
    ratios = betting.limit_ratios(limit)
    factor = sum(
        probability * np.exp(betting.against_limit(ratios, outcome))
        for probability, outcome in ((1 - rate, np.array([1.0, 0.0])), (rate, np.array([0.0, 1.0])))
    )
    assert (factor <= 1 + 1e-9).all()


@settings(max_examples=100, deadline=None)
@given(
    capital=st.lists(st.floats(-800, 50), min_size=6, max_size=6),
    factors=st.lists(st.floats(-800, 50), min_size=5, max_size=5),
    blocks=st.integers(0, 10**6),
)
def test_spreading_capital_anew_creates_none(capital: list[float], factors: list[float], blocks: int) -> None:
    """What all have after a block is what the bets paid; nobody is ever wholly ruined."""
    before = np.array(capital)
    paid = before + np.array([0.0, *factors])
    after = betting.settle(before, np.array(factors), blocks)
    np.testing.assert_allclose(betting.wealth(after), betting.wealth(paid), atol=1e-9)
    assert np.isfinite(after).all()
    assert (after >= betting.wealth(after) - 40).all()


def _takes_back(ours: float, theirs: float, drift: float, seed: int) -> float:
    """The share of 1,000 equal canaries whose evidence ever reaches 20:1, while errors drift by this factor."""
    many, chance = 1000, np.random.default_rng(seed)
    capital = np.tile(betting.bettors(len(betting.ERROR_GAINS)), (many, 1))
    learnt, strongest = np.zeros((many, 2)), np.zeros(many)
    waiting = [np.zeros((many, 2)), np.zeros((many, 2))]
    for look in range(400):
        rate = 0.02 * (1 + drift * np.sin(look / 40))
        for index, requests in enumerate((ours, theirs)):
            waiting[index] += chance.poisson([requests * (1 - rate), requests * rate], (many, 2))
        now = (waiting[0].sum(axis=1) > 0) & (waiting[1].sum(axis=1) > 0)
        if not now.any():
            continue
        canary, stable = (counted[now] for counted in waiting)
        ratios = betting.error_ratios(learnt[now, 0], learnt[now, 1])
        capital[now] = betting.settle(capital[now], betting.against_stable(ratios, canary, stable), look)
        learnt[now] += stable
        for counted in waiting:
            counted[now] = 0
        strongest = np.maximum(strongest, betting.wealth(capital))
    return float((strongest >= np.log(20)).mean())


def test_equal_canaries_stay_within_the_budget() -> None:
    """Looked at 400 times: with much and little of stable, with few requests, while both drift together."""
    cases = [(2.0, 18.0, 0.0), (18.0, 2.0, 0.0), (0.1, 0.1, 0.0), (5.0, 5.0, 0.95)]
    taken_back = [_takes_back(*case, seed=seed) for seed, case in enumerate(cases)]
    assert max(taken_back) <= 0.05


def test_bounds_hold_at_all_looks_at_once() -> None:
    """Of 400 pairs of releases, at most 5 % ever have their true difference outside of their 95 % bounds."""
    many, chance = 400, np.random.default_rng(7)
    for ours, theirs in ((0.02, 0.001), (0.05, 0.05), (0.0, 0.3)):
        totals = [np.zeros(many) for _ in range(4)]
        outside = np.zeros(many, dtype=bool)
        for _ in range(50):
            for index, (requests, rate) in enumerate(((10, ours), (40, theirs))):
                totals[2 * index] += chance.binomial(requests, rate, many)
                totals[2 * index + 1] += requests
            lower, upper = difference_bounds((totals[0], totals[1]), (totals[2], totals[3]), 0.05)
            outside |= (lower > ours - theirs) | (upper < ours - theirs)
        assert outside.mean() <= 0.05


def test_bounds_close_around_the_difference() -> None:
    """With many requests they say which release is worse; without any they say nothing."""

    def of(*counted: float) -> tuple[float, float]:
        ours, theirs = (
            (np.array(counted[0]), np.array(counted[1])),
            (np.array(counted[2]), np.array(counted[3])),
        )
        lower, upper = difference_bounds(ours, theirs, 0.05)
        return float(lower), float(upper)

    lower, upper = of(200.0, 10_000.0, 90.0, 90_000.0)
    assert 0.013 < lower < 0.019 < upper < 0.026
    assert of(0.0, 0.0, 0.0, 0.0) == (-1.0, 1.0)
