"""A rule with a fixed limit.

Where the limit is one on a share of the requests (errors; response times, when a bucket ends at the limit) being beyond
it only fails with evidence that it is no accident: one failed request of the first fifty is 2 %. It never passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from opsbook.deployment.analysis import figures
from opsbook.deployment.analysis.comparison import Case, compare
from opsbook.deployment.analysis.model import Rule, RuleJudgement, VerdictKind
from opsbook.deployment.analysis.soundness import readable
from opsbook.deployment.analysis.trial import is_comparable, is_of_errors, quantile_of, trials

_OF_ALL = {"throughput", "request_count", "error_count", "active_requests"}
"""Levels that grow with the share of requests that a release gets."""


def keep_limit(rule: Rule, case: Case) -> RuleJudgement:
    """Compares with the limit; with stable instead, when stable itself does not keep the limit."""
    threshold = rule.max if rule.max is not None else rule.min
    if threshold is None or readable(threshold) is None:
        return _judgement(rule, case, "error", None, f"{rule.metric} has the limit {threshold}")
    value = readable(_metric(rule, case.reading.metrics))
    span = f"over {rule.window:g} s"
    if value is None:
        if not is_comparable(rule.metric):
            return _judgement(rule, case, "error", None, f"{rule.metric} cannot be read")
        if case.reading.canary.requests <= 0:
            return _judgement(rule, case, "no_data", None, f"{rule.metric}: the canary has had no requests")
        value, span = _of_the_step(rule, case), f"of {case.reading.canary.requests:,.0f} requests"
    if value is None:
        return _judgement(
            rule, case, "error", None, f"{rule.metric} cannot be read although there are requests"
        )
    said = f"{rule.metric} {figures.measured(rule.metric, value)} {span}"
    if not _beyond(rule, value):
        return _judgement(rule, case, "pass", value, f"{said}, {_limit(rule)}")
    base = _base(rule, case)
    if base is not None and _beyond(rule, base):
        return _beside(rule, case, value, base)
    return _exceeded(rule, case, value, f"{said}, {_limit(rule)}")


def _exceeded(rule: Rule, case: Case, value: float, said: str) -> RuleJudgement:
    trial, _ = trials(rule, case.settings, stable=False)
    if trial is not None:
        odds = case.odds(trial)
        verdict: VerdictKind = "fail" if odds >= case.limit else "inconclusive"
        detail = f"{said}: evidence {figures.odds(odds)}, limit {figures.odds(case.limit)}"
        return replace(_judgement(rule, case, verdict, value, detail), evidence=odds)
    few = case.reading.canary.requests < case.settings.min_samples
    if is_comparable(rule.metric) and few:
        detail = f"{said}, from only {case.reading.canary.requests:,.0f} requests"
        return _judgement(rule, case, "inconclusive", value, detail)
    return _judgement(rule, case, "fail", value, said)


def _beside(rule: Rule, case: Case, value: float, base: float) -> RuleJudgement:
    """Stable does not keep the limit either: a canary that is no worse passes, or no fix could ever be deployed."""
    note = f"stable itself is beyond {_limit(rule)} ({figures.measured(rule.metric, base)})"
    _, comparison = trials(rule, case.settings, stable=True)
    if comparison is not None:
        found = compare(rule, case)
        return replace(found, value=value, threshold=_number(rule), detail=f"{note}; {found.detail}")
    near = base * case.settings.relative_tolerance
    worse = value > base + near if rule.max is not None else value < base - near
    said = f"{rule.metric} {figures.measured(rule.metric, value)}"
    return _judgement(
        rule,
        case,
        "fail" if worse else "pass",
        value,
        f"{note}; {said} is {'worse' if worse else 'no worse'}",
    )


def _base(rule: Rule, case: Case) -> float | None:
    """Stable's value for the rule; None when there is none, or too few requests to say."""
    stable = case.reading.stable
    if stable is None:
        return None
    if is_comparable(rule.metric) and stable.requests < case.settings.min_samples:
        return None
    base = readable(_metric(rule, case.reading.stable_metrics))
    if base is not None and rule.metric in _OF_ALL:
        base *= figures.share(case.reading.canary.requests, stable.requests)
    return base


def _of_the_step(rule: Rule, case: Case) -> float | None:
    """What all requests of the step say when lately there were none; None when there were: it is unreadable."""
    if case.fresh_for < rule.window:
        return None
    canary = case.reading.canary
    if is_of_errors(rule.metric):
        errors = figures.share(canary.errors, canary.requests)
        return errors if rule.metric == "error_rate" else 1 - errors
    at = quantile_of(rule.metric)
    if at is None or not sum(canary.latency) > 0:
        return None
    return figures.quantile(canary.latency, case.settings.bounds_ms, at)


def _beyond(rule: Rule, value: float) -> bool:
    return (rule.max is not None and value > rule.max) or (rule.min is not None and value < rule.min)


def _metric(rule: Rule, values: Mapping[str, float | None]) -> float | None:
    return values[rule.name] if rule.name in values else values.get(rule.metric)


def _number(rule: Rule) -> float | None:
    return rule.max if rule.max is not None else rule.min


def _limit(rule: Rule) -> str:
    number = _number(rule)
    return (
        f"{'at most' if rule.max is not None else 'at least'} {figures.measured(rule.metric, number or 0.0)}"
    )


def _judgement(
    rule: Rule, case: Case, verdict: VerdictKind, value: float | None, detail: str
) -> RuleJudgement:
    return RuleJudgement(
        rule.name, verdict, value, _number(rule), int(case.reading.canary.requests), None, detail
    )
