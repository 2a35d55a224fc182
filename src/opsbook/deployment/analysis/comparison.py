"""A rule that compares with stable: evidence that the canary is worse, by more than anybody minds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opsbook.deployment.analysis import betting, figures
from opsbook.deployment.analysis.state import Evidence
from opsbook.deployment.analysis.trial import Trial, quantile_of, trials
from opsbook.deployment.analysis.model import Counts, Reading, Rule, RuleJudgement, Settings, VerdictKind


@dataclass(frozen=True, slots=True)
class Case:
    """What one look has brought: the reading, and the evidence of each test after it."""

    reading: Reading
    settings: Settings
    evidence: Mapping[str, Evidence]
    tests: int  # how many share the budget of false alarms
    fresh_for: float  # seconds since the canary's requests last grew

    @property
    def limit(self) -> float:
        """The evidence, to one, from which a test has decided."""
        return max(1, self.tests) / self.settings.alpha

    def odds(self, trial: Trial) -> float:
        found = self.evidence.get(trial.name)
        return betting.to_one(found.present) if found else 1.0


def compare(rule: Rule, case: Case) -> RuleJudgement:
    """Fails on enough evidence of a difference that matters; suspects on less; passes otherwise."""
    stable = case.reading.stable
    if stable is None:
        return _word(rule, "pass", "skipped: there is no stable version to compare with")
    _, trial = trials(rule, case.settings, stable=True)
    if trial is None:
        return _word(rule, "error", f"{rule.metric} cannot be compared with stable")
    if missing := _missing(rule, case.reading.canary, stable, case.settings):
        return missing
    value, base = _value(rule, case.reading.canary, case.settings), _value(rule, stable, case.settings)
    odds = case.odds(trial)
    verdict: VerdictKind = "pass"
    if _minds(rule, value, base, case.settings):
        verdict = _weigh(odds, case)
    detail = (
        f"{_what(rule)} {figures.measured(rule.metric, value)} of {case.reading.canary.requests:,.0f} requests "
        f"against {figures.measured(rule.metric, base)} of {stable.requests:,.0f} of stable: "
        f"evidence {figures.odds(odds)}, limit {figures.odds(case.limit)}"
    )
    if verdict == "inconclusive":
        detail += "; it looks worse, more requests must show"
    return RuleJudgement(rule.name, verdict, value, base, _samples(case), odds, detail)


def _weigh(odds: float, case: Case) -> VerdictKind:
    if odds >= case.limit:
        return "fail"
    return "inconclusive" if odds >= case.settings.suspicion else "pass"


def _missing(rule: Rule, canary: Counts, stable: Counts, settings: Settings) -> RuleJudgement | None:
    for release, counts in (("the canary", canary), ("stable", stable)):
        if counts.requests <= 0:
            return _word(rule, "no_data", f"{release} has had no requests")
        if quantile_of(rule.metric) is not None and not sum(counts.latency) > 0:
            late = counts.requests >= settings.min_samples
            return _word(rule, "error" if late else "no_data", f"{release} has no response times")
    return None


def _value(rule: Rule, counts: Counts, settings: Settings) -> float:
    at = quantile_of(rule.metric)
    if at is not None:
        return figures.quantile(counts.latency, settings.bounds_ms, at)
    errors = figures.share(counts.errors, counts.requests)
    return 1 - errors if rule.metric == "availability" else errors


def _minds(rule: Rule, value: float, base: float, settings: Settings) -> bool:
    if quantile_of(rule.metric) is not None:
        return value > base * (1 + settings.relative_tolerance)
    return abs(value - base) > settings.error_tolerance and (value < base) == (rule.metric == "availability")


def _what(rule: Rule) -> str:
    return "errors" if rule.metric == "error_rate" else rule.metric.removeprefix("response_time_")


def _samples(case: Case) -> int:
    return int(case.reading.canary.requests)


def _word(rule: Rule, verdict: VerdictKind, detail: str) -> RuleJudgement:
    return RuleJudgement(rule.name, verdict, None, None, 0, None, detail)
