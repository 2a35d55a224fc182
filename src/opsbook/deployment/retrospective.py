"""Judging an analysis once more: by its own rules, or by those of another strategy. Pure.

So a strategy is tried on what has really happened before it decides anything: would it have stopped the bad release,
when, and would it have let the good ones go?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opsbook.deployment.analysis import AnalysisState, Judgement, Settings, judge
from opsbook.deployment.model import Deployment, Strategy
from opsbook.deployment.readings import Taken


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the judge says of each kept reading, and the one at which it would have ended."""

    judgements: tuple[tuple[Taken, Judgement], ...]
    stopped: tuple[Taken, Judgement] | None  # the first that fails


def replayed(strategy: Strategy, taken: Sequence[Taken], bounds_ms: tuple[float, ...]) -> Replayed:
    """Judge readings in their order by the rules of `strategy`; where the counting began anew, so does the judge."""
    settings = Settings(min_samples=strategy.min_samples, bounds_ms=bounds_ms)
    state, window = AnalysisState(), None
    found: list[tuple[Taken, Judgement]] = []
    for one in taken:
        if window is not None and one.window != window:
            state = state.counting_anew()
        window = one.window
        state, judgement = judge(state, strategy.analysis, one.reading, settings)
        found.append((one, judgement))
    return Replayed(tuple(found), next((pair for pair in found if pair[1].verdict == "fail"), None))


def retrospective(
    deployment: Deployment, strategy: Strategy, taken: Sequence[Taken], bounds_ms: tuple[float, ...]
) -> dict[str, Any]:
    """What would have been, beside what was, as the API tells it.

    Times are seconds since the first reading. ``would`` is None where nothing was kept or the strategy has no rules.
    """
    answer: dict[str, Any] = {
        "deployment": deployment.id,
        "service": deployment.service,
        "environment": deployment.environment,
        "version": deployment.version,
        "strategy": strategy.name,
        "readings": len(taken),
        "was": {
            "strategy": deployment.strategy.name,
            "outcome": deployment.outcome,
            "reason": deployment.reason,
            "seconds": _seconds(deployment, taken),
        },
        "would": None,
    }
    if not taken or not strategy.analysis:
        return answer
    replay = replayed(strategy, taken, bounds_ms)
    at, judgement = replay.stopped or replay.judgements[-1]
    answer["would"] = {
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "stopped": replay.stopped is not None,
        "seconds": at.reading.at - taken[0].reading.at,
        "step": at.step,
        "requests": _requests(taken, at),
        "rules": judgement.to_json()["rules"],
    }
    return answer


def _requests(taken: Sequence[Taken], until: Taken) -> int:
    """Of the release until then, over all windows."""
    most: dict[int, int] = {}
    for one in taken:
        most[one.window] = max(most.get(one.window, 0), one.reading.canary.requests)
        if one is until:
            break
    return sum(most.values())


def _seconds(deployment: Deployment, taken: Sequence[Taken]) -> float | None:
    if not taken or deployment.finished_at is None:
        return None
    return max(0.0, deployment.finished_at - taken[0].reading.at)
