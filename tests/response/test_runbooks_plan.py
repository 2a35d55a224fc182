"""What comes next in a run: any history, any crash, any outcome of a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.book.runbook_pages import read_runbook
from opsbook.book.runbooks import Runbook
from opsbook.response.runbooks.model import Approval, Cancel, Run, Step, binding
from opsbook.response.runbooks.plan import Await, Execute, Facts, Finish, Mark, Undo, decide


def page_of(text: str) -> Runbook:
    page, _, problems = read_runbook("p", text.encode())
    assert page is not None, problems
    return page


def test_what_is_cancelled_and_has_forgotten_a_secret_says_what_that_is_for() -> None:
    """Undoing may need it; where nothing is to be undone the run ends without."""
    page = page_of(step("a"))
    cancelled = run_of(page, cancel=Cancel(by="ana", reason="enough", at=1.0))
    lost = Facts(2.0, lost=("key",))
    assert decide(page, cancelled, lost) == Undo("enough")
    assert decide(page, cancelled.but(undoing="enough"), lost) == Finish("cancelled", "enough")
    begun = Step(step="a", role="run", number=1, state="ok", started_at=1.0, ended_at=1.5)
    action = decide(page, cancelled.with_step(begun), lost)
    assert isinstance(action, Await)
    assert action.text == "its sensitive parameters again, to undo what it began: key"


def run_of(page: Runbook, **more: Any) -> Run:
    return Run(
        id="run-1", page="p", title="P", commit="c", digest=page.digest, params={}, lock="p", requested_by="ana",
        requested_at=0.0, started_at=0.0, **more,
    )  # fmt: skip


def step(name: str, words: str = "", *, check: bool = True, rollback: bool = True) -> str:
    text = f"```bash run id={name} {words}\ndo\n```\n"
    text += f"```bash check for={name}\nlook\n```\n" if check else ""
    return text + (f"```bash rollback for={name} idempotent\nundo\n```\n" if rollback else "")


@dataclass
class World:
    """What really happened: which blocks took effect, how often, and what each does when it is run."""

    outcomes: dict[str, bool] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def play(
        self, page: Runbook, run: Run, *, crash_at: frozenset[int] = frozenset(), limit: int = 80
    ) -> tuple[Run, Any]:
        """Follow the plan to its end or to a person; at each of `crash_at` the outcome of a try is lost."""
        turn, now = 0, 0.0
        for _ in range(limit):
            action = decide(page, run, Facts(now))
            match action:
                case Execute(block, attempt, not_before):
                    now = max(now, not_before) + 1.0
                    turn += 1
                    step = Step(
                        step=block.id,
                        role=block.role,
                        number=len(run.steps) + 1,
                        attempt=attempt,
                        started_at=now,
                    )
                    run = run.with_step(step)
                    if turn in crash_at and turn % 2:
                        continue  # it died before it did anything
                    self.done.append(block.id)
                    if turn in crash_at:
                        continue  # it died after
                    ok = self.outcomes.get(block.id, True)
                    if block.role == "check":
                        ok = ok and block.for_ in self.done
                    run = run.with_step(
                        step.model_copy(update={"state": "ok" if ok else "failed", "ended_at": now})
                    )
                case Mark(step, state, reason):
                    run = run.with_step(
                        step.model_copy(update={"state": state, "reason": reason, "ended_at": now})
                    )
                case Undo(reason):
                    run = run.but(undoing=reason)
                case Finish() | Await():
                    return run, action
        raise AssertionError("it never ended")


def test_all_goes_well() -> None:
    """Prechecks, diagnoses, each step with its checks."""
    page = page_of("```bash precheck\nx\n```\n```bash diagnose\nx\n```\n" + step("a") + step("b"))
    world = World({"diagnose": False})
    _, end = world.play(page, run_of(page))
    assert "succeeded" == end.outcome
    assert ["precheck", "diagnose", "a", "check-a", "b", "check-b"] == world.done


def test_a_failure_undoes_in_reverse() -> None:
    """Also the step that failed: nobody knows how far it came."""
    page = page_of(step("a") + step("b") + step("c"))
    world = World({"b": False})
    _, end = world.play(page, run_of(page))
    assert "rolled_back" == end.outcome
    assert ["a", "check-a", "b", "rollback-b", "rollback-a"] == world.done


def test_a_failed_rollback_is_an_end_of_its_own() -> None:
    """The others are tried all the same."""
    page = page_of(step("a") + step("b"))
    world = World({"check-b": False, "rollback-b": False})
    _, end = world.play(page, run_of(page))
    assert "rollback_failed" == end.outcome
    assert "rollback-b" in end.reason
    assert "rollback-a" == world.done[-1]


def test_what_is_to_stop_or_to_go_on() -> None:
    """on-failure=stop leaves all as it is; continue passes over."""
    page = page_of(step("a") + step("b", "on-failure=stop"))
    assert "failed" == World({"b": False}).play(page, run_of(page))[1].outcome
    page = page_of(step("a", "on-failure=continue") + step("b"))
    _, end = World({"a": False}).play(page, run_of(page))
    assert ("succeeded", "passed over: a") == (end.outcome, end.reason)


def test_a_precheck_that_does_not_hold_prevents_all() -> None:
    """Nothing has begun, so there is nothing to undo."""
    page = page_of("```bash precheck retry=3x1s\nx\n```\n" + step("a"))
    world = World({"precheck": False})
    assert "refused" == world.play(page, run_of(page))[1].outcome
    assert ["precheck"] * 3 == world.done


def test_approvals_are_for_what_was_seen() -> None:
    """Another commit, other parameters, too late: it waits again."""
    page = page_of(step("a", "risk=danger"))
    run = run_of(page)
    block = page.blocks[0]
    asked = decide(page, run, Facts(10.0))
    assert isinstance(asked, Await)
    assert "approval" == asked.what
    yes = Approval(step="a", by="ben", at=0.0, binding=binding(run, page, block), expires_at=100.0)
    approved = run.but(approvals=(yes,))
    assert isinstance(decide(page, approved, Facts(10.0)), Execute)
    assert isinstance(decide(page, approved, Facts(100.0)), Await)
    for changes in ({"commit": "d"}, {"params": {"host": "x"}}):
        assert isinstance(decide(page, approved.but(**changes), Facts(10.0)), Await)


def test_alerts_may_write_only_where_nobody_protects() -> None:
    """risk=write of an automatic run waits for a person in a protected environment."""
    page = page_of(step("a", "risk=write"))
    automatic = run_of(page, automatic=True)
    assert isinstance(decide(page, automatic, Facts(0.0, protected=True)), Await)
    assert isinstance(decide(page, automatic, Facts(0.0)), Execute)
    assert isinstance(decide(page, run_of(page), Facts(0.0, protected=True)), Execute)
    reads = page_of(step("a", "risk=read"))
    assert isinstance(decide(reads, run_of(reads, automatic=True), Facts(0.0, protected=True)), Execute)


def test_the_unknown_is_decided_by_its_check() -> None:
    """It holds: done. It does not: repeated if it may be, undone otherwise. None: a person decides."""
    page = page_of(step("a"))
    broken = run_of(page).with_step(Step(step="a", role="run", number=1, started_at=0.0))
    world = World(done=["a"])
    assert "succeeded" == world.play(page, broken)[1].outcome
    assert 1 == world.done.count("a")
    world = World()
    assert "rolled_back" == world.play(page, broken)[1].outcome
    assert 0 == world.done.count("a")
    bare = page_of(step("a", check=False))
    waits = World().play(bare, broken)[1]
    assert ("decision", "a") == (waits.what, waits.step)
    again = page_of(step("a", "idempotent", check=False))
    world = World()
    assert "succeeded" == world.play(again, broken)[1].outcome
    assert 1 == world.done.count("a")


def test_a_cancel_undoes_and_a_timeout_too() -> None:
    """Both end in the undoing of what was begun."""
    page = page_of("---\ntimeout: 10s\n---\n" + step("a") + step("b"))
    run = run_of(page).with_step(
        Step(step="a", role="run", number=1, state="ok", started_at=0.0, ended_at=1.0)
    )
    cancelled = run.but(cancel=Cancel(by="ana", reason="wrong host", at=1.0))
    world = World()
    assert ("cancelled", "wrong host") == ((end := world.play(page, cancelled)[1]).outcome, end.reason)
    assert ["rollback-a"] == world.done
    assert isinstance(decide(page, run, Facts(11.0)), Undo)


_IDEMPOTENT = st.booleans()


@settings(max_examples=300, deadline=None)
@given(
    idempotent=st.lists(st.booleans(), min_size=3, max_size=3),
    checked=st.lists(st.booleans(), min_size=3, max_size=3),
    failing=st.frozensets(st.sampled_from(["a", "b", "c", "check-a", "check-b", "check-c", "rollback-b"])),
    crashes=st.frozensets(st.integers(1, 12), max_size=4),
)
def test_nothing_runs_twice_that_may_not(
    idempotent: list[bool], checked: list[bool], failing: frozenset[str], crashes: frozenset[int]
) -> None:
    """Whatever fails and wherever it dies: a step that is not idempotent is run once at most, and a run that ends
    undone has undone every step that was begun."""
    text = "".join(
        step(name, "idempotent" if again else "", check=has)
        for name, again, has in zip("abc", idempotent, checked, strict=True)
    )
    page = page_of(text)
    world = World(dict.fromkeys(failing, False))
    run, end = world.play(page, run_of(page), crash_at=crashes)
    for name, again in zip("abc", idempotent, strict=True):
        begun = [one for one in run.steps if one.step == name]
        assert again or len(begun) <= 1
    if isinstance(end, Finish) and end.outcome == "rolled_back":
        for name in "abc":
            if any(one.step == name for one in run.steps):
                last = run.last(f"rollback-{name}")
                assert last is not None
                assert "ok" == last.state
    if isinstance(end, Finish) and end.outcome == "succeeded":
        assert {"a", "b", "c"} <= {one.step for one in run.steps if one.state == "ok"}
