"""The judge of a canary: what the telemetry of one more look means, together with all looks before. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from opsbook.deployment.analysis import figures
from opsbook.deployment.analysis.comparison import Case, compare
from opsbook.deployment.analysis.confidence import difference_bounds
from opsbook.deployment.analysis.limits import keep_limit
from opsbook.deployment.analysis.model import (
    Bounds,
    Judgement,
    Reading,
    Rule,
    RuleJudgement,
    Settings,
    VerdictKind,
)
from opsbook.deployment.analysis.soundness import doubts, seen
from opsbook.deployment.analysis.state import AnalysisState, Evidence
from opsbook.deployment.analysis.trial import all_trials


def judge(
    state: AnalysisState, rules: Sequence[Rule], reading: Reading, settings: Settings
) -> tuple[AnalysisState, Judgement]:
    """What the rules say after this reading, and what to remember for the next.

    One failed rule fails at once. It passes only when every rule passes and the canary has had `min_samples` requests.
    A reading that cannot be believed is an error and leaves no trace in the evidence.
    """
    if doubt := doubts(state, reading, settings):
        return state.model_copy(update={"looks": state.looks + 1}), Judgement("error", doubt)
    trials = all_trials(rules, settings, stable=reading.stable is not None)
    evidence: dict[str, Evidence] = dict(state.evidence)
    for name, trial in trials.items():
        found = trial.advance(state.evidence.get(name), reading.canary, reading.stable)
        if found is not None:
            evidence[name] = found
    grew_at = state.grew_at
    if grew_at is None or reading.canary.requests > state.canary.requests:
        grew_at = reading.at
    case = Case(reading, settings, evidence, len(trials), reading.at - grew_at)
    judged = [
        (rule, keep_limit(rule, case) if rule.compare is None else compare(rule, case)) for rule in rules
    ]
    failures = _failures(state.failures, judged)
    said = tuple(_tolerated(rule, found, failures) for rule, found in judged)
    after = AnalysisState(
        looks=state.looks + 1,
        canary=seen(reading.canary, state.canary),
        stable=seen(reading.stable, state.stable),
        grew_at=grew_at,
        failures=failures,
        evidence=evidence,
    )
    return after, _together(said, reading, settings)


def replay(rules: Sequence[Rule], readings: Iterable[Reading], settings: Settings) -> list[Judgement]:
    """What the judge would have said at each of these readings: for another look at a canary that is over."""
    state, said = AnalysisState(), []
    for reading in readings:
        state, judgement = judge(state, rules, reading, settings)
        said.append(judgement)
    return said


def _failures(before: dict[str, int], judged: list[tuple[Rule, RuleJudgement]]) -> dict[str, int]:
    """Consecutive failures of each rule. A look at which it could not be read neither adds nor forgives."""
    after = {}
    for rule, found in judged:
        count = before.get(rule.name, 0)
        if found.verdict == "fail":
            after[rule.name] = count + 1
        elif found.verdict in {"error", "no_data"} and count:
            after[rule.name] = count
    return after


def _tolerated(rule: Rule, found: RuleJudgement, failures: dict[str, int]) -> RuleJudgement:
    count = failures.get(rule.name, 0)
    if found.verdict != "fail" or count > rule.limit:
        return found
    detail = f"{found.detail}; failed {count} times in a row, {rule.limit} are tolerated"
    return replace(found, verdict="inconclusive", detail=detail)


def _together(rules: tuple[RuleJudgement, ...], reading: Reading, settings: Settings) -> Judgement:
    requests = reading.canary.requests
    bounds = _bounds(reading, settings)

    def verdict(kind: VerdictKind, reason: str = "") -> Judgement:
        details = "; ".join(rule.detail for rule in rules if rule.verdict == kind)
        return Judgement(kind, "; ".join(filter(None, (reason, details))), rules, bounds)

    kinds = {rule.verdict for rule in rules}
    if "fail" in kinds:
        return verdict("fail")
    if requests <= 0:
        # Before errors: where nothing was asked, much cannot be read.
        return Judgement("no_data", "the canary has had no requests", rules, bounds)
    if "error" in kinds:
        return verdict("error")
    if "no_data" in kinds:
        return verdict("no_data")
    if requests < settings.min_samples:
        return verdict("inconclusive", f"{requests:,.0f} of {settings.min_samples:,.0f} requests to judge by")
    if "inconclusive" in kinds:
        return verdict("inconclusive")
    return verdict("pass", "" if rules else f"nothing to keep in {requests:,.0f} requests")


def _bounds(reading: Reading, settings: Settings) -> Bounds | None:
    canary, stable = reading.canary, reading.stable
    if stable is None or canary.requests <= 0 or stable.requests <= 0:
        return None
    ours = np.array(float(canary.errors)), np.array(float(canary.requests))
    theirs = np.array(float(stable.errors)), np.array(float(stable.requests))
    lower, upper = difference_bounds(ours, theirs, 1 - settings.confidence)
    difference = figures.share(canary.errors, canary.requests) - figures.share(stable.errors, stable.requests)
    return Bounds(difference, float(lower), float(upper))
