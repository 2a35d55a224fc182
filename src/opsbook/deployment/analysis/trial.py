"""One test of the canary's requests: which counts it sorts them into, and how its evidence grows from look to look."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from opsbook.deployment.analysis import betting
from opsbook.deployment.analysis.model import Counts, Rule, Settings
from opsbook.deployment.analysis.state import Evidence, Tally

_RESPONSE_TIME = re.compile(r"response_time_p(\d{1,2})")


def quantile_of(metric: str) -> float | None:
    """0.95 of `response_time_p95`; None of what is no response time."""
    found = _RESPONSE_TIME.fullmatch(metric)
    return int(found[1]) / 100 if found and int(found[1]) > 0 else None


def is_of_errors(metric: str) -> bool:
    return metric in {"error_rate", "availability"}


def is_comparable(metric: str) -> bool:
    return is_of_errors(metric) or quantile_of(metric) is not None


@dataclass(frozen=True)
class Trial:
    """Against stable when `limit` is None, else against the claim that at most this share of the requests is bad.

    Bad is an error, or with a `quantile` slow: by the order of buckets against stable, from bucket `slow` on against a
    limit.
    """

    quantile: float | None = None
    limit: float | None = None
    slow: int = 0

    @cached_property
    def name(self) -> str:
        what = "errors" if self.quantile is None else f"p{self.quantile * 100:g}"
        return what if self.limit is None else f"{what} from {self.slow} within {self.limit:g}"

    def advance(self, before: Evidence | None, canary: Counts, stable: Counts | None) -> Evidence | None:
        """The evidence after this look, when it brought a block; None while there has never been anything to sort."""
        ours = self.sort(canary)
        theirs = self.sort(stable) if stable is not None and self.limit is None else ()
        if not ours or (self.limit is None and not theirs):
            return before
        kept = self._begin(len(ours), len(theirs))
        if before is not None and _shape(before) == _shape(kept):
            kept = before
        canary_block, stable_block = _growth(ours, kept.canary), _growth(theirs, kept.stable)
        if not _complete(canary_block) or (self.limit is None and not _complete(stable_block)):
            return kept
        capital = self._bet(kept, canary_block, stable_block)
        present = float(betting.wealth(capital))
        rising = present > 0
        return Evidence(
            capital=tuple(capital.tolist()),
            canary=ours,
            stable=theirs,
            even_canary=kept.even_canary if rising else ours,
            even_stable=kept.even_stable if rising else theirs,
            learnt=tuple((np.array(kept.learnt) + stable_block).tolist()),
            blocks=kept.blocks + 1,
            present=present,
            strongest=max(kept.strongest, present),
        )

    def _bet(self, kept: Evidence, canary: betting.Array, stable: betting.Array) -> betting.Array:
        if self.limit is not None:
            factors = betting.against_limit(betting.limit_ratios(self.limit), canary)
        else:
            learnt = np.array(kept.learnt)
            ratios = (
                betting.error_ratios(learnt[0], learnt[1])
                if self.quantile is None
                else betting.latency_ratios(learnt, self.quantile)
            )
            factors = betting.against_stable(ratios, canary, stable)
        return betting.settle(np.array(kept.capital), factors, kept.blocks)

    def _begin(self, ours: int, theirs: int) -> Evidence:
        kinds = len(betting.ERROR_GAINS)
        if self.limit is None and self.quantile is not None:
            kinds = betting.LATENCY_BETTORS
        mine, nothing = (0.0,) * ours, (0.0,) * theirs
        return Evidence(
            capital=tuple(betting.bettors(kinds).tolist()),
            canary=mine,
            stable=nothing,
            learnt=nothing,
            even_canary=mine,
            even_stable=nothing,
        )

    def sort(self, counts: Counts) -> Tally:
        """The number of requests in each category, better ones first; empty when they cannot be told."""
        if self.quantile is None:
            return (float(counts.requests - counts.errors), float(counts.errors))
        if self.limit is None or not counts.latency:
            return tuple(float(count) for count in counts.latency)
        return (float(sum(counts.latency[: self.slow])), float(sum(counts.latency[self.slow :])))


def trials(rule: Rule, settings: Settings, *, stable: bool) -> tuple[Trial | None, Trial | None]:
    """What a rule has tested: its limit, where that is one on a share of requests; and the comparison with stable.

    A limit is compared too, for the case that stable itself does not keep it.
    """
    quantile = quantile_of(rule.metric)
    testable = is_of_errors(rule.metric) or (quantile is not None and bool(settings.bounds_ms))
    comparison = Trial(quantile) if testable and stable else None
    if rule.compare is not None:
        return None, comparison
    return _limit(rule, quantile, settings), comparison


def all_trials(rules: Iterable[Rule], settings: Settings, *, stable: bool) -> dict[str, Trial]:
    """Every test that the rules need, once; they share the budget of false alarms."""
    wanted = [trial for rule in rules for trial in trials(rule, settings, stable=stable) if trial is not None]
    return {trial.name: trial for trial in wanted}


def _limit(rule: Rule, quantile: float | None, settings: Settings) -> Trial | None:
    share = rule.max if rule.metric == "error_rate" else None
    if rule.metric == "availability" and rule.min is not None:
        share = 1 - rule.min
    if share is not None and 0 <= share < 1:
        return Trial(limit=share)
    if quantile is None or rule.max is None:
        return None
    for index, bound in enumerate(settings.bounds_ms):
        if abs(bound - rule.max * 1000) < 1e-6 * bound:
            return Trial(quantile, round(1 - quantile, 9), index + 1)
    return None


def _shape(evidence: Evidence) -> tuple[int, ...]:
    """Another one is of other buckets, or of an older opsbook: no evidence can go on from there."""
    return len(evidence.capital), len(evidence.canary), len(evidence.stable)


def _growth(now: Tally, then: Tally) -> betting.Array:
    return np.subtract(now, then, dtype=np.float64)


def _complete(block: betting.Array) -> bool:
    """Some requests, and no category that shrank: a failed request may be counted before its end is."""
    return bool(block.sum() > 0 and (block >= 0).all())
