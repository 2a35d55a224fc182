"""Approving, freezing, signing, checking and releasing against a real journal, a real handbook and real commands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opsbook.book import Book, TextFiles, load
from opsbook.deployment.budgets import Unlimited
from opsbook.deployment.gatekeeper import Gatekeeper
from opsbook.deployment.looks import Gate
from opsbook.deployment.model import (
    Abort,
    Deployment,
    Entry,
    Hold,
    Outcome,
    Phase,
    Placement,
    Release,
    Strategy,
)
from opsbook.deployment.records import (
    COUNTER,
    Records,
    abort_key,
    deployment_key,
    open_key,
    placement_key,
    release_key,
)
from opsbook.deployment.turns import lease_subject
from opsbook.errors import Conflict, Invalid, Locked, NotAllowed, NotFound
from opsbook.journal import Journal
from opsbook.security.model import Identity
from opsbook.security.room import local_operator

PEOPLE = ("alice", "ben", "carol", "dora")
PROTECT = "protect: {approvals: 1, approvers: [team], expires: 24h}"
PRODUCTION = "environment: production\nentry: {port: 8080}\npromote_from: staging\nservices: {web: {}}\n"
STAGING = "environment: staging\nentry: {port: 8081}\nservices: {web: {}}\n"
ROLES = "roles: {alice: [admin], ben: [operator], carol: [approver, operator], dora: [operator]}\n"
ENTRY = Entry(listener="l", kind="http", address="127.0.0.1", port=8080)


class TellableClock:
    """Stands still until told; what lasts, lasts in real time."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class House:
    """A gatekeeper and what it stands on."""

    journal: Journal
    clock: TellableClock
    root: Path
    files: dict[str, str] = field(default_factory=dict)
    book: Book = field(init=False)
    keeper: Gatekeeper = field(init=False)

    def __post_init__(self) -> None:
        contacts = ", ".join(f"{name}: {{email: {name}@x.example}}" for name in PEOPLE)
        self.files = {
            "opsbook.yaml": f"name: shop\nowner: ben\ncontacts: {{{contacts}, team: {{members: [ben, carol]}}}}\n",
            "services/web.yaml": 'service: web\nrun: {command: ["true", "{port}"], port: http}\nsource: {path: .}\n',
            "environments/staging.yaml": STAGING,
            "environments/production.yaml": f"{PRODUCTION}require_promotion: false\n",
            "security/roles.yaml": ROLES,
        }
        self.write()
        site: Any = SimpleNamespace(
            book=lambda: self.book,
            journal=self.journal,
            records=Records(self.journal),
            clock=self.clock,
            root=self.root,
            secrets=SimpleNamespace(mask=lambda text: text.replace("hunter2", "***")),
            runtime=SimpleNamespace(instances=lambda *_: ()),
            budget=lambda *_: Unlimited(),
            incident_open=lambda _: False,
            telemetry=SimpleNamespace(named=lambda *_, **__: None),
        )
        self.site = site
        self.keeper = Gatekeeper(site, book_errors=list, status_of=lambda method, url, timeout: 200)

    def write(self, **files: str) -> None:
        """Handbook files by name with ``__`` for the slash and without ``.yaml``; read again at once."""
        for name, text in files.items():
            path = name.replace("__", "/")
            self.files[f"{path}.md" if path.endswith("checklist") else f"{path}.yaml"] = text
        self.book = load(TextFiles.of(self.files))

    def production(self, extra: str) -> None:
        self.write(environments__production=f"{PRODUCTION}{extra}\n")

    def deployment(self, **changes: Any) -> Deployment:
        """One that waits at its gates, asked for by ben."""
        number = int(self.journal.state.get(COUNTER) or 0) + 1
        wanted = {
            "id": f"d-{number}", "kind": "deploy", "service": "web", "environment": "production", "version": "2.0",
            "release": "web-2", "replicas": 2, "strategy": Strategy(name="blue-green", type="blue-green"),
            "before": Placement(environment="production", service="web"), "phase": Phase.GATED,
            "requested_by": "ben", "requested_at": self.clock.at, "phase_at": self.clock.at, **changes,
        }  # fmt: skip
        found = Deployment(**wanted)
        release = Release(
            id=found.release, service="web", environment=found.environment, version=found.version, digest="ab",
            folder="", config={},
        )  # fmt: skip
        place = Placement(environment=found.environment, service="web", entry=ENTRY)
        put = self.journal.state.put
        put(COUNTER, number)
        put(release_key(found.environment, "web", release.id), release.to_json())
        if self.journal.state.get(placement_key(found.environment, "web")) is None:
            put(placement_key(found.environment, "web"), place.to_json())
        return self.put(found)

    def put(self, deployment: Deployment) -> Deployment:
        self.journal.state.put(deployment_key(deployment.id), deployment.to_json())
        self.journal.state.put(open_key(deployment.id), None if deployment.finished else {})
        return deployment

    def gate(self, deployment: Deployment, name: str) -> Gate:
        (one,) = [gate for gate in self.keeper.look(deployment) if gate.name == name]
        return one

    def settled(self, deployment: Deployment, name: str) -> Gate:
        """The gate, once it no longer waits."""
        return until(lambda: (gate := self.gate(deployment, name)).status != "waiting" and gate)

    def person(self, name: str, **changes: Any) -> Identity:
        return Identity(
            **{
                "name": name,
                "grants": self.book.grants(name),
                "authenticated": True,
                "via": "token",
                **changes,
            }
        )

    def kinds(self) -> list[str]:
        return [event.kind for event in self.journal.events()]


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """One for each test."""
    clock = TellableClock()
    with Journal.open(tmp_path / "journal.sqlite", keys=tmp_path / "keys", clock=clock) as journal:
        yield House(journal, clock, tmp_path)


# --- approvals


def test_somebody_else_approves_exactly_one_plan(house: House) -> None:
    """It opens the gate, and the journal says who, what and why."""
    house.production(PROTECT)
    waiting = house.deployment()
    assert "waiting" == house.gate(waiting, "approvals").status
    plan = house.keeper.view(waiting.id)["plan"]
    house.keeper.approvals.approve(waiting.id, house.person("carol"), "read the diff", plan=plan)
    assert "open" == house.gate(waiting, "approvals").status
    (event,) = house.journal.events(kinds=["deployment.approved"])
    assert ("carol", "production/web") == (event.actor, event.subject)
    assert {"id": waiting.id, "version": "2.0", "plan": plan, "comment": "read the diff"} == event.data


def test_nobody_approves_their_own(house: House) -> None:
    """Although ben is one of the approvers, and would have the role."""
    house.production(PROTECT)
    house.write(security__roles=ROLES.replace("ben: [operator]", "ben: [admin]"))
    with pytest.raises(NotAllowed, match="ben asked for d-1: somebody else must approve"):
        house.keeper.approvals.approve(house.deployment().id, house.person("ben"))


def test_the_local_operator_does_not_approve(house: House) -> None:
    """Whatever name is claimed: it could be who asked."""
    house.production(PROTECT)
    for name in ("carol", "root", "ben"):
        with pytest.raises(NotAllowed, match="it must be known who you are"):
            house.keeper.approvals.approve(house.deployment().id, local_operator(name))


def test_the_requester_does_not_approve_with_a_token_they_made_for_somebody(house: House) -> None:
    """An admin who deploys could otherwise make themselves a second person."""
    house.production(PROTECT)
    mine = house.person("carol", created_by="ben")
    with pytest.raises(NotAllowed, match="ben asked for d-1 and made the token"):
        house.keeper.approvals.approve(house.deployment().id, mine)


def test_only_named_approvers_with_the_role_approve(house: House) -> None:
    """Being admin is not being named; being named is not having the role; both are said with who could."""
    house.production(PROTECT)
    waiting = house.deployment(requested_by="root")
    with pytest.raises(
        NotAllowed, match="alice is not one of those who approve for production: team"
    ) as named:
        house.keeper.approvals.approve(waiting.id, house.person("alice"))
    assert "who may: carol" == named.value.hint
    with pytest.raises(NotAllowed, match="needs approver or admin"):
        house.keeper.approvals.approve(waiting.id, house.person("ben"))
    with pytest.raises(NotAllowed, match="narrowed to viewer"):
        house.keeper.approvals.approve(waiting.id, house.person("carol", narrowed="viewer"))


def test_an_expired_approval_does_not_count(house: House) -> None:
    """It must be given anew."""
    house.production(PROTECT.replace("24h", "1h"))
    waiting = house.deployment()
    house.keeper.approvals.approve(waiting.id, house.person("carol"))
    house.clock.at += 3600
    moved = house.put(waiting.but(phase_at=house.clock.at - 60))  # as after a start of opsbook
    assert "that of carol has expired" in house.gate(moved, "approvals").detail
    house.keeper.approvals.approve(waiting.id, house.person("carol"))
    assert "open" == house.gate(moved, "approvals").status


def test_a_deployment_that_waited_too_long_cannot_be_approved_any_more(house: House) -> None:
    """It ends refused, and the approver is told to have it asked for again."""
    house.production(PROTECT.replace("24h", "1h"))
    waiting = house.deployment()
    house.clock.at += 3600
    assert "refused" == house.gate(waiting, "approvals").status
    with pytest.raises(Conflict, match="waited for approval until") as late:
        house.keeper.approvals.approve(waiting.id, house.person("carol"))
    assert "opsbook deploy web --to production" in late.value.hint


def test_a_plan_that_changed_after_its_approval_waits_again(house: House) -> None:
    """And the approver is told what changed."""
    house.production(PROTECT)
    waiting = house.deployment()
    seen = house.keeper.view(waiting.id)["plan"]
    house.keeper.approvals.approve(waiting.id, house.person("carol"), plan=seen)
    changed = house.put(waiting.but(replicas=5))
    found = house.gate(changed, "approvals")
    assert ("waiting", True) == (found.status, "that of carol is for another plan" in found.detail)
    with pytest.raises(Conflict, match="the plan changed since: replicas"):
        house.keeper.approvals.approve(waiting.id, house.person("carol"), plan=seen)
    house.keeper.approvals.approve(
        waiting.id, house.person("carol"), plan=house.keeper.view(waiting.id)["plan"]
    )
    assert "open" == house.gate(changed, "approvals").status


def test_an_approval_ends_with_its_givers_role(house: House) -> None:
    """What the handbook says now counts."""
    house.production(PROTECT)
    waiting = house.deployment(requested_by="root")
    house.keeper.approvals.approve(waiting.id, house.person("carol"))
    house.write(security__roles="roles: {alice: [admin], ben: [approver], carol: [viewer]}\n")
    assert "carol may not approve any more" in house.gate(waiting, "approvals").detail


def test_an_approval_can_be_taken_back_while_it_waits(house: House) -> None:
    """By its giver only."""
    house.production(PROTECT)
    waiting = house.deployment()
    house.keeper.approvals.approve(waiting.id, house.person("carol"))
    with pytest.raises(NotFound):
        house.keeper.approvals.withdraw(waiting.id, house.person("dora"))
    house.keeper.approvals.withdraw(waiting.id, house.person("carol"))
    assert "waiting" == house.gate(waiting, "approvals").status
    assert ["deployment.approved", "deployment.approval_withdrawn"] == house.kinds()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"phase": Phase.PENDING}, "still being prepared"),
        ({"phase": Phase.SHIFTING}, "has passed its gates"),
        (
            {"phase": Phase.DONE, "outcome": Outcome.SUCCEEDED, "finished_at": 1.0},
            "has ended already: succeeded",
        ),
        ({"kind": "restart"}, "does not ask for approvals"),
    ],
)
def test_what_does_not_wait_is_not_approved(house: House, changes: dict[str, Any], why: str) -> None:
    """Too early, too late, or nothing to approve."""
    house.production(PROTECT)
    waiting = house.deployment(**changes)
    with pytest.raises(Conflict, match=why):
        house.keeper.approvals.approve(waiting.id, house.person("carol"))


# --- freezes


def test_a_freeze_is_added_listed_and_lifted(house: House) -> None:
    """It holds at once, says until when, and what is under way goes on."""
    under_way = house.deployment(phase=Phase.SHIFTING)
    waiting = house.deployment(when_busy="queue")
    house.keeper.freezes.add("sale", house.person("carol"), reason="Sale", until=house.clock.at + 3600,
                             environments=["production"])  # fmt: skip
    gate = house.gate(waiting, "freeze")
    assert ("waiting", house.clock.at + 3600) == (gate.status, gate.until)
    (event,) = house.journal.events(kinds=["freeze.added"])
    assert ([under_way.id], "production") == (event.data["under_way"], event.subject)
    assert () == house.keeper.look(under_way)
    assert ["sale"] == [row["name"] for row in house.keeper.freezes.listed() if row["active"]]
    house.keeper.freezes.lift("sale", house.person("carol"))
    assert () == house.keeper.look(waiting)


def test_a_freeze_ends_by_itself(house: House) -> None:
    """Nobody needs to lift it."""
    waiting = house.deployment(when_busy="queue")
    house.keeper.freezes.add("now", house.person("carol"), reason="-", until=house.clock.at + 60)
    assert "waiting" == house.gate(waiting, "freeze").status
    house.clock.at += 60
    assert () == house.keeper.look(waiting)
    assert [] == house.keeper.freezes.listed()
    house.keeper.freezes.add("now", house.person("carol"), reason="-", until=house.clock.at + 60)


def test_a_freeze_that_begins_while_it_waits_refuses_or_lets_it_wait(house: House) -> None:
    """As was asked with --when-busy."""
    house.production(PROTECT)
    told, queued = house.deployment(), house.deployment(when_busy="queue")
    house.keeper.freezes.add("now", house.person("carol"), reason="-", until=house.clock.at + 60)
    assert "refused" == house.gate(told, "freeze").status
    assert "2027-01-15 08:01 UTC" in house.gate(told, "freeze").detail
    assert "waiting" == house.gate(queued, "freeze").status


def test_freezes_of_the_handbook_are_changed_in_the_handbook(house: House) -> None:
    """Git is the authority; names are not used twice."""
    house.write(
        deployment__freezes="freezes:\n"
        "- {name: christmas, reason: Quiet, from: 2026-12-20T00:00, until: 2027-02-01T00:00}\n"
    )
    assert "Quiet" in house.gate(house.deployment(), "freeze").detail
    with pytest.raises(Invalid, match="written in the handbook"):
        house.keeper.freezes.lift("christmas", house.person("alice"))
    with pytest.raises(Conflict):
        house.keeper.freezes.add("christmas", house.person("alice"), reason="-", until=house.clock.at + 60)
    with pytest.raises(NotFound):
        house.keeper.freezes.lift("easter", house.person("alice"))


@pytest.mark.parametrize(
    "wrong",
    [{"name": "Not A Name"}, {"until": 0.0}, {"environments": ["nowhere"]}, {"services": ["nothing"]}],
)
def test_a_freeze_that_makes_no_sense_is_refused(house: House, wrong: dict[str, Any]) -> None:
    """A name that cannot be typed, a time that is over, a place that is not there."""
    wanted = {"name": "now", "reason": "-", "until": house.clock.at + 60, **wrong}
    with pytest.raises((Invalid, NotFound)):
        house.keeper.freezes.add(wanted.pop("name"), house.person("alice"), **wanted)


def test_exceptions_by_role_know_who_asked(house: House) -> None:
    """By the handbook's roles of now; the local operator is admin; who once had a token and left is nobody."""
    until_then = house.clock.at + 60
    house.keeper.freezes.add("now", house.person("alice"), reason="-", until=until_then, roles=["admin"])
    house.journal.append(
        "token.created", "token/t-1",
        {"id": "t-1", "for": "mallory", "name": "", "role": None, "expires_at": 0}, actor="root",
    )  # fmt: skip
    statuses = {
        asked: house.gate(house.deployment(requested_by=asked), "freeze").status
        for asked in ("alice", "ben", "root", "ana (token)", "mallory", "opsbook")
    }
    assert {
        "alice": "open", "ben": "refused", "root": "open", "ana (token)": "open", "mallory": "refused",
        "opsbook": "refused",
    } == statuses  # fmt: skip


# --- promotion


def test_what_has_not_succeeded_before_is_refused_and_what_has_passes(house: House) -> None:
    """The same source counts; a release that was taken back there does not, not even one that had succeeded."""
    house.production("")
    assert "has not succeeded in staging yet" in house.gate(house.deployment(), "promotion").detail
    house.deployment(environment="staging", release="web-staging", phase=Phase.ROLLED_BACK,
                     outcome=Outcome.ROLLED_BACK, finished_at=1.0)  # fmt: skip
    assert "refused" == house.gate(house.deployment(), "promotion").status
    house.deployment(environment="staging", release="web-staging", phase=Phase.DONE, outcome=Outcome.SUCCEEDED,
                     finished_at=2.0)  # fmt: skip
    waiting = house.deployment()
    assert "open" == house.gate(waiting, "promotion").status
    hold = Hold(release="web-staging", version="2.0", reason="errors 5 %", at=1.0, deployment="d-2")
    held = Placement(environment="staging", service="web", holds=(hold,))
    house.journal.state.put(placement_key("staging", "web"), held.to_json())
    found = house.gate(waiting, "promotion")
    assert ("refused", "2.0 was taken back in staging: errors 5 %") == (found.status, found.detail)


# --- checklists and hooks

CHECKLIST = """---
environments: [production]
---
## Pre-Deployment
- [ ] The handbook is whole `check: book`
- [ ] Customer service knows
- [ ] The command says yes
  ```bash check
  test "$OPSBOOK_VERSION" = 2.0
  ```
## During Deployment
- [ ] Errors stay low `check: error_rate`
## Post-Deployment
- [ ] It answers
  ```http check
  GET {url:web}/healthz
  ```
"""


def test_a_checklist_is_checked_by_machine_and_signed_by_people(house: House) -> None:
    """Both are needed, both are journaled."""
    house.write(deployment__checklist=CHECKLIST)
    waiting = house.deployment()
    assert "open" == house.settled(waiting, "checks").status
    assert "1 to be signed: Customer service knows" in house.gate(waiting, "checklist").detail
    house.keeper.checklists.sign(waiting.id, "pre-customer", house.person("dora"), "told Maria")
    assert {"open"} == {gate.status for gate in house.keeper.look(waiting)}
    items = {item["text"]: item for item in house.keeper.checklists.show(waiting.id)["items"]}
    signed = items["Customer service knows"]
    assert ("signed", "dora", "told Maria") == (signed["status"], signed["by"], signed["note"])
    assert "passed" == items["The command says yes"]["status"]
    assert ["checklist.checked", "checklist.signed"] == house.kinds()


def test_a_check_that_fails_refuses_with_the_commands_last_words(house: House) -> None:
    """Secrets in them are masked."""
    house.write(deployment__checklist=CHECKLIST.replace("test ", "echo the password is hunter2; test "))
    found = house.settled(house.deployment(version="2.1"), "checks")
    assert "refused" == found.status
    assert "exit code 1: the password is ***" in found.detail


def test_signing_needs_a_known_person_who_did_not_ask(house: House) -> None:
    """As approving does."""
    house.write(deployment__checklist=CHECKLIST)
    waiting = house.deployment()
    for who in (house.person("ben"), local_operator("root"), house.person("dora", narrowed="viewer")):
        with pytest.raises(NotAllowed):
            house.keeper.checklists.sign(waiting.id, "pre-customer", who)


def test_a_machines_item_is_not_signed_unless_the_machine_cannot_tell(house: House) -> None:
    """What nobody watches a person must look at."""
    house.write(deployment__checklist=CHECKLIST.replace("check: book", "check: alerts"))
    waiting = house.deployment()
    with pytest.raises(Conflict, match="the machine checks that"):
        house.keeper.checklists.sign(waiting.id, "pre-the-handbook", house.person("dora"))
    house.settled(waiting, "checks")
    assert "2 to be signed" in house.gate(waiting, "checklist").detail
    house.keeper.checklists.sign(waiting.id, "pre-the-handbook", house.person("dora"))
    assert "1 to be signed" in house.gate(waiting, "checklist").detail


def test_what_is_signed_must_exist_and_still_matter(house: House) -> None:
    """An unknown item lists those there are; one that comes before the deployment is too late afterwards."""
    house.write(deployment__checklist=CHECKLIST)
    waiting = house.deployment()
    with pytest.raises(NotFound) as unknown:
        house.keeper.checklists.sign(waiting.id, "nothing", house.person("dora"))
    assert "pre-customer-service-knows" in unknown.value.hint
    with pytest.raises(NotFound, match="several items"):
        house.keeper.checklists.sign(waiting.id, "pre", house.person("dora"))
    house.put(waiting.but(phase=Phase.SHIFTING))
    with pytest.raises(Conflict, match="has passed its gates"):
        house.keeper.checklists.sign(waiting.id, "pre-customer", house.person("dora"))


def test_two_people_sign_at_the_same_moment(house: House) -> None:
    """Neither signature is lost."""
    items = "\n".join(f"- [ ] Item number {name}" for name in "abcdefgh")
    house.write(deployment__checklist=f"---\nenvironments: [production]\n---\n## Pre-Deployment\n{items}\n")
    waiting = house.deployment()
    threads = [
        threading.Thread(
            target=house.keeper.checklists.sign,
            args=(waiting.id, f"pre-item-number-{name}", house.person("dora")),
        )
        for name in "abcdefgh"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert "open" == house.gate(waiting, "checklist").status


def test_checks_during_and_after_a_deployment_are_recorded(house: House) -> None:
    """They open and close nothing."""
    house.write(deployment__checklist=CHECKLIST)
    under_way = house.deployment(phase=Phase.SHIFTING)
    for stage in ("during", "post"):
        house.keeper.check(under_way.id, stage)
    until(lambda: house.kinds().count("checklist.checked") == 2)
    items = {item["text"]: item for item in house.keeper.checklists.show(under_way.id)["items"]}
    assert "unknown" == items["Errors stay low"]["status"]  # no requests to judge by
    assert ("passed", "http://127.0.0.1:8080/healthz answers 200") == (
        items["It answers"]["status"], items["It answers"]["detail"],
    )  # fmt: skip


def hooks(second: str) -> str:
    """Two before, the first of them harmless; one after, which fails."""
    first = '["sh", "-c", "echo before $OPSBOOK_VERSION >> out"]'
    after = '["sh", "-c", "exit 3"]'
    return f"hooks: {{before: [{first}, {second}], after: [{after}]}}\nrequire_promotion: false"


def test_hooks_run_once_each_in_order_and_only_when_all_else_is_open(house: House) -> None:
    """In the handbook's folder, told what they are about."""
    second = '["sh", "-c", "echo second >> out"]'
    house.production(f"{PROTECT}\n{hooks(second)}")
    waiting = house.deployment()
    assert "when everything else is settled" in house.gate(waiting, "hooks").detail
    assert not (house.root / "out").exists()
    house.keeper.approvals.approve(waiting.id, house.person("carol"))
    assert "open" == house.settled(waiting, "hooks").status
    for _ in range(5):
        house.keeper.look(waiting)
    assert "before 2.0\nsecond\n" == (house.root / "out").read_text()
    assert 2 == house.kinds().count("deployment.hook")


def test_a_hook_that_fails_or_takes_too_long_refuses(house: House) -> None:
    """And says how it ended; the ones after it are not run."""
    slow = '{command: ["sh", "-c", "sleep 60"], timeout: 200ms}, ["sh", "-c", "echo third >> out"]'
    house.production(hooks(slow))
    found = house.settled(house.deployment(), "hooks")
    assert ("refused", "sh -c sleep 60: no end within 0.2 s") == (found.status, found.detail)
    assert "before 2.0\n" == (house.root / "out").read_text()


def test_a_hook_that_is_not_there_refuses(house: House) -> None:
    """Rather than being passed over."""
    house.production(hooks('["no-such-command"]'))
    assert "command not found" in house.settled(house.deployment(), "hooks").detail


def test_an_aborted_deployment_begins_no_hook(house: House) -> None:
    """Abort wins."""
    house.production(hooks('["true"]'))
    waiting = house.deployment()
    abort = Abort(by="ben", reason="no", at=house.clock.at)
    house.journal.state.put(abort_key(waiting.id), abort.to_json())
    house.keeper.look(house.site.records.deployment(waiting.id))
    house.keeper.hooks.run(waiting.id, "before")
    assert not (house.root / "out").exists()


def test_hooks_after_a_deployment_say_whether_it_may_stay(house: House) -> None:
    """Waiting, then open or refused; none asked for is open at once."""
    house.production(hooks('["true"]'))
    serving = house.deployment(phase=Phase.DRAINING)
    assert "waiting" == house.keeper.after(serving).status
    found = until(lambda: (gate := house.keeper.after(serving)).status != "waiting" and gate)
    assert ("refused", "sh -c exit 3: exit code 3") == (found.status, found.detail)
    assert "open" == house.keeper.after(house.deployment(environment="staging", phase=Phase.DRAINING)).status


def test_commands_see_little_of_our_own_environment(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token, no database's address."""
    monkeypatch.setenv("OPSBOOK_TOKEN", "ops_secret")
    monkeypatch.setenv("OPSBOOK_DATABASE", "postgresql://u:p@h/d")
    house.production(hooks('["sh", "-c", "env >> out"]'))
    house.settled(house.deployment(), "hooks")
    seen = (house.root / "out").read_text()
    assert "OPSBOOK_ENVIRONMENT=production" in seen
    assert "OPSBOOK_TOKEN" not in seen
    assert "postgresql" not in seen


# --- holds


def test_a_hold_is_released_by_a_person_and_never_under_a_running_deployment(house: House) -> None:
    """The placement has one writer at a time."""
    hold = Hold(release="web-1", version="1.9", reason="errors", at=5.0, deployment="d-0")
    held = Placement(environment="production", service="web", entry=ENTRY, holds=(hold,))
    house.journal.state.put(placement_key("production", "web"), held.to_json())
    assert [("production", "web", "1.9")] == [
        (row["environment"], row["service"], row["version"]) for row in house.keeper.holds.listed()
    ]
    running = house.deployment(phase=Phase.SHIFTING)
    lease = house.journal.leases.acquire(lease_subject("production", "web"), running.id, "deploy")
    with pytest.raises(Locked):
        house.keeper.holds.release("production", "web", "web-1", house.person("ben"))
    house.journal.leases.release(lease)
    with pytest.raises(NotFound, match="web-9 is not held"):
        house.keeper.holds.release("production", "web", "web-9", house.person("ben"))
    house.keeper.holds.release("production", "web", "1.9", house.person("ben"))
    assert [] == house.keeper.holds.listed()
    assert ENTRY == house.site.records.placement("production", "web").entry
    assert "hold.released" in house.kinds()
    house.journal.leases.release(
        house.journal.leases.acquire(lease_subject("production", "web"), "d-9", "free")
    )
