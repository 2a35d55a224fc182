"""A deployment as a row of stages: what is behind it, where it is, what comes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from opsbook.deployment.forward import step_count, step_weights
from opsbook.deployment.model import Deployment, Outcome, Phase, Transition

State = Literal["done", "now", "waiting", "failed", "todo"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage. `seconds` that it took, or None; `since` when it began, for the one under way."""

    name: str
    state: State
    seconds: float | None = None
    since: float | None = None


Key = tuple[str, int]  # the stage's name for us, and the canary's step


def stages(deployment: Deployment, waiting: str = "") -> list[Stage]:
    """The stages from request to end, and the way back when it has been taken.

    Args:
        waiting: what it waits for, when it does.
    """
    planned = list(_planned(deployment))
    times = _times(deployment)
    reached = _reached(deployment, [key for key, _ in planned])
    back = deployment.phase is Phase.ABORTING or deployment.outcome not in (None, Outcome.SUCCEEDED)
    found = []
    for index, (key, name) in enumerate(planned):
        began, ended = times.get(key, (None, None))
        if index < reached or (deployment.outcome is Outcome.SUCCEEDED and began is not None):
            state: State = "done"
        elif index > reached or deployment.outcome is Outcome.SUCCEEDED:
            state = "done" if deployment.outcome is Outcome.SUCCEEDED else "todo"
        elif back:
            state = "failed"
        else:
            state = "waiting" if deployment.phase is Phase.GATED or (waiting and not began) else "now"
        took = ended - began if began is not None and ended is not None else None
        found.append(Stage(name, state, took, began if state in ("now", "waiting") else None))
    if back and deployment.outcome is not Outcome.FAILED:
        found = [stage for stage in found if stage.state != "todo"]
        found.append(_way_back(deployment))
    return found


def _way_back(deployment: Deployment) -> Stage:
    began = next((t.at for t in deployment.transitions if t.phase is Phase.ABORTING), None)
    if not deployment.finished:
        return Stage("take back", "now", None, began)
    ended = deployment.finished_at
    took = ended - began if began is not None and ended is not None else None
    return Stage("taken back", "done", took)


def _planned(deployment: Deployment) -> Iterator[tuple[Key, str]]:
    yield ("prepare", 0), "prepare"
    yield ("gates", 0), "gates"
    yield ("start", 0), "start"
    yield ("ready", 0), "ready"
    steps = step_count(deployment)
    for step in range(steps):
        if steps == 1:
            yield ("shift", 0), "resize" if deployment.kind == "scale" else "shift"
        else:
            yield ("shift", step), f"{step_weights(deployment, step).get(deployment.release, 0)} %"
    yield ("promote", 0), "promote"
    yield ("drain", 0), "drain"


_STAGE = {
    Phase.PENDING: "prepare",
    Phase.GATED: "gates",
    Phase.STARTING: "start",
    Phase.READY: "ready",
    Phase.SHIFTING: "shift",
    Phase.ANALYSING: "shift",
    Phase.PROMOTING: "promote",
    Phase.DRAINING: "drain",
}


def _walked(deployment: Deployment) -> Iterator[tuple[Key, Transition]]:
    """Each transition forward with its stage. A new step of a canary shows by its message, which names its weight."""
    step, last = -1, ""
    canary = step_count(deployment) > 1
    for transition in deployment.transitions:
        if transition.phase not in _STAGE:
            continue
        if transition.phase is Phase.SHIFTING and (step < 0 or (canary and transition.message != last)):
            step, last = step + 1, transition.message
        name = _STAGE[transition.phase]
        yield (name, max(0, step) if name == "shift" and canary else 0), transition


def _times(deployment: Deployment) -> dict[Key, tuple[float, float | None]]:
    """When each stage began and ended, as far as it has."""
    marks = [(key, transition.at) for key, transition in _walked(deployment)]
    ends = [transition.at for transition in deployment.transitions if transition.phase not in _STAGE]
    marks_end = min(ends) if ends else deployment.finished_at
    found: dict[Key, tuple[float, float | None]] = {}
    for index, (key, at) in enumerate(marks):
        until = marks[index + 1][1] if index + 1 < len(marks) else marks_end
        found[key] = (found[key][0] if key in found else at, until)
    return found


def _reached(deployment: Deployment, planned: list[Key]) -> int:
    walked = [key for key, _ in _walked(deployment)]
    if not walked:
        return 0
    name, step = walked[-1]
    if name == "shift" and not deployment.finished and deployment.phase is not Phase.ABORTING:
        step = deployment.step if step_count(deployment) > 1 else 0
    return planned.index((name, step)) if (name, step) in planned else 0
