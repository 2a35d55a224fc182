"""What people are shown of a deployment under way: sides, shares, gates, verdict."""

from __future__ import annotations

from typing import Any

from opsbook.deployment.looks import Gate
from opsbook.deployment.model import (
    BASELINE,
    CanaryStep,
    Deployment,
    Group,
    Member,
    Outcome,
    Phase,
    Placement,
    Strategy,
)
from opsbook.deployment.views import deployment_view, service_view

STEPS = (CanaryStep(weight=10, hold=1800.0), CanaryStep(weight=50, hold=60.0))
CANARY = Strategy(name="careful", type="canary", steps=STEPS)


def group(release: str, *names: str) -> Group:
    return Group(release=release, members=tuple(Member(instance=name) for name in names))


BEFORE = Placement(
    environment="production", service="web", release="web-aa", version="2.0", weights={"web-aa": 100},
    groups=(group("web-aa", "old-1"),),
)  # fmt: skip
NOW = BEFORE.but(
    groups=(group("web-aa", "old-1"), group("web-bb", "new-1")), weights={"web-bb": 1, "web-aa": 9}
)


def deployment(**changes: Any) -> Deployment:
    begun = Deployment(
        id="d-91", kind="deploy", service="web", environment="production", version="2.1", strategy=CANARY,
        replicas=1, release="web-bb", instances=("new-1",), before=BEFORE, phase=Phase.ANALYSING,
    )  # fmt: skip
    return begun.but(**changes)


def test_a_canary_tells_its_sides_with_their_shares() -> None:
    """In percent, whatever the weights sum up to; what the runtime does not know is missing."""
    view = deployment_view(deployment(), "", placement=NOW, healthy={"new-1": True})
    assert view["weights"] == {"2.1": 10, "2.0": 90}
    assert [(one["instance"], one["role"], one["healthy"], one["state"]) for one in view["members"]] == [
        ("new-1", "canary", True, "missing"),
        ("old-1", "stable", False, "missing"),
    ]
    assert (view["step"], view["steps_total"], view["hold_seconds"]) == (0, 3, 1800.0)


def test_one_version_on_two_sides_has_its_role_in_its_name() -> None:
    """A deployment that changes configuration only, compared with a baseline."""
    strategy = CANARY.but(baseline=True)
    placement = NOW.but(
        groups=(*NOW.groups, group(f"web-aa{BASELINE}", "base-1")),
        weights={"web-bb": 10, "web-aa": 80, f"web-aa{BASELINE}": 10},
    )
    same = deployment(version="2.0", strategy=strategy, baseline=("base-1",))
    view = deployment_view(same, "", placement=placement)
    assert view["weights"] == {"2.0 canary": 10, "2.0": 80, "2.0 baseline": 10}
    assert [one["role"] for one in view["members"]] == ["canary", "stable", "baseline"]


def test_a_service_tells_its_baseline_by_version() -> None:
    """A release's inner name is nobody's word."""
    placement = NOW.but(weights={"web-bb": 10, "web-aa": 80, f"web-aa{BASELINE}": 10})
    view = service_view(placement, {}, {}, {"web-aa": "2.0", "web-bb": "2.1"}, None)
    assert {"2.1": 10, "2.0": 80, "2.0 baseline": 10} == view["weights"]


def test_what_has_ended_tells_no_sides() -> None:
    """What stands there now may be another deployment's."""
    ended = deployment(phase=Phase.DONE, outcome=Outcome.SUCCEEDED)
    view = deployment_view(ended, "", placement=NOW)
    assert (view["weights"], view["members"]) == ({}, [])


def test_gates_and_the_verdict_are_told() -> None:
    """The chart's points are not: they are many, and asked for by themselves."""
    judged = {"verdict": "pass", "reason": "as good", "rules": [], "points": [1, 2], "bounds": None}
    gates = [
        Gate("approval", "waiting", "by ana"),
        {"name": "freeze", "status": "waiting", "detail": "", "until": 7.0},
    ]
    view = deployment_view(deployment(), "", gates=gates, analysis=judged)
    assert view["analysis"] == {"verdict": "pass", "reason": "as good", "rules": []}
    assert [(gate["name"], gate["until"]) for gate in view["gates"]] == [("approval", None), ("freeze", 7.0)]
    assert deployment_view(deployment(), "")["analysis"] is None
