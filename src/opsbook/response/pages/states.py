"""Runs and pages as people look at them: one state, one word, one sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from opsbook.book.quantities import duration as read_duration
from opsbook.book.runbooks import Runbook
from opsbook.response.runbooks.model import Run, Step

Look = Literal["ok", "running", "warning", "critical", "unknown", "paused"]


@dataclass(frozen=True, slots=True)
class Condition:
    """How something is: the shape and colour, and the word."""

    state: Look
    word: str


OUTCOMES: Mapping[str, Condition] = {
    "succeeded": Condition("ok", "succeeded"),
    "failed": Condition("critical", "failed"),
    "refused": Condition("warning", "refused"),
    "rolled_back": Condition("warning", "rolled back"),
    "rollback_failed": Condition("critical", "rollback failed"),
    "cancelled": Condition("paused", "cancelled"),
}
_STEPS: Mapping[str, Condition] = {
    "started": Condition("running", "running"),
    "ok": Condition("ok", "ok"),
    "failed": Condition("critical", "failed"),
    "unknown": Condition("unknown", "unknown"),
    "skipped": Condition("paused", "skipped"),
}


def condition_of(run: Run) -> Condition:
    """How a run is, or how it ended."""
    if run.ended:
        return OUTCOMES[str(run.outcome)]
    if run.undoing:
        return Condition("warning", "undoing")
    if run.state == "paused":
        return Condition("paused", "waiting")
    return Condition("running", "running" if run.steps else "beginning")


def step_condition(step: Step) -> Condition:
    """How one try is, or how it ended."""
    return _STEPS[step.state]


def sentence(run: Run) -> str:
    """Where a run is, in a sentence."""
    if run.ended:
        word = OUTCOMES[str(run.outcome)].word.capitalize()
        if run.outcome == "failed" and run.reason:
            return f"{run.reason[0].upper()}{run.reason[1:]}"
        return f"{word}: {run.reason}" if run.reason else f"{word}."
    if run.state == "paused":
        return f"Waits for {run.waiting_for}"
    if run.undoing:
        return f"Undoes what was done: {run.undoing}"
    current = next((one for one in reversed(run.steps) if one.state == "started"), None)
    if current is not None:
        again = f", try {current.attempt}" if current.attempt > 1 else ""
        return f"Runs {current.step}{again}."
    return "Between two steps." if run.steps else "Waits for its turn."


@dataclass(frozen=True, slots=True)
class Review:
    """When a page was read last (`on`, an ISO date), and whether that was too long ago."""

    condition: Condition
    on: str = ""


def review_of(page: Runbook, today: date, default_every: float | None) -> Review:
    """Of one page. `default_every`: the handbook's own rhythm in seconds."""
    try:
        reviewed = date.fromisoformat(page.head.reviewed or "")
        every = read_duration(page.head.review_every) if page.head.review_every else default_every
    except ValueError:
        return Review(Condition("unknown", "never"))
    if every and today > reviewed + timedelta(seconds=every):
        return Review(Condition("warning", "overdue"), reviewed.isoformat())
    return Review(Condition("ok", "up to date"), reviewed.isoformat())


def share(evidence: Mapping[str, Any]) -> Condition:
    """How often a page worked, of the runs that say something about it."""
    rate = evidence["success_rate"]
    if rate is None:
        return Condition("unknown", "none has ended" if evidence["runs"] else "never run")
    word = f"{rate * 100:.0f} %"
    return Condition("ok" if rate >= 0.9 else "warning" if rate >= 0.5 else "critical", word)
