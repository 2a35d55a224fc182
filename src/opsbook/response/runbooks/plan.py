"""What comes next in a run, given all that happened in it. Pure: asked after every step, and after every crash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from opsbook.book.runbooks import Block, Runbook
from opsbook.response.runbooks.model import Outcome, Run, Step, StepState, binding

Waiting = Literal["approval", "person", "go", "decision", "parameters"]


@dataclass(frozen=True, slots=True)
class Execute:
    """Run the block for the `attempt`th time, not before a moment."""

    block: Block
    attempt: int = 1
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class Mark:
    """Write down what a try turned out to be."""

    step: Step
    state: StepState
    reason: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Begin to undo what was done."""

    reason: str


@dataclass(frozen=True, slots=True)
class Await:
    """Wait for a person; `text` says for what."""

    what: Waiting
    step: str
    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """It is over."""

    outcome: Outcome
    reason: str = ""


Action = Execute | Mark | Undo | Await | Finish


@dataclass(frozen=True, slots=True)
class Facts:
    """What the run itself does not know.

    Args:
        protected: whether its environment is.
        lost: sensitive parameters that a restart forgot.
    """

    now: float
    protected: bool = False
    lost: tuple[str, ...] = ()


def decide(page: Runbook, run: Run, facts: Facts) -> Action:
    """The next action. A try without an outcome is one that a crash interrupted: nobody else is at work."""
    for step in run.steps:
        if step.state == "started":
            return Mark(step, "unknown", "opsbook ended while it ran")
    if facts.lost and not (run.cancel is not None and not _to_undo(page, run)):
        why = ", to undo what it began" if run.cancel is not None or run.undoing else ""
        return Await("parameters", "", f"its sensitive parameters again{why}: {', '.join(facts.lost)}")
    if run.undoing:
        return _undo(page, run)
    if run.cancel is not None:
        return Undo(run.cancel.reason)
    if (
        page.head.timeout is not None
        and run.started_at is not None
        and facts.now - run.started_at > page.head.timeout
    ):
        return Undo("the run took longer than its timeout")
    looked = _looks(page, run)
    if looked is not None or run.looking:
        return looked or Finish("succeeded")
    for block in page.steps:
        if action := _step(page, run, block, facts):
            return action
    passed = [step.id for step in page.steps if _failed(page, run, step)]
    return Finish("succeeded", f"passed over: {', '.join(passed)}" if passed else "")


def order(page: Runbook) -> tuple[Block, ...]:
    """The blocks as a run that goes well comes to them."""
    steps = (block for step in page.steps for block in (step, *page.checks_of(step.id)))
    return (*page.of_role("precheck"), *page.of_role("diagnose"), *steps)


def needs_approval(block: Block, *, automatic: bool, protected: bool) -> bool:
    """Whether somebody else must say yes to this step."""
    return (
        block.approve is not None
        or block.risk == "danger"
        or (block.risk == "write" and automatic and protected)
    )


def started_steps(page: Runbook, run: Run) -> tuple[Block, ...]:
    """The steps that were begun, the last one first; those that were tried anew too."""
    begun: dict[str, None] = {}
    for one in run.steps:
        if one.role in {"run", "manual"} and one.state != "skipped":
            begun.setdefault(one.step)
    return tuple(block for name in reversed(begun) if (block := page.block(name)) is not None)


# --- what only looks


def _looks(page: Runbook, run: Run) -> Execute | Finish | None:
    """What is to be looked at before the first step."""
    for block in () if run.looking else page.of_role("precheck"):
        if found := _look(run, block) or _refusal(run, block):
            return found
    return next((look for block in page.of_role("diagnose") if (look := _look(run, block))), None)


def _look(run: Run, block: Block, after: int = 0) -> Execute | None:
    """The next try of a block that only looks; None when there is none left to do.

    Args:
        after: only tries behind this one count.
    """
    tries = [one for one in run.tries(block.id) if one.number > after]
    if not tries:
        return Execute(block)
    last = tries[-1]
    if last.state in {"ok", "skipped"}:
        return None
    if last.state == "unknown":
        return Execute(block, len(tries) + 1)
    failures = sum(1 for one in tries if one.state == "failed")
    if failures < block.retry.times:
        return Execute(block, len(tries) + 1, (last.ended_at or last.started_at) + block.retry.pause)
    return None


def _refusal(run: Run, block: Block) -> Finish | None:
    last = run.last(block.id)
    if last is not None and last.state == "failed":
        return Finish("refused", f"the precheck {block.id} does not hold: {last.reason}")
    return None


# --- steps


def _step(page: Runbook, run: Run, block: Block, facts: Facts) -> Action | None:
    last = run.last(block.id)
    if last is None:
        return _gate(page, run, block, facts) or Execute(block)
    if last.state == "skipped":
        return None
    if last.state == "unknown":
        return _unknown(page, run, block, last)
    if last.state == "failed":
        tries = run.tries(block.id)
        if len(tries) < block.retry.times:
            return Execute(block, len(tries) + 1, (last.ended_at or last.started_at) + block.retry.pause)
        return _failure(page, run, block, last.reason)
    for check in page.checks_of(block.id):
        if action := _look(run, check, last.number):
            return action
        if failed := _failed_look(run, check, last.number):
            return _failure(page, run, block, f"{check.id}: {failed.reason}")
    return None


def _gate(page: Runbook, run: Run, block: Block, facts: Facts) -> Await | None:
    if needs_approval(block, automatic=run.automatic, protected=facts.protected):
        wanted = binding(run, page, block)
        if not any(
            one.step == block.id and one.binding == wanted and one.expires_at > facts.now
            for one in run.approvals
        ):
            return Await("approval", block.id, f"{block.approve or 'somebody else'} to approve {block.id}")
    if block.role == "manual":
        return Await(
            "person", block.id, f"a person to do {block.id}: {block.title or block.script.strip()[:80]}"
        )
    if run.stepwise and block.id not in run.gone:
        return Await("go", block.id, f"a word before {block.id}")
    return None


def _unknown(page: Runbook, run: Run, block: Block, last: Step) -> Action | None:
    """A step that a crash interrupted: its check says whether it was done; only what may be is repeated."""
    checks = page.checks_of(block.id)
    for check in checks:
        if action := _look(run, check, last.number):
            return action
        if failed := _failed_look(run, check, last.number):
            if block.repeatable:
                return Execute(block, last.attempt + 1)
            return _failure(page, run, block, f"unknown after a crash, and {check.id}: {failed.reason}")
    if checks:
        return Mark(last, "ok", "opsbook ended while it ran; its check holds")
    if block.repeatable:
        return Execute(block, last.attempt + 1)
    return Await(
        "decision",
        block.id,
        f"a decision: opsbook ended while {block.id} ran, and nothing tells how far it came",
    )


def _failed_look(run: Run, block: Block, after: int) -> Step | None:
    tries = [one for one in run.tries(block.id) if one.number > after]
    return tries[-1] if tries and tries[-1].state == "failed" else None


def _failed(page: Runbook, run: Run, block: Block) -> bool:
    last = run.last(block.id)
    return last is not None and (
        last.state == "failed"
        or any(_failed_look(run, check, last.number) for check in page.checks_of(block.id))
    )


def _failure(page: Runbook, run: Run, block: Block, reason: str) -> Action | None:
    said = f"{block.id} failed: {reason}"
    if block.on_failure == "continue":
        return None
    if block.on_failure == "rollback" and _to_undo(page, run):
        return Undo(said)
    return Finish("failed", said)


# --- the way back


def _to_undo(page: Runbook, run: Run) -> bool:
    return any(page.rollbacks_of(one.id) for one in started_steps(page, run))


def _undo(page: Runbook, run: Run) -> Action:
    failed: list[str] = []
    undone = False
    for block in started_steps(page, run):
        for rollback in page.rollbacks_of(block.id):
            undone = True
            tries = run.tries(rollback.id)
            last = tries[-1] if tries else None
            if last is None:
                return Execute(rollback)
            if last.state == "unknown" and rollback.repeatable:
                return Execute(rollback, len(tries) + 1)
            if last.state == "failed" and len(tries) < rollback.retry.times:
                return Execute(
                    rollback, len(tries) + 1, (last.ended_at or last.started_at) + rollback.retry.pause
                )
            if last.state in {"failed", "unknown"}:
                failed.append(f"{rollback.id}: {last.reason}")
    if failed:
        return Finish("rollback_failed", f"{run.undoing}; and could not be undone: {'; '.join(failed)}")
    if run.cancel is not None:
        return Finish("cancelled", run.undoing)
    return Finish("rolled_back" if undone else "failed", run.undoing)
