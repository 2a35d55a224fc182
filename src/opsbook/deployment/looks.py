"""What was seen of the world, what may be done next, and small questions over both. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from opsbook.deployment.budgets import Ceiling
from opsbook.deployment.model import Deployment, Outcome, Phase, Placement


@dataclass(frozen=True, slots=True)
class Look:
    """One instance, just now."""

    id: str
    release: str
    up: bool  # its process is there
    ready: bool  # asked directly, it answered well for as long as the strategy wants
    routed: bool  # the proxy itself calls it healthy; for a service without a port the same as `ready`
    active: int = 0  # requests or connections under way
    crashes: int = 0  # unplanned ends lately
    unready_for: float = 0.0  # seconds since it was started or last ready
    was_ready: bool = False
    draining_for: float = 0.0
    failed: str = ""  # it cannot be started, and why
    detail: str = ""  # the last probe's words


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the analysis says now of the step that is held."""

    kind: Literal["pass", "fail", "inconclusive", "error", "no_data"]
    reason: str


@dataclass(frozen=True, slots=True)
class Gate:
    """Something that may stand between a deployment and its start."""

    name: str
    status: Literal["open", "waiting", "refused"]
    detail: str
    until: float | None = None  # when it opens or closes by itself, UTC epoch seconds


@dataclass(frozen=True, slots=True)
class Seen:
    """The world, just now. `elapsed` is seconds in the present phase by a clock that cannot jump."""

    looks: Mapping[str, Look] = field(default_factory=dict)
    elapsed: float = 0.0
    has_port: bool = True
    serving: bool = True  # the proxy serves the table of the present placement
    verdict: Verdict | None = None  # None: nothing to judge
    gates: tuple[Gate, ...] = ()
    alarm: str = ""  # the alert that condemns the new version
    ceiling: Ceiling | None = None  # what a canary may have of the requests; None: all of them


@dataclass(frozen=True, slots=True)
class Start:
    """Start these instances of this release."""

    release: str
    instances: tuple[str, ...]
    backup: bool = False  # they replace ones of the old release on the way back


@dataclass(frozen=True, slots=True)
class Reroute:
    """Make this the placement and wait until it is serving."""

    placement: Placement
    message: str
    shift: bool = False  # it moves requests from one release to another


@dataclass(frozen=True, slots=True)
class Stop:
    """End these instances and forget them."""

    instances: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Enter:
    """Go to a phase."""

    phase: Phase
    message: str
    step: int = 0
    culprit: str = ""  # the instance whose log explains it


@dataclass(frozen=True, slots=True)
class Promote:
    """The new release is the one from now on."""

    placement: Placement
    message: str


@dataclass(frozen=True, slots=True)
class Finish:
    phase: Phase
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again soon; `waiting_for` is what a person is told."""

    waiting_for: str


Action = Start | Reroute | Stop | Enter | Promote | Finish | Wait

UNHEALTHY_GRACE = 3.0
"""Seconds an instance that serves may be unhealthy before the deployment is taken back."""


def ailing(deployment: Deployment, look: Look) -> str:
    """Why this instance condemns its release, or an empty string."""
    strategy = deployment.strategy
    if look.failed:
        return f"{look.id} cannot be started: {look.failed}"
    if look.crashes > strategy.crash_loop and "crash" in strategy.rollback_on:
        return (
            f"{look.id} is in a crash loop: ended {look.crashes} times, last with {look.detail or 'no word'}"
        )
    if look.ready:
        return ""
    if not look.was_ready and look.unready_for > strategy.start_timeout:
        return f"{look.id} was not healthy within {strategy.start_timeout:g} s: {look.detail}"
    if look.was_ready and look.unready_for > UNHEALTHY_GRACE and "health" in strategy.rollback_on:
        return f"{look.id} became unhealthy: {look.detail}"
    return ""


def others(deployment: Deployment, placement: Placement) -> dict[str, bool]:
    """Members that this deployment did not bring, to whether they drain."""
    return {name: d for name, d in all_members(placement).items() if name not in deployment.instances}


def all_members(placement: Placement) -> dict[str, bool]:
    return {member.instance: member.draining for group in placement.groups for member in group.members}


def strays(deployment: Deployment, placement: Placement, seen: Seen) -> tuple[str, ...]:
    """Instances that traffic knows no more and that this deployment did not bring.

    They were taken out of the placement to be stopped, and opsbook died before it stopped them. The baseline is
    brought for the comparison only, so after the promotion it is none of the deployment's any more.
    """
    known = {*placement.instances(), *deployment.instances, *deployment.backups}
    if not deployment.promoted:
        known |= set(deployment.baseline)
    return tuple(name for name in seen.looks if name not in known)


def missing(instances: tuple[str, ...], seen: Seen) -> tuple[str, ...]:
    return tuple(name for name in instances if name not in seen.looks)


def not_ready(instances: tuple[str, ...], seen: Seen) -> str:
    for name in instances:
        look = seen.looks.get(name)
        if look is None or not look.ready:
            return f"{name} to become healthy" + (f" ({look.detail})" if look and look.detail else "")
    return ""


def not_routed(instances: tuple[str, ...], seen: Seen) -> str:
    for name in instances:
        look = seen.looks.get(name)
        if look is None or not look.routed:
            return f"the proxy to see {name} healthy"
    return ""


def ready(seen: Seen, name: str) -> bool:
    return (look := seen.looks.get(name)) is not None and look.ready


def routed(seen: Seen, name: str) -> bool:
    return (look := seen.looks.get(name)) is not None and look.routed


def routed_or_ready(seen: Seen, name: str) -> bool:
    return (look := seen.looks.get(name)) is not None and look.up and (look.routed or look.ready)


def up(seen: Seen, name: str) -> bool:
    return (look := seen.looks.get(name)) is not None and look.up


def active(seen: Seen, name: str) -> int:
    return look.active if (look := seen.looks.get(name)) else 0


def count(number: int) -> str:
    return "1 instance" if number == 1 else f"{number} instances"


def instance_names(deployment: Deployment, numbers: range, role: str = "") -> tuple[str, ...]:
    """Ids that follow from the deployment alone, so that a start after a crash finds what it started before."""
    stem = f"{deployment.service}-{deployment.environment}-{deployment.id.replace('-', '')}"
    return tuple(f"{stem}-{role}{number}" for number in numbers)
