"""The gates as pure decisions: what is open, what waits, what refuses, and until when."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.book import Freeze
from opsbook.deployment.freezes import AddedFreeze, active_freezes
from opsbook.deployment.gates import (
    FRESH,
    PATIENCE,
    ActiveFreeze,
    Approval,
    ChecklistRecord,
    CheckResult,
    Facts,
    Gate,
    HookResult,
    Item,
    Protection,
    Signature,
    changed_parts,
    gates,
    plan_hash,
    plan_parts,
)
from opsbook.deployment.looks import Enter, Finish, Seen, Wait
from opsbook.deployment.model import Deployment, Entry, Outcome, Phase, Placement, Release, Strategy
from opsbook.deployment.plan import decide

NOW = 1_800_000_000.0
DAY = 86400.0
SIGNED = Item(id="pre-told", text="Customer service knows", machine=False)
CHECKED = Item(id="pre-tests", text="Tests pass", machine=True)
BEFORE = Placement(environment="production", service="web")
DEPLOYMENT = Deployment(
    id="d-7", kind="deploy", service="web", environment="production", version="2.0", release="web-2", replicas=2,
    strategy=Strategy(name="blue-green", type="blue-green"), before=BEFORE, phase=Phase.GATED,
    requested_by="ben", when_busy="refuse",
)  # fmt: skip
RELEASE = Release(
    id="web-2", service="web", environment="production", version="2.0", digest="ab", folder="", config={}
)
PROTECTION = Protection(
    approvals=1, approvers=("team",), able=frozenset({"ben", "carol", "dora"}), expires=DAY
)
WEEKEND = ActiveFreeze(name="weekend", reason="Nobody is there", until=NOW + 3600)


BEFORE_OR_DRAINING = (
    Phase.PENDING,
    Phase.GATED,
    Phase.DRAINING,
)  # when it drains, the hooks after it are gates


def approval(person: str = "carol", *, at: float = NOW, plan: str = "plan") -> Approval:
    return Approval(deployment="d-7", person=person, plan=plan, at=at)


def facts(**changes: Any) -> Facts:
    return Facts(**{"now": NOW, "since": NOW, "deployment": DEPLOYMENT, "plan": "plan", **changes})


def gate(found: Facts, name: str) -> Gate:
    (one,) = [gate for gate in gates(found) if gate.name == name]
    return one


def test_where_nothing_is_asked_for_there_is_no_gate() -> None:
    """A handbook of one service deploys at once."""
    assert () == gates(facts())


@pytest.mark.parametrize("kind", ["rollback", "scale", "restart"])
@pytest.mark.parametrize("automatic", [True, False])
def test_the_way_back_passes_all_gates(kind: str, automatic: bool) -> None:
    """Whoever or whatever asked for it, in a freeze, unapproved, unchecked, with hooks that failed."""
    everything = facts(
        deployment=DEPLOYMENT.but(kind=kind, automatic=automatic),
        freezes=[WEEKEND],
        protection=PROTECTION,
        items=[SIGNED, CHECKED],
        promotion="never",
        hooks=[("false",)],
        hooks_run=[HookResult(command=("false",), passed=False)],
    )
    assert ["open"] == [gate.status for gate in gates(everything)]


# --- freezes


def test_a_freeze_refuses_at_once_and_says_when_it_ends() -> None:
    """Whoever did not ask to queue is told now, not in an hour."""
    found = gate(facts(freezes=[WEEKEND]), "freeze")
    assert ("refused", NOW + 3600) == (found.status, found.until)
    assert "frozen by weekend until 2027-01-15 09:00 UTC: Nobody is there" in found.detail


@pytest.mark.parametrize("policy", ["queue", "supersede"])
def test_who_asked_to_queue_waits_until_the_freeze_ends(policy: str) -> None:
    """Also when it begins while the deployment waits for something else."""
    waiting = facts(deployment=DEPLOYMENT.but(when_busy=policy), freezes=[WEEKEND])
    assert ("waiting", NOW + 3600) == (gate(waiting, "freeze").status, gate(waiting, "freeze").until)


def test_of_several_freezes_the_last_to_end_counts() -> None:
    """One without an end is the longest."""
    longer = ActiveFreeze(name="christmas", reason="-", until=NOW + 9 * DAY)
    endless = ActiveFreeze(name="for-good", reason="-", until=None)
    assert longer.until == gate(facts(freezes=[WEEKEND, longer]), "freeze").until
    assert "for-good" in gate(facts(freezes=[WEEKEND, endless, longer]), "freeze").detail


def test_a_freeze_lets_its_exceptions_through() -> None:
    """By the role of who asked, or for an incident that is open."""
    by_role = ActiveFreeze(name="weekend", reason="-", until=None, roles=("admin",))
    by_incident = ActiveFreeze(name="weekend", reason="-", until=None, incidents=True)
    incident = DEPLOYMENT.but(incident="i-3")
    assert "open" == gate(facts(freezes=[by_role], requester_roles={"admin"}), "freeze").status
    assert "refused" == gate(facts(freezes=[by_role], requester_roles={"operator"}), "freeze").status
    opened = facts(freezes=[by_incident], deployment=incident, incident_open=True)
    assert "open" == gate(opened, "freeze").status
    closed = gate(facts(freezes=[by_incident], deployment=incident, incident_open=False), "freeze")
    assert "refused" == closed.status
    assert "the incident i-3 is not open" in closed.detail
    # An exception of one freeze is none of another.
    assert "refused" == gate(facts(freezes=[by_role, WEEKEND], requester_roles={"admin"}), "freeze").status


def test_freezes_of_the_handbook_and_of_people_count_alike() -> None:
    """Where and what they cover, and while they hold."""
    written = Freeze.model_validate(
        {"name": "once", "reason": "-", "from": "2027-01-15T07:00", "until": "2027-01-15T10:00",
         "environments": ("production",)}
    )  # fmt: skip
    added = AddedFreeze(name="now", reason="-", services=("web",), until=NOW + 60, by="ana", at=NOW)
    names = [one.name for one in active_freezes([written], [added], "production", "web", NOW)]
    assert ["once", "now"] == names
    assert ["now"] == [one.name for one in active_freezes([written], [added], "staging", "web", NOW)]
    assert ["once"] == [one.name for one in active_freezes([written], [added], "production", "api", NOW)]
    assert () == active_freezes([written], [added], "production", "web", NOW + DAY)


@pytest.mark.parametrize("phase", [p for p in Phase if not p.final and p not in BEFORE_OR_DRAINING])
def test_what_has_passed_its_gates_is_not_stopped_by_a_freeze(phase: Phase) -> None:
    """Half a shift is riskier than a whole one: it goes on to its end, in every phase."""
    frozen = Seen(gates=(Gate("freeze", "refused", "frozen"),), serving=True)
    deployment = DEPLOYMENT.but(phase=phase, instances=("new-1",))
    assert decide(deployment, BEFORE, frozen) == decide(deployment, BEFORE, Seen(serving=True))


def test_a_deployment_at_its_gates_waits_ends_or_starts_as_they_say() -> None:
    """A refusal ends it as failed with the reason, before anything was touched."""
    refused = Seen(
        gates=(Gate("approvals", "waiting", "carol"), Gate("freeze", "refused", "frozen by weekend"))
    )
    ended = decide(DEPLOYMENT, BEFORE, refused)
    assert isinstance(ended, Finish)
    assert (Phase.FAILED, Outcome.FAILED) == (ended.phase, ended.outcome)
    assert "frozen by weekend" in ended.reason
    assert isinstance(decide(DEPLOYMENT, BEFORE, Seen(gates=refused.gates[:1])), Wait)
    begun = decide(DEPLOYMENT, BEFORE, Seen(gates=(Gate("approvals", "open", ""),)))
    assert isinstance(begun, Enter)
    assert Phase.STARTING is begun.phase


# --- approvals


def test_an_approval_of_this_plan_by_somebody_else_opens() -> None:
    """Named, with the time at which it stops to count."""
    assert "waiting" == gate(facts(protection=PROTECTION), "approvals").status
    found = gate(facts(protection=PROTECTION, approvals=[approval()]), "approvals")
    assert ("open", "approved by carol", NOW + DAY) == (found.status, found.detail, found.until)


@pytest.mark.parametrize(
    ("given_approval", "why"),
    [
        (approval("ben"), ""),  # who asked
        (approval("mallory"), "mallory may not approve any more"),
        (approval(at=NOW - DAY), "that of carol has expired"),
        (approval(plan="other"), "that of carol is for another plan"),
    ],
)
def test_an_approval_that_does_not_count_says_why(given_approval: Approval, why: str) -> None:
    """Own, by nobody who may, expired, or for another plan."""
    found = gate(facts(protection=PROTECTION, approvals=[given_approval]), "approvals")
    assert "waiting" == found.status
    assert why in found.detail


def test_two_approvals_are_of_two_people() -> None:
    """One person twice is one person."""
    two = Protection(approvals=2, approvers=("team",), able=frozenset({"carol", "dora"}), expires=DAY)
    assert "waiting" == gate(facts(protection=two, approvals=[approval("carol")]), "approvals").status
    both = [approval("carol"), approval("dora")]
    assert "open" == gate(facts(protection=two, approvals=both), "approvals").status


def test_where_nobody_else_can_approve_it_is_refused_at_once() -> None:
    """Waiting for what cannot come helps nobody."""
    alone = Protection(approvals=1, approvers=("ben",), able=frozenset({"ben"}), expires=DAY)
    found = gate(facts(protection=alone), "approvals")
    assert "refused" == found.status
    assert "1 more must approve, and nobody may who did not ask for it" in found.detail


def test_people_have_so_long_and_no_longer() -> None:
    """A deployment does not keep its lock for ever."""
    late = {"since": NOW - DAY, "now": NOW}
    assert "refused" == gate(facts(protection=PROTECTION, **late), "approvals").status
    assert "refused" == gate(facts(items=[SIGNED], since=NOW - PATIENCE), "checklist").status
    approved = [approval(at=NOW - 60)]
    assert "open" == gate(facts(protection=PROTECTION, approvals=approved, **late), "approvals").status


# --- checklist, promotion, hooks


def test_the_checklist_waits_for_its_signatures() -> None:
    """And names what is missing."""
    found = gate(facts(items=[SIGNED]), "checklist")
    assert "waiting" == found.status
    assert "Customer service knows" in found.detail
    signed = ChecklistRecord(signatures={SIGNED.id: Signature(person="carol", at=NOW)})
    assert "open" == gate(facts(items=[SIGNED], checklist=signed), "checklist").status


@pytest.mark.parametrize(("status", "expected"), [("passed", "open"), ("failed", "refused")])
def test_a_check_opens_or_refuses(status: Any, expected: str) -> None:
    """With the machine's words."""
    record = ChecklistRecord(
        checks={CHECKED.id: CheckResult(status=status, detail="3 failed")}, checked_at=NOW
    )
    found = gate(facts(items=[CHECKED], checklist=record), "checks")
    assert expected == found.status
    assert status == "passed" or found.detail == "Tests pass: 3 failed"


def test_what_no_machine_can_tell_a_person_must_sign() -> None:
    """Unknown is never passed."""
    unknown = ChecklistRecord(checks={CHECKED.id: CheckResult(status="unknown")}, checked_at=NOW)
    assert "waiting" == gate(facts(items=[CHECKED], checklist=unknown), "checklist").status
    signed = unknown.but(signatures={CHECKED.id: Signature(person="carol", at=NOW)})
    assert {"open"} == {gate.status for gate in gates(facts(items=[CHECKED], checklist=signed))}


def test_checks_are_made_anew_when_others_took_their_time() -> None:
    """What was true before somebody thought about it overnight may not be so in the morning."""
    record = ChecklistRecord(checks={CHECKED.id: CheckResult(status="passed")}, checked_at=NOW - FRESH - 1)
    waiting = facts(items=[CHECKED], checklist=record, protection=PROTECTION)
    assert "open" == gate(waiting, "checks").status  # not while it waits anyway
    approved = facts(items=[CHECKED], checklist=record, protection=PROTECTION, approvals=[approval()])
    assert "waiting" == gate(approved, "checks").status
    hooks = {"hooks": [("a",), ("b",)], "hooks_run": [HookResult(command=("a",), passed=True)]}
    begun = facts(items=[CHECKED], checklist=record, protection=PROTECTION, approvals=[approval()], **hooks)
    assert "open" == gate(begun, "checks").status


def test_a_release_that_has_not_succeeded_before_is_refused() -> None:
    """With the reason, and none where promotion is not asked for."""
    assert "refused" == gate(facts(promotion="2.0 has not succeeded in staging yet"), "promotion").status
    assert "open" == gate(facts(promotion=""), "promotion").status
    assert () == gates(facts(promotion=None))


def test_hooks_run_last_and_the_first_that_fails_refuses() -> None:
    """They may change things, so nothing else may be open."""
    command = ("make", "backup")
    early = gate(facts(hooks=[command], protection=PROTECTION), "hooks")
    assert ("waiting", True) == (early.status, "when everything else is settled" in early.detail)
    assert "the end of make backup" == gate(facts(hooks=[command]), "hooks").detail
    failed = [HookResult(command=command, passed=False, detail="exit code 2")]
    assert ("refused", "make backup: exit code 2") == (
        gate(facts(hooks=[command], hooks_run=failed), "hooks").status,
        gate(facts(hooks=[command], hooks_run=failed), "hooks").detail,
    )
    assert (
        "open"
        == gate(facts(hooks=[command], hooks_run=[HookResult(command=command, passed=True)]), "hooks").status
    )


# --- what is approved


ENTRY = Entry(listener="l", kind="http", address="127.0.0.1", port=8080)
CHANGES: dict[str, tuple[Deployment, Release, Entry | None]] = {
    "replicas": (DEPLOYMENT.but(replicas=3), RELEASE, ENTRY),
    "strategy": (DEPLOYMENT.but(strategy=DEPLOYMENT.strategy.but(watch=0.0)), RELEASE, ENTRY),
    "environment": (DEPLOYMENT.but(environment="staging"), RELEASE, ENTRY),
    "service": (DEPLOYMENT.but(service="api"), RELEASE, ENTRY),
    "entry": (DEPLOYMENT, RELEASE, ENTRY.but(port=9090)),
    "release": (DEPLOYMENT, RELEASE.but(digest="cd"), ENTRY),
}


@pytest.mark.parametrize("part", CHANGES)
def test_any_change_of_the_plan_changes_its_hash_and_is_named(part: str) -> None:
    """What is approved is exactly what is deployed."""
    before, after = plan_parts(DEPLOYMENT, RELEASE, ENTRY), plan_parts(*CHANGES[part])
    assert plan_hash(DEPLOYMENT, RELEASE, ENTRY) != plan_hash(*CHANGES[part])
    assert part == changed_parts(approval().but(parts=before), after)


@pytest.mark.parametrize(
    "change", [{"config": {"command": ["x"]}}, {"secrets": {"key": "v2"}}, {"version": "2.1"}]
)
def test_configuration_and_secrets_are_part_of_what_is_approved(change: dict[str, Any]) -> None:
    """A release with the same name and another content is another plan."""
    assert plan_hash(DEPLOYMENT, RELEASE, ENTRY) != plan_hash(DEPLOYMENT, RELEASE.but(**change), ENTRY)


def test_what_happens_while_it_waits_changes_no_plan() -> None:
    """Phase, transitions and who looked at it are not what is approved."""
    later = DEPLOYMENT.but(phase=Phase.PENDING, phase_at=5.0, reason="x", started_at=3.0)
    assert plan_hash(DEPLOYMENT, RELEASE, ENTRY) == plan_hash(later, RELEASE, ENTRY)


APPROVALS = st.lists(
    st.builds(
        approval,
        st.sampled_from(["ben", "carol", "dora", "mallory"]),
        at=st.floats(NOW - 2 * DAY, NOW),
        plan=st.sampled_from(["plan", "other"]),
    ),
    max_size=6,
)


@given(APPROVALS, st.integers(1, 3), st.booleans(), st.booleans(), st.booleans())
def test_nothing_starts_unapproved_or_in_a_freeze(
    approvals: list[Approval], needed: int, frozen: bool, held: bool, signed: bool
) -> None:
    """Whatever is put together: all open means all of it is so."""
    protection = Protection(approvals=needed, approvers=("team",), able=PROTECTION.able, expires=DAY)
    record = ChecklistRecord(signatures={SIGNED.id: Signature(person="carol", at=NOW)} if signed else {})
    found = gates(
        facts(
            protection=protection,
            approvals=approvals,
            freezes=[WEEKEND] if frozen else [],
            promotion="held" if held else "",
            items=[SIGNED],
            checklist=record,
        )
    )
    if all(gate.status == "open" for gate in found):
        good = {one.person for one in approvals if one.plan == "plan" and one.at + DAY > NOW}
        assert len(good & {"carol", "dora"}) >= needed
        assert (False, False, True) == (frozen, held, signed)
