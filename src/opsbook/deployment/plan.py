"""What next: pure decisions over a deployment, its placement and what was just seen of the world.

`decide` is asked again and again; it answers with one idempotent action. Nothing depends on having been alive a
moment ago: all it knows is in its three arguments.
"""

from __future__ import annotations

from opsbook.deployment.back import go_back
from opsbook.deployment.forward import drain, promote, roll, scale, switch
from opsbook.deployment.looks import (
    Action,
    Enter,
    Finish,
    Seen,
    Stop,
    Wait,
    ailing,
    count,
    not_routed,
    others,
    strays,
    up,
)
from opsbook.deployment.model import Deployment, Outcome, Phase, Placement


def decide(deployment: Deployment, placement: Placement, seen: Seen) -> Action:
    """The next action.

    Args:
        deployment: as recorded. placement: as recorded; the proxy was given its table.
        seen: looks for every instance that the runtime knows of this service and environment.
    """
    prepared = deployment.phase not in (Phase.PENDING, Phase.GATED)
    if prepared and (left := strays(deployment, placement, seen)):
        return Stop(left)
    if deployment.phase is Phase.ABORTING:
        return go_back(deployment, placement, seen)
    if trouble := find_trouble(deployment, placement, seen):
        return trouble
    match deployment.phase:
        case Phase.PENDING if deployment.kind == "deploy":
            return Enter(Phase.GATED, "prepared; what the gates say comes next")
        case Phase.PENDING:  # the way back and what changes no version wait for nobody
            return _start(deployment)
        case Phase.GATED:
            return _pass(deployment, seen)
        case Phase.PROMOTING:
            # An instance may have died since it was last looked at: what is promoted is well now.
            if waiting := not_routed(deployment.instances, seen):
                return Wait(waiting)
            return promote(deployment, placement)
        case Phase.DRAINING:
            return _end(deployment, placement, seen)
    if deployment.kind == "scale":
        return scale(deployment, placement, seen)
    if deployment.strategy.type == "rolling":
        return roll(deployment, placement, seen)
    return switch(deployment, placement, seen)


def _pass(deployment: Deployment, seen: Seen) -> Action:
    """Through the gates, when all are open."""
    if barred := next((gate for gate in seen.gates if gate.status == "refused"), None):
        return Finish(Phase.FAILED, Outcome.FAILED, f"refused by the gate {barred.name}: {barred.detail}")
    if closed := [gate for gate in seen.gates if gate.status == "waiting"]:
        return Wait("; ".join(gate.detail for gate in closed))
    return _start(deployment)


def _start(deployment: Deployment) -> Enter:
    return Enter(Phase.STARTING, f"starting {count(len(deployment.instances))} of {deployment.version}")


def _end(deployment: Deployment, placement: Placement, seen: Seen) -> Action:
    """The old version leaves; then what the handbook wants done afterwards is done, and must succeed."""
    action = drain(deployment, placement, seen)
    barred = next((gate for gate in seen.gates if gate.status != "open"), None)
    if barred is None or not isinstance(action, Finish):
        return action
    if barred.status == "waiting":
        return Wait(barred.detail)
    reason = f"the gate {barred.name} after the deployment: {barred.detail}"
    if can_return(deployment, placement, seen):
        return Enter(Phase.ABORTING, reason)
    return Finish(
        Phase.DONE, Outcome.SUCCEEDED, f"{action.reason}; but {reason}, and nothing is left to go back to"
    )


# --- what is wrong


def find_trouble(deployment: Deployment, placement: Placement, seen: Seen) -> Action | None:
    """Why the deployment must not go on: a person's abort, or an instance that fails. Abort wins."""
    if deployment.abort is not None:
        if deployment.promoted and not can_return(deployment, placement, seen):
            reason = (
                f"the abort of {deployment.abort.by} came after {deployment.before.version or 'the old version'} "
                "had been stopped; roll back instead"
            )
            return Finish(Phase.DONE, Outcome.SUCCEEDED, reason)
        return Enter(Phase.ABORTING, deployment.abort.reason or f"aborted by {deployment.abort.by}")
    if deployment.promoted or deployment.phase in (Phase.PENDING, Phase.GATED):
        return None
    # Without its baseline a canary cannot begin; later the verdict says what it means that there is none.
    begins = deployment.phase in (Phase.STARTING, Phase.READY)
    for name in (*deployment.instances, *(deployment.baseline if begins else ())):
        look = seen.looks.get(name)
        if look is not None and (reason := ailing(deployment, look)):
            return Enter(Phase.ABORTING, reason, culprit=name)
    if seen.alarm:
        return Enter(Phase.ABORTING, seen.alarm)
    return None


def can_return(deployment: Deployment, placement: Placement, seen: Seen) -> bool:
    """Whether enough of the old release still runs to take the requests back after promotion."""
    releases = placement.instances()
    old = [
        name
        for name in others(deployment, placement)
        if up(seen, name) and releases[name] == deployment.before.release
    ]
    return bool(deployment.before.release) and len(old) >= max(1, deployment.before.replicas)
