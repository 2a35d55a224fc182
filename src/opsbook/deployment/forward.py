"""The way forward: switch (blue-green, canary, recreate), roll, scale, promote. Pure."""

from __future__ import annotations

from opsbook.deployment.budgets import HELD_FOR
from opsbook.deployment.draining import drained, retire, taking_out
from opsbook.deployment.judging import held
from opsbook.deployment.looks import (
    Action,
    Enter,
    Finish,
    Promote,
    Reroute,
    Seen,
    Start,
    Stop,
    Wait,
    count,
    missing,
    not_ready,
    not_routed,
    others,
    routed,
)
from opsbook.deployment.model import BASELINE, Deployment, Outcome, Phase, Placement, Trial, Warm


def switch(deployment: Deployment, placement: Placement, seen: Seen) -> Action:
    """Blue-green, canary, recreate, cold rollback: all new instances ready, then the weights move."""
    match deployment.phase:
        case Phase.STARTING:
            return _start(deployment, placement, seen)
        case Phase.READY:
            return _register(deployment, placement, seen)
        case Phase.SHIFTING:
            weights = step_weights(deployment, deployment.step)
            if placement.weights != weights or not seen.serving:
                message = shift_message(deployment, deployment.step)
                return Reroute(placement.but(weights=weights), message, shift=True)
            if is_watched(deployment, deployment.step):
                message = f"watching for {hold(deployment, deployment.step):g} s"
                return Enter(Phase.ANALYSING, message, deployment.step)
            return _next_step(deployment, seen)
        case Phase.ANALYSING:
            return held(deployment, seen, hold(deployment, deployment.step)) or _next_step(deployment, seen)
    raise AssertionError(deployment.phase)


def _start(deployment: Deployment, placement: Placement, seen: Seen) -> Action:
    if deployment.strategy.type == "recreate" and (old := others(deployment, placement)):
        return retire(placement, seen, deployment, old, "stopping the old version first")
    if lacking := missing(deployment.instances, seen):
        return Start(deployment.release, lacking)
    if lacking := missing(deployment.baseline, seen):
        return Start(deployment.before.release, lacking)
    if waiting := not_ready((*deployment.instances, *deployment.baseline), seen):
        return Wait(waiting)
    return Enter(Phase.READY, f"{count(len(deployment.instances))} healthy")


def _register(deployment: Deployment, placement: Placement, seen: Seen) -> Action:
    """Let the proxy check the new instances before any request depends on them."""
    release = deployment.release
    wanted = dict.fromkeys(deployment.instances, False)
    leftovers = {m.instance: True for m in placement.members(release) if m.instance not in wanted}
    known = {member.instance: member.draining for member in placement.members(release)}
    if wanted and known != wanted | leftovers:
        grown = placement.with_members(release, wanted | leftovers).but(trial=_trial(deployment))
        return Reroute(grown, "known to the proxy, without traffic yet")
    apart = dict.fromkeys(deployment.baseline, False)
    if apart and not placement.members(baseline_of(deployment)):
        return Reroute(
            placement.with_members(baseline_of(deployment), apart), "the baseline is known to the proxy"
        )
    if waiting := not_routed((*deployment.instances, *deployment.baseline), seen):
        return Wait(waiting)
    return _over_budget(deployment, seen, 0) or Enter(Phase.SHIFTING, shift_message(deployment, 0))


def _trial(deployment: Deployment) -> Trial | None:
    strategy = deployment.strategy
    if strategy.type != "canary" or deployment.kind != "deploy" or not deployment.before.release:
        return None
    return Trial(
        release=deployment.release, pin=strategy.pin, sticky=strategy.sticky, token=deployment.trial_token
    )


def _next_step(deployment: Deployment, seen: Seen) -> Action:
    step = deployment.step + 1
    if step < step_count(deployment):
        if held_back := _over_budget(deployment, seen, step):
            return held_back
        return Enter(Phase.SHIFTING, shift_message(deployment, step), step)
    return Enter(Phase.PROMOTING, f"{deployment.version} takes all requests")


def _over_budget(deployment: Deployment, seen: Seen, step: int) -> Action | None:
    """A canary gets no more requests than its service's error budget allows: it stays where it is until that is there
    again or somebody aborts, for a day at most."""
    if seen.ceiling is None or step_count(deployment) == 1:
        return None
    waiting = seen.ceiling.holds(step_weights(deployment, step).get(deployment.release, 0))
    if waiting and seen.elapsed >= HELD_FOR:
        return Enter(Phase.ABORTING, f"it waited a day for {waiting}")
    return Wait(waiting) if waiting else None


def roll(deployment: Deployment, placement: Placement, seen: Seen) -> Action:
    """A few at a time: never more than `max_surge` above and `max_unavailable` below the wanted number."""
    release = deployment.release
    old = _old(deployment, placement)
    started = [name for name in deployment.instances if name in seen.looks]

    if ended := drained(deployment, placement, seen, old):
        return Stop(ended)
    if startable := missing(deployment.instances, seen)[: _room(deployment, len(started) + len(old))]:
        return Start(release, startable)
    if deployment.phase is Phase.STARTING:
        if started and not any(seen.looks[name].ready for name in started):
            return Wait(not_ready(tuple(started), seen))
        return Enter(Phase.READY, "the first instance is healthy" if started else "nothing to start yet")
    if deployment.phase is Phase.READY:
        return Enter(Phase.SHIFTING, f"replacing {count(len(old))} one batch at a time")

    known = {member.instance for member in placement.members(release) if not member.draining}
    fresh = {name: False for name in started if seen.looks[name].ready and name not in known}
    grown = placement.with_members(release, fresh) if fresh else placement
    grown = grown.but(weights=weights_by_count(deployment, grown, seen))
    if grown != placement or not seen.serving:
        arrived = len(known & set(deployment.instances)) + len(fresh)
        return Reroute(grown, f"{arrived} of {len(deployment.instances)} new take requests", shift=True)

    if leaving := _leaving(deployment, seen, known, old):
        smaller = taking_out(placement, set(leaving))
        smaller = smaller.but(weights=weights_by_count(deployment, smaller, seen))
        return Reroute(smaller, f"{count(len(leaving))} of the old finish their requests", shift=True)
    if old:
        return Wait(f"{count(len(old))} of the old to finish their requests")
    if waiting := not_routed(deployment.instances, seen):
        return Wait(waiting)
    return Enter(Phase.PROMOTING, f"{deployment.version} takes all requests")


def _room(deployment: Deployment, running: int) -> int:
    """How many more may be started now."""
    strategy = deployment.strategy
    surge = strategy.max_surge or (0 if strategy.max_unavailable else 1)
    return max(0, max(deployment.replicas, deployment.before.replicas) + surge - running)


def _leaving(deployment: Deployment, seen: Seen, known: set[str], old: dict[str, bool]) -> list[str]:
    """Which of the old may leave now."""
    standing = [name for name, draining in old.items() if not draining]
    serving_new = sum(1 for name in deployment.instances if name in known and routed(seen, name))
    if serving_new == len(deployment.instances):
        return standing
    serving_old = [name for name in standing if routed(seen, name)]
    floor = min(deployment.before.replicas, deployment.replicas) - deployment.strategy.max_unavailable
    spare = max(0, serving_new + len(serving_old) - floor)
    # An old instance that serves nobody costs nothing to take away, but the last one is kept until a new one serves.
    idle = [name for name in standing if name not in serving_old] if serving_new + len(serving_old) else []
    return serving_old[:spare] + idle


def _old(deployment: Deployment, placement: Placement) -> dict[str, bool]:
    """The instances a roll replaces, to whether they drain: all others but the warm previous release."""
    warm = placement.previous.release if placement.previous else ""
    releases = placement.instances()
    keep = {warm} - {deployment.before.release, deployment.release}
    return {name: d for name, d in others(deployment, placement).items() if releases[name] not in keep}


def scale(deployment: Deployment, placement: Placement, seen: Seen) -> Action:
    """More: start, wait, add. Fewer: drain the youngest, stop."""
    release = deployment.release
    if deployment.phase is Phase.STARTING:
        if lacking := missing(deployment.instances, seen):
            return Start(release, lacking)
        if waiting := not_ready(deployment.instances, seen):
            return Wait(waiting)
        return Enter(Phase.READY, "ready")
    if deployment.phase is Phase.READY:
        return Enter(Phase.SHIFTING, f"to {count(deployment.replicas)}")
    members = {member.instance: member.draining for member in placement.members(release)}
    if fresh := {name: False for name in deployment.instances if name not in members}:
        return Reroute(
            placement.with_members(release, fresh).but(weights={release: 100}), f"{len(fresh)} added"
        )
    staying = [name for name, draining in members.items() if not draining]
    if surplus := staying[deployment.replicas :]:
        return Reroute(taking_out(placement, set(surplus)), f"{count(len(surplus))} finish their requests")
    leaving = {name: True for name, draining in members.items() if draining}
    if ended := drained(deployment, placement, seen, leaving):
        return Stop(ended)
    if leaving:
        return Wait(f"{count(len(leaving))} to finish their requests")
    if waiting := not_routed(deployment.instances, seen):
        return Wait(waiting)
    return Enter(Phase.PROMOTING, f"{count(deployment.replicas)} serve")


def promote(deployment: Deployment, placement: Placement) -> Action:
    before = deployment.before
    previous = placement.previous
    if deployment.kind in ("deploy", "rollback") and before.release != deployment.release:
        kept = deployment.kind == "deploy" and deployment.strategy.keep_previous > 0
        kept = kept and before.release != "" and bool(placement.members(before.release))
        # `until` is filled in by the workflow, which has the clock.
        previous = Warm(release=before.release, version=before.version, until=0.0) if kept else None
    standing = any(not member.draining for member in placement.members(deployment.release))
    promoted = placement.but(
        release=deployment.release,
        version=deployment.version,
        strategy=deployment.strategy.name if deployment.kind == "deploy" else before.strategy,
        replicas=deployment.replicas,
        weights={deployment.release: 100} if standing else {},
        previous=previous,
        trial=None,
        deployment=deployment.id,
    )
    return Promote(promoted, f"{deployment.version} is the version of {deployment.subject}")


def drain(deployment: Deployment, placement: Placement, seen: Seen) -> Action:
    """After promotion: what served until now leaves, unless it stays warm.

    A release that had no requests any more is not waited for: `leftovers` are put away by the steward.
    """
    stays = {deployment.release, placement.previous.release if placement.previous else ""}
    served = {deployment.before.release, baseline_of(deployment)}
    releases = placement.instances()
    leaving = {
        name: draining
        for name, draining in others(deployment, placement).items()
        if draining or (releases[name] in served and releases[name] not in stays)
    }
    if leaving:
        return retire(placement, seen, deployment, leaving, "the old version finishes its requests")
    if not seen.serving:
        # Without a watch window it was the promotion that ended what the old version stood in for.
        return Reroute(placement, f"{deployment.version} serves by itself")
    return Finish(Phase.DONE, Outcome.SUCCEEDED, f"{deployment.version} serves {deployment.subject}")


def leftovers(placement: Placement) -> frozenset[str]:
    """Releases that still run although they neither serve nor stay warm; only meant between deployments."""
    stays = {placement.release, placement.previous.release if placement.previous else ""}
    return frozenset(group.release for group in placement.groups if group.release not in stays)


def step_count(deployment: Deployment) -> int:
    if deployment.strategy.type != "canary" or deployment.kind != "deploy" or not deployment.before.release:
        return 1
    if not deployment.instances or not deployment.before.weights:
        return 1
    return len(deployment.strategy.steps) + 1


def hold(deployment: Deployment, step: int) -> float:
    return deployment.strategy.steps[step].hold if step < step_count(deployment) - 1 else 0.0


def is_watched(deployment: Deployment, step: int) -> bool:
    """Whether this step is stayed at: for its time, or, where it has none, until it has been judged."""
    strategy = deployment.strategy
    judged = bool(strategy.analysis) and not strategy.dry_run
    return hold(deployment, step) > 0 or (judged and step < step_count(deployment) - 1)


def baseline_of(deployment: Deployment) -> str:
    """The name under which fresh instances of the stable release stand apart from the old ones."""
    return f"{deployment.before.release}{BASELINE}"


def step_weights(deployment: Deployment, step: int) -> dict[str, int]:
    if not deployment.instances:
        return {}
    if step >= step_count(deployment) - 1:
        return {deployment.release: 100}
    share = deployment.strategy.steps[step].weight
    apart = min(share, 100 - share) if deployment.baseline else 0
    weights = {
        deployment.release: share,
        baseline_of(deployment): apart,
        deployment.before.release: 100 - share - apart,
    }
    return {release: weight for release, weight in weights.items() if weight > 0}


def shift_message(deployment: Deployment, step: int) -> str:
    share = step_weights(deployment, step).get(deployment.release, 0)
    return f"{share} % of requests to {deployment.version}"


def weights_by_count(deployment: Deployment, placement: Placement, seen: Seen) -> dict[str, int]:
    """Weights in proportion to the instances that take requests; a warm release that is not asked for takes none.

    A release has no weight before the proxy itself calls one of its instances healthy, unless no release has such.
    """
    taking = {deployment.release, deployment.before.release}
    standing = {g.release: [m.instance for m in g.members if not m.draining] for g in placement.groups}
    counts = {release: len(names) for release, names in standing.items() if names and release in taking}
    healthy = {release for release in counts if any(routed(seen, name) for name in standing[release])}
    return {release: n for release, n in counts.items() if not healthy or release in healthy}
