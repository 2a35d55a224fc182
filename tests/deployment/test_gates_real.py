"""Gates before real deployments: a person says yes, a freeze begins, a hook fails; the way back is always open."""

from __future__ import annotations

from pathlib import Path

from workshop import Workshop, until

from opsbook.security.model import Identity
from opsbook.security.room import local_operator

PROTECT = "protect: {approvals: 1, approvers: [carol, ana]}\n"


def protected(workshop: Workshop, extra: str = PROTECT) -> None:
    """The workshop's environment with people who may approve, ana among them, who deploys."""
    workshop.book(
        "opsbook.yaml",
        "name: test\nowner: ana\n"
        "contacts: {ana: {email: a@x.example}, carol: {email: c@x.example}, dora: {email: d@x.example}}\n",
    )
    workshop.book("security/roles.yaml", "roles: {ana: [admin], carol: [approver], dora: [operator]}\n")
    workshop.environment(extra=extra)
    workshop.handbook.refresh()


def person(workshop: Workshop, name: str) -> Identity:
    grants = workshop.handbook.current().grants(name)
    return Identity(name=name, grants=grants, authenticated=True, via="token")


def status(workshop: Workshop, name: str) -> dict[str, str]:
    return {gate["name"]: gate["status"] for gate in workshop.room.view(name)["gates"]}


def test_nothing_starts_before_somebody_else_says_yes(workshop: Workshop) -> None:
    """The gate holds through a start of opsbook; the yes lets it go on to its end."""
    protected(workshop)
    waiting = workshop.deploy("1.0", wait=False)
    workshop.in_phase(waiting["id"], "gated")
    assert {"approvals": "waiting"} == status(workshop, waiting["id"])
    workshop.close()
    workshop.open()
    workshop.in_phase(waiting["id"], "gated")
    assert [] == list(workshop.runtime.instances("local", "web"))
    workshop.room.gatekeeper.approvals.approve(waiting["id"], person(workshop, "carol"), "fine")
    ended = workshop.ended(waiting["id"])
    assert ("succeeded", 200) == (ended["outcome"], workshop.get()[0])


def test_an_abort_wins_while_it_waits_for_approval(workshop: Workshop) -> None:
    """And the lock is free again."""
    protected(workshop)
    waiting = workshop.deploy("1.0", wait=False)
    workshop.in_phase(waiting["id"], "gated")
    workshop.room.requests.abort(waiting["id"], "changed my mind", "ana")
    assert "aborted" == workshop.ended(waiting["id"])["outcome"]
    until(lambda: not workshop.room.locks(), what="the lock to be given back")


def test_in_a_freeze_nothing_is_deployed_but_the_way_back_is_open(workshop: Workshop) -> None:
    """What had begun goes on; what comes is refused with the time; what queues waits; a rollback passes."""
    workshop.deploy("1.0")
    workshop.environment(extra="")
    under_way = workshop.deploy("2.0", wait=False)
    workshop.in_phase(under_way["id"], "starting", "ready", "shifting", "promoting", "draining", "done")
    freezes, admin = workshop.room.gatekeeper.freezes, local_operator("root")
    freezes.add("now", admin, reason="Nobody is there", until=workshop.clock.now() + 3600)
    assert "succeeded" == workshop.ended(under_way["id"])["outcome"]
    refused = workshop.deploy("3.0")
    assert "failed" == refused["outcome"]
    assert "frozen by now until" in refused["reason"]
    assert "Nobody is there" in refused["reason"]
    assert "succeeded" == workshop.rollback()["outcome"]
    assert "1.0" in workshop.get()[1]
    queued = workshop.deploy("3.0", wait=False, when_busy="queue")
    workshop.in_phase(queued["id"], "gated")
    freezes.lift("now", admin)
    assert "succeeded" == workshop.ended(queued["id"])["outcome"]


def test_a_failing_hook_before_leaves_everything_as_it_was(workshop: Workshop) -> None:
    """The reason has the command and its last words."""
    workshop.deploy("1.0")
    protected(workshop, 'hooks: {before: [["sh", "-c", "echo no space; exit 4"]]}\n')
    refused = workshop.deploy("2.0")
    assert "failed" == refused["outcome"]
    assert "exit code 4: no space" in refused["reason"]
    assert "1.0" in workshop.get()[1]


def test_a_failing_hook_after_takes_the_deployment_back(workshop: Workshop) -> None:
    """While the old version is still warm, so that no request is lost."""
    workshop.deploy("1.0")
    marker = Path(workshop.root) / "hook"
    protected(workshop, f'hooks: {{after: [["sh", "-c", "echo $OPSBOOK_VERSION >> {marker}; exit 5"]]}}\n')
    ended = workshop.deploy("2.0")
    assert "2.0\n" == marker.read_text()
    assert "rolled_back" == ended["outcome"]
    assert "exit code 5" in ended["reason"]
    assert "1.0" in workshop.get()[1]
