"""The way back, from every phase. Pure."""

from __future__ import annotations

from opsbook.deployment.draining import stoppable, taking_out
from opsbook.deployment.looks import (
    Action,
    Finish,
    Reroute,
    Seen,
    Start,
    Stop,
    Wait,
    ailing,
    all_members,
    count,
    instance_names,
    missing,
    ready,
    routed_or_ready,
)
from opsbook.deployment.model import Deployment, Outcome, Phase, Placement


def go_back(deployment: Deployment, placement: Placement, seen: Seen) -> Action:
    """The old release gets every request at once if one of it is well; then it is made whole; then the new one goes."""
    before = deployment.before
    if not before.release:
        return _leave(deployment, placement, seen)
    if not touched(deployment, placement):
        if placement.entry != before.entry:
            return Reroute(placement.but(entry=before.entry), "requests come in where they did")
        return _send_off(deployment, placement, seen)
    releases = placement.instances()
    old = [n for n in releases if n not in deployment.instances and releases[n] == before.release]
    # One that died is the supervisor's to restart; only one that this deployment stopped is replaced.
    lacking = before.replicas - sum(
        1 for name in old if name in seen.looks and name not in deployment.backups
    )
    if lacking > len(deployment.backups):
        wanted = instance_names(deployment, range(1, lacking + 1), "b")
        return Start(before.release, tuple(name for name in wanted if name not in seen.looks), backup=True)
    if gone := missing(deployment.backups, seen):
        return Start(before.release, gone, backup=True)

    candidates = [*old, *(name for name in deployment.backups if name not in old and ready(seen, name))]
    well = [name for name in candidates if routed_or_ready(seen, name)]
    goal = _goal(deployment, placement, candidates, any_well=bool(well))
    if goal != placement or not seen.serving:
        return Reroute(goal, f"back to {before.version}", shift=True)
    for name in deployment.backups:
        if reason := ailing(deployment, seen.looks[name]):
            return _needs_human(deployment, f"the way back failed: {reason}")
    if unwell := [name for name in deployment.backups if not routed_or_ready(seen, name)]:
        return Wait(f"{count(len(unwell))} of {before.version} to become healthy again")
    if before.replicas and not well:
        if seen.elapsed < deployment.strategy.start_timeout:
            return Wait(f"{before.version} to become healthy again")
        return _needs_human(deployment, f"no instance of {before.version} is healthy")
    return _send_off(deployment, placement, seen)


def touched(deployment: Deployment, placement: Placement) -> bool:
    """Whether this deployment has changed anything about the old release or what the proxy knows."""
    was = deployment.before
    same = was.groups == placement.groups and was.weights == placement.weights
    return not same or bool(deployment.backups)


def _leave(deployment: Deployment, placement: Placement, seen: Seen) -> Action:
    """A first deployment has nothing to go back to: out of traffic and away."""
    if placement.weights:
        out = taking_out(placement, set(placement.instances())).but(weights={})
        return Reroute(out, "taken out of traffic", shift=True)
    return _send_off(deployment, placement, seen)


def _send_off(deployment: Deployment, placement: Placement, seen: Seen) -> Action:
    """The new instances finish their requests and stop."""
    known = all_members(placement)
    brought = (*deployment.instances, *deployment.baseline)
    new = {n: known.get(n, True) for n in brought if n in known or n in seen.looks}
    if standing := {name for name, draining in new.items() if not draining}:
        return Reroute(taking_out(placement, standing), f"{deployment.version} gets no new requests")
    if leaving := stoppable(deployment, placement, seen, new):
        return Stop(leaving)
    if new:
        return Wait(f"{count(len(new))} of {deployment.version} to finish their requests")
    if not deployment.before.release:
        if placement.entry != deployment.before.entry:
            return Reroute(placement.but(entry=deployment.before.entry), "requests come in nowhere")
        return _finish_back(deployment, "nothing serves: there was no earlier version")
    return _finish_back(deployment, f"{deployment.before.version} serves {deployment.subject}")


def _needs_human(deployment: Deployment, trouble: str) -> Finish:
    reason = f"{_why(deployment)}; and {trouble}; traffic stays on what is healthy"
    return Finish(Phase.FAILED_NEEDS_HUMAN, Outcome.FAILED, reason)


def _goal(deployment: Deployment, placement: Placement, old: list[str], *, any_well: bool) -> Placement:
    before = deployment.before
    goal = placement.with_members(before.release, dict.fromkeys(old, False)) if old else placement
    if any_well or not _live_weights(deployment, placement):
        brought = {*deployment.instances, *deployment.baseline}
        goal = taking_out(goal, {name for name in goal.instances() if name in brought})
        goal = goal.but(weights={before.release: 100} if old else {}, trial=None)
    return goal.but(
        release=before.release,
        version=before.version,
        strategy=before.strategy,
        replicas=before.replicas,
        previous=before.previous if _still_there(before, goal) else None,
        entry=before.entry,
    )


def _still_there(before: Placement, goal: Placement) -> bool:
    return before.previous is not None and bool(goal.members(before.previous.release))


def _live_weights(deployment: Deployment, placement: Placement) -> bool:
    return placement.weights.get(deployment.release, 0) > 0


def _finish_back(deployment: Deployment, now: str) -> Finish:
    reason = f"{_why(deployment)}; {now}"
    if deployment.abort is not None:
        outcome = Outcome.SUPERSEDED if deployment.abort.superseded_by else Outcome.ABORTED
        return Finish(Phase.ROLLED_BACK, outcome, reason)
    if not deployment.before.release:
        return Finish(Phase.FAILED, Outcome.FAILED, reason)
    return Finish(Phase.ROLLED_BACK, Outcome.ROLLED_BACK, reason)


def _why(deployment: Deployment) -> str:
    return deployment.reason or "aborted"
