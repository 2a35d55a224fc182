"""How instances leave traffic: no new requests, then the ones under way end, then they stop. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from opsbook.deployment.looks import Action, Reroute, Seen, Stop, Wait, active, count
from opsbook.deployment.model import Deployment, Placement

DRAIN_SETTLE = 0.2
"""Seconds a drained instance must show no request before it counts as drained: the proxy's workers take a new route
table over one after the other, and a request that was just admitted must have become visible."""


def retire(
    placement: Placement, seen: Seen, deployment: Deployment, leaving: Mapping[str, bool], message: str
) -> Action:
    """Take `leaving` out of traffic, wait for their requests, stop them."""
    if standing := {name for name, draining in leaving.items() if not draining}:
        return Reroute(taking_out(placement, standing), message)
    if ended := drained(deployment, placement, seen, leaving):
        return Stop(ended)
    return Wait(f"{count(len(leaving))} to finish {sum(active(seen, name) for name in leaving)} requests")


def drained(
    deployment: Deployment, placement: Placement, seen: Seen, leaving: Mapping[str, bool]
) -> tuple[str, ...]:
    """Those of `leaving` that are draining and have no request left, or whose time is up."""
    gone = placement.draining()
    return tuple(name for name in leaving if name in gone and _finished(deployment, seen, name))


def stoppable(
    deployment: Deployment, placement: Placement, seen: Seen, leaving: Mapping[str, bool]
) -> tuple[str, ...]:
    """As `_drained`, and also what traffic never knew."""
    known = placement.instances()
    unknown = tuple(name for name in leaving if name not in known)
    return unknown + drained(deployment, placement, seen, leaving)


def _finished(deployment: Deployment, seen: Seen, name: str) -> bool:
    look = seen.looks.get(name)
    if look is None or not look.up or not seen.has_port:
        return True
    if look.draining_for > deployment.strategy.drain_timeout:
        return True
    return look.active == 0 and look.draining_for >= DRAIN_SETTLE


def taking_out(placement: Placement, instances: set[str]) -> Placement:
    groups = tuple(
        group.but(members=tuple(m.but(draining=m.draining or m.instance in instances) for m in group.members))
        for group in placement.groups
    )
    changed = placement.but(groups=groups)
    living = {g.release for g in groups if any(not m.draining for m in g.members)}
    if all(release in living for release, weight in placement.weights.items() if weight):
        return changed
    return changed.but(weights={r: w for r, w in placement.weights.items() if r in living})
