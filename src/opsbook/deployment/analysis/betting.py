"""The always-valid test beneath the judge: betting against the claim that the canary is no worse than stable.

Requests fall into ordered categories (well answered, failed; or buckets of response time). Whenever both releases have
answered something since the last time, that is a block, and each of several bettors stakes its capital on it. One
bets that the canary's requests fall into category x `ratio(x)` times as often as stable's, with ratios that never fall
as categories get worse, and that were fixed before the block. With the share w of the canary among the block's
requests its capital is multiplied by

    product over the canary's requests of ratio(x) / c(x)  *  product over stable's of 1 / c(x),
    where c(x) = w ratio(x) + 1 - w.

If both releases draw from the same distribution p, whatever it is, the expected factor is at most 1: with F the
expectation of ratio/c and S that of 1/c under p, and n requests, it is F^(n w) S^(n (1-w)), which by the inequality of
the means is at most (w F + (1-w) S)^n = (sum of p)^n = 1. (After Turner, Ly, Grünwald: Generic E-variables for exact
sequential k-sample tests, 2021.) As ratio/c never falls and 1/c never rises with x, it is no more when the canary's
requests are stochastically better than stable's. Nothing is assumed of p, nor of how much is known of stable, and p
may be another in each block: load may drift as long as both releases drift together. So the capital is a nonnegative
supermartingale, and by Ville's inequality it ever reaches 1/alpha with a probability of at most alpha. What is assumed
is that the requests of a block are independent: a client that repeats one failing request many times counts as many.

The last axis of every array is the categories', the one before it the bettors'; others are many canaries at once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ERROR_GAINS = np.array([0.01, 0.03, 0.1, 0.3, 0.9])
"""Shares of the canary's requests that fail in addition to stable's, one a bettor."""

_TILTS = np.array([1.0, 3.0, 8.0])  # ratio ~ exp(tilt * rank): slower on the whole
_TAILS = np.array(
    [[0.0, 0.1], [0.9, 0.05], [0.99, 0.02]]
)  # where a tail begins, from the quantile on; its gain

CASH = 0.25
"""The share of capital that is not staked: what is left when all bettors were wrong for long."""

_PATIENCE = 50  # blocks


def bettors(kinds: int) -> Array:
    """The logarithm of the capital at the start: cash, and `kinds` equal bettors. Sums up to 1."""
    return np.log(_prior(kinds))


def error_ratios(well: Array, failed: Array) -> Array:
    """What to stake on the categories (well, failed), from what stable has shown so far (counts)."""
    rate = ((failed + 0.2) / (well + failed + 20))[..., None]
    return np.stack(
        np.broadcast_arrays(1 - ERROR_GAINS + 0 * rate, 1 - ERROR_GAINS + ERROR_GAINS / rate), axis=-1
    )


def latency_ratios(learnt: Array, quantile: float) -> Array:
    """What to stake on buckets of response time, by their rank among stable's requests so far (counts).

    Three bet that all is slower, three that a share of the requests is slower than most at `quantile` of stable's are.
    """
    share = (learnt + 1 / learnt.shape[-1]) / (learnt.sum(axis=-1, keepdims=True) + 1)
    upto = np.cumsum(share, axis=-1)
    rank = (upto - share / 2)[..., None, :]
    tilted = np.exp(_TILTS[:, None] * (rank - 1))
    tilted /= (tilted * share[..., None, :]).sum(axis=-1, keepdims=True)
    starts = 1 - (1 - quantile) * (1 - _TAILS[:, :1])
    beyond = np.clip((upto[..., None, :] - starts) / share[..., None, :], 0.0, 1.0)
    beyond /= (beyond * share[..., None, :]).sum(axis=-1, keepdims=True)
    return np.concatenate([tilted, 1 - _TAILS[:, 1:] + _TAILS[:, 1:] * beyond], axis=-2)


LATENCY_BETTORS = len(_TILTS) + len(_TAILS)


def limit_ratios(limit: float) -> Array:
    """What to stake on (well, failed) against the claim that at most `limit` of the requests fail."""
    rate = max(limit, 1e-6)
    return np.stack([1 - ERROR_GAINS, 1 - ERROR_GAINS + ERROR_GAINS / rate], axis=-1)


def against_stable(ratios: Array, canary: Array, stable: Array) -> Array:
    """The logarithms of the factors of a block: counts of each category in, one value a bettor out."""
    ours = canary.sum(axis=-1)
    weight = (ours / (ours + stable.sum(axis=-1)))[..., None, None]
    common = np.log(weight * ratios + (1 - weight))
    paid: Array = (canary[..., None, :] * (np.log(ratios) - common) - stable[..., None, :] * common).sum(
        axis=-1
    )
    return paid


def against_limit(ratios: Array, canary: Array) -> Array:
    """The same where the claim is a limit: E[ratio] is at most 1 for every share of failures up to it."""
    paid: Array = (canary[..., None, :] * np.log(ratios)).sum(axis=-1)
    return paid


def settle(capital: Array, factors: Array, blocks: Array | int) -> Array:
    """Pay out a block, then let everybody give a small part to be spread anew (`capital` is logarithms).

    That keeps the sum, so the test stays valid; and a bettor ruined by a good hour has something to stake when the
    canary turns bad then. What is given shrinks as 1 / `blocks`, so what it costs grows only as a logarithm.
    """
    grown = capital.copy()
    grown[..., 1:] += factors
    total = wealth(grown)[..., None]
    given = np.asarray(0.5 / (np.asarray(blocks, dtype=np.float64) + _PATIENCE))[..., None]
    spread: Array = total + np.log((1 - given) * np.exp(grown - total) + given * _prior(factors.shape[-1]))
    return spread


def wealth(capital: Array) -> Array:
    """The logarithm of the whole capital: the evidence against the claim."""
    highest = capital.max(axis=-1)
    total: Array = highest + np.log(np.exp(capital - highest[..., None]).sum(axis=-1))
    return total


def to_one(logarithm: float) -> float:
    """Evidence as odds to one, capped where a larger number says nothing more."""
    return math.exp(min(logarithm, math.log(1e9)))


def _prior(kinds: int) -> Array:
    return np.array([CASH] + [(1 - CASH) / kinds] * kinds)
