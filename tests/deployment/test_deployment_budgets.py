"""Error budgets in the way of a deployment: a canary is held, and where the policy says so, nothing begins."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_deployment_gates import DEPLOYMENT, NOW
from test_deployment_judged import CANARY

from opsbook.deployment.budgets import HELD_FOR, Ceiling, Unlimited, excepted
from opsbook.deployment.forward import step_weights
from opsbook.deployment.gates import Facts, gates
from opsbook.deployment.looks import Enter, Look, Seen, Verdict, Wait
from opsbook.deployment.model import Deployment, Entry, Group, Member, Phase, Placement
from opsbook.deployment.plan import decide

SPENT = Unlimited(
    allowed=False, max_weight=10, reason="the error budget of web is spent", roles=("admin",), incidents=True
)
OLD = Placement(
    environment="production", service="web", release="web-1", version="1.0", replicas=1,
    groups=(Group(release="web-1", members=(Member(instance="old-1"),)),), weights={"web-1": 100},
    entry=Entry(listener="test", kind="http", address="127.0.0.1", port=8080),
)  # fmt: skip


def canary(phase: Phase, step: int) -> tuple[Deployment, Placement]:
    deployment = DEPLOYMENT.but(
        strategy=CANARY, before=OLD, phase=phase, step=step, replicas=1, instances=("new-1",)
    )
    grown = OLD.with_members("web-2", {"new-1": False})
    return deployment, grown.but(weights=step_weights(deployment, step))


def seen(ceiling: Ceiling | None, elapsed: float = 3600.0) -> Seen:
    looks = {
        name: Look(id=name, release=release, up=True, ready=True, routed=True, was_ready=True)
        for name, release in (("old-1", "web-1"), ("new-1", "web-2"))
    }
    return Seen(looks=looks, elapsed=elapsed, verdict=Verdict("pass", "all is well"), ceiling=ceiling)


def test_a_canary_stays_below_the_ceiling_until_the_budget_is_there_again() -> None:
    """It waits with its reason, goes on without a ceiling, and one that fails meanwhile is still taken back."""
    deployment, placement = canary(Phase.ANALYSING, 0)
    share = step_weights(deployment, 0)["web-2"]
    ceiling = Ceiling(share, SPENT.reason)
    waiting = f"the error budget before more than {share} % of requests: the error budget of web is spent"
    assert Wait(waiting) == decide(deployment, placement, seen(ceiling))
    onward = decide(deployment, placement, seen(None))
    assert isinstance(onward, Enter)
    assert (Phase.SHIFTING, 1) == (onward.phase, onward.step)
    failing = replace(seen(ceiling), verdict=Verdict("fail", "too many errors"))
    taken_back = decide(deployment, placement, failing)
    assert isinstance(taken_back, Enter)
    assert Phase.ABORTING is taken_back.phase


def test_a_first_step_above_the_ceiling_gets_no_requests_at_all() -> None:
    """It is ready, and stays without."""
    deployment, placement = canary(Phase.READY, 0)
    waiting = placement.but(weights={"web-1": 100})
    action = decide(deployment, waiting, seen(Ceiling(0, SPENT.reason)))
    while not isinstance(action, Wait):
        assert not isinstance(action, Enter), action
        waiting = action.placement  # type: ignore[union-attr]
        action = decide(deployment, waiting, seen(Ceiling(0, SPENT.reason)))
    assert "the error budget before more than 0 % of requests" in action.waiting_for


def test_it_does_not_wait_for_ever() -> None:
    """After a day it is taken back, so that others may deploy."""
    deployment, placement = canary(Phase.ANALYSING, 0)
    action = decide(deployment, placement, seen(Ceiling(1, SPENT.reason), HELD_FOR + 1))
    assert isinstance(action, Enter)
    assert (Phase.ABORTING, True) == (action.phase, "waited a day for" in action.message)


@pytest.mark.parametrize(
    ("changes", "roles", "open_", "status"),
    [
        ({}, (), False, "refused"),
        ({"when_busy": "queue"}, (), False, "waiting"),
        ({}, ("admin",), False, "open"),
        ({"incident": "inc-1"}, (), True, "open"),
        ({"incident": "inc-1"}, (), False, "refused"),
    ],
)
def test_a_policy_that_blocks_lets_nothing_begin_but_its_exceptions(
    changes: dict[str, str], roles: tuple[str, ...], open_: bool, status: str
) -> None:
    """Roles, and what is for an open incident."""
    facts = Facts(
        now=NOW, since=NOW, deployment=DEPLOYMENT.but(**changes), plan="p", requester_roles=roles,
        incident_open=open_, budget=SPENT,
    )  # fmt: skip
    found = {gate.name: gate.status for gate in gates(facts)}
    assert status == found["budget"]


def test_what_only_limits_canaries_is_no_gate() -> None:
    """Nor is a budget that is there."""
    for budget in (Unlimited(max_weight=10, reason="spent"), Unlimited(), None):
        assert () == gates(Facts(now=NOW, since=NOW, deployment=DEPLOYMENT, plan="p", budget=budget))
    assert not excepted(Unlimited(), ("admin",), incident_open=True)
