"""A rule that compares with stable: evidence that the canary is worse, by more than anybody minds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opsbook.deployment.analysis import betting, figures
from opsbook.deployment.analysis.model import Counts, Reading, Rule, RuleJudgement, Settings, VerdictKind
from opsbook.deployment.analysis.state import Evidence, Tally
from opsbook.deployment.analysis.tolerance import errors_matter, times_matter
from opsbook.deployment.analysis.trial import Trial, is_comparable, quantile_of, trials


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
    if not is_comparable(rule.metric):
        return _word(rule, "error", f"{rule.metric} cannot be compared with stable")
    if missing := _missing(rule, case.reading.canary, stable, case.settings):
        return missing
    if trial is None:
        return _word(rule, "error", "the bounds of the buckets of response times are not known")
    ours, theirs = _answered(trial, case, stable)
    value, base = _value(rule, ours, case.settings), _value(rule, theirs, case.settings)
    odds = case.odds(trial)
    verdict: VerdictKind = "pass"
    if _matters(rule, ours, theirs, case.settings):
        verdict = _weigh(odds, case)
    requests = case.reading.canary.requests
    detail = (
        f"{_what(rule)} {figures.measured(rule.metric, value)} of "
        f"{'' if sum(ours) >= requests else 'the last '}{sum(ours):,.0f} requests "
        f"against {figures.measured(rule.metric, base)} of {sum(theirs):,.0f} of stable: "
        f"evidence {figures.odds(odds)}, limit {figures.odds(case.limit)}"
    )
    if verdict == "inconclusive":
        detail += "; it looks worse, more requests must show"
    return RuleJudgement(rule.name, verdict, value, base, int(requests), odds, detail)


def _answered(trial: Trial, case: Case, stable: Counts) -> tuple[Tally, Tally]:
    """By category, what to look at for the size of the difference: since the evidence rises, or else all.

    A canary that turns bad after a good hour must not be excused by that hour.
    """
    evidence = case.evidence.get(trial.name)
    if evidence is not None and evidence.present > 0:
        return evidence.lately()
    return trial.sort(case.reading.canary), trial.sort(stable)


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


def _value(rule: Rule, answered: Tally, settings: Settings) -> float:
    at = quantile_of(rule.metric)
    if at is not None:
        return figures.quantile(answered, settings.bounds_ms, at)
    errors = figures.share(answered[1], sum(answered))
    return 1 - errors if rule.metric == "availability" else errors


def _matters(rule: Rule, canary: Tally, stable: Tally, settings: Settings) -> bool:
    at = quantile_of(rule.metric)
    return (
        errors_matter(canary, stable, settings) if at is None else times_matter(canary, stable, at, settings)
    )


def _what(rule: Rule) -> str:
    return "errors" if rule.metric == "error_rate" else rule.metric.removeprefix("response_time_")


def _word(rule: Rule, verdict: VerdictKind, detail: str) -> RuleJudgement:
    return RuleJudgement(rule.name, verdict, None, None, 0, None, detail)
