"""The story of a run: ask the plan what is next, write down the intent, do it, write down the outcome, until the end.

It is the durable workflow ``runbook``. What was done stands in the run's document, so after a crash the loop goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from opsbook.book.runbook_parameters import variable
from opsbook.book.runbooks import Block, Runbook
from opsbook.errors import Conflict, Failed, Locked, OpsbookError
from opsbook.journal.durable import Interrupted
from opsbook.response.runbooks import kinds
from opsbook.response.runbooks.execution import Execution, token_of
from opsbook.response.runbooks.live import Ear, Live, began, ended
from opsbook.response.runbooks.model import Run, Step
from opsbook.response.runbooks.plan import Action, Await, Execute, Facts, Finish, Mark, Undo, decide
from opsbook.response.runbooks.reach import environments_of, is_protected
from opsbook.response.runbooks.records import Records, evidence_key, open_key, output_key, run_key
from opsbook.response.runbooks.site import Site
from opsbook.response.runbooks.turns import Turn
from opsbook.world.commands.words import Outcome

ACTOR = "opsbook"
_CAPTURED = 4096  # characters of an output that a variable gets
_LONGEST_NAP = 1.0


class Workflow:
    """Brings runs to their end, one thread for each that is under way."""

    def __init__(self, site: Site, records: Records, live: Live) -> None:
        self._site = site
        self._records = records
        self._live = live
        self._execution = Execution(site)
        self._news = threading.Condition()
        self._cancelled: set[str] = set()
        self._decided = 0
        self.sensitive: dict[str, Mapping[str, str]] = {}  # by run; of this process alone
        self.lock = threading.RLock()  # between a look at a run and the write that follows from it

    def told(self, name: str, *, cancelled: bool = False) -> None:
        """Somebody decided something about a run."""
        with self._news:
            self._decided += 1
            if cancelled:
                self._cancelled.add(name)
            self._news.notify_all()

    def run(self, work: str) -> str:
        """Bring a run to its end; returns its outcome. Safe to call again at any point."""
        name = work.partition(".")[0]
        run = self._records.run(name)
        if run.ended:
            return str(run.outcome)
        self._live.say(name, began(run))
        if run.cancel is not None:
            self._cancelled.add(name)
        turn = self._take(name)
        if turn is None:
            return str(self._records.run(name).outcome)
        release = False
        try:
            outcome = self._go(name, turn)
            release = True
            return outcome
        except Conflict as lost:
            return self._lost(name, lost.message)
        finally:
            turn.end(release=release)
            self._cancelled.discard(name)

    def _go(self, name: str, turn: Turn) -> str:
        while True:
            self._still_running()
            try:
                outcome = self._advance(name, turn)
            except Conflict:
                raise
            except OpsbookError:
                # The journal cannot be written: a disk that is full, a database that is locked. Nothing is given up for
                # that; what was begun and could not be recorded is unknown, as after a crash.
                with self._news:
                    self._news.wait(_LONGEST_NAP)
                continue
            if outcome:
                return outcome

    def _advance(self, name: str, turn: Turn) -> str:
        """Do the next thing; returns the outcome when there is none."""
        seen = self._decided
        with self.lock:
            run = self._records.run(name)
            if run.ended:
                return str(run.outcome)
            try:
                page = self._records.page(run)
            except Failed as gone:
                self._finish(run, "failed", gone.message, turn)
                return "failed"
            action = decide(page, run, self._facts(run))
            run = self._began(run, action, turn)
            step = self._intend(run, page, action, turn)
        if isinstance(action, Execute) and step is not None:
            self._execute(run, action.block, step, turn)
        elif isinstance(action, Await) or (isinstance(action, Execute) and step is None):
            self._nap(action, seen)
        return ""

    def _facts(self, run: Run) -> Facts:
        known = self.sensitive.get(run.id, {})
        lost = tuple(name for name in run.hidden if name not in known)
        return Facts(self._site.clock.now(), self._protected(run), lost)

    def _protected(self, run: Run) -> bool:
        return is_protected(self._site.book(), environments_of(self._records.page(run), run.params))

    # --- what an action writes down before anything is done

    def _began(self, run: Run, action: Action, turn: Turn) -> Run:
        state = "paused" if isinstance(action, Await) else "running"
        text = action.text if isinstance(action, Await) else ""
        if (run.state, run.waiting_for) == (state, text) and run.started_at is not None:
            return run
        changed = run.but(state=state, waiting_for=text, started_at=run.started_at or self._site.clock.now())
        if isinstance(action, Await):
            data = {"id": run.id, "page": run.page, "step": action.step, "for": text}
            self._write(kinds.WAITING.name, changed, data, turn)
            self._live.say(run.id, {"type": "waiting", "for": text, "what": action.what, "step": action.step})
        return changed

    def _intend(self, run: Run, page: Runbook, action: Action, turn: Turn) -> Step | None:
        now = self._site.clock.now()
        match action:
            case Execute(block, attempt, not_before) if not_before <= now:
                step = Step(
                    step=block.id, role=block.role, number=len(run.steps) + 1, attempt=attempt, started_at=now
                )
                self._site.boundary(f"{run.id}:{block.id}:before-intent")
                data = {**_about(run, step), "digest": block.digest}
                self._write(kinds.STEP_STARTED.name, run.with_step(step), data, turn)
                self._live.say(
                    run.id,
                    {"type": "started", "step": step.step, "role": step.role, "attempt": attempt, "at": now},
                )
                self._site.boundary(f"{run.id}:{block.id}:intent")
                return step
            case Mark(step, state, reason):
                if state == "unknown" and (block_left := page.block(step.step)) is not None:
                    self._site.places.end_all(token_of(run, block_left))
                changed = step.model_copy(
                    update={"state": state, "reason": reason, "ended_at": step.ended_at or now}
                )
                self._outcome(run, changed, turn)
                self._site.boundary(f"{run.id}:{step.step}:marked-{state}")
            case Undo(reason):
                undoing = run.but(undoing=reason)
                self._write(
                    kinds.UNDOING.name, undoing, {"id": run.id, "page": run.page, "reason": reason}, turn
                )
                self._live.say(run.id, {"type": "undoing", "reason": reason})
                self._site.boundary(f"{run.id}:undoing")
            case Finish(outcome, reason):
                self._finish(run, outcome, reason, turn)
        return None

    # --- one try

    def _execute(self, run: Run, block: Block, step: Step, turn: Turn) -> None:
        variables = self._variables(run)
        secrets = [*self._site.secret_values(), *self.sensitive.get(run.id, {}).values()]
        ear = Ear(
            lambda text: self._live.say(run.id, {"type": "output", "step": step.step, "text": text}),
            secrets,
            sensitive=block.sensitive,
        )
        undoing = bool(run.undoing)

        def over() -> bool:
            # A rollback is not cancelled by the wish that has begun it.
            wanted = run.id in self._cancelled and not undoing
            return wanted or bool(turn.lost) or self._site.durable.closing.is_set()

        try:
            outcome = self._execution.execute(block, run, variables, ear.hear, over)
        except Exception as error:  # whatever a library raises is the step's failure, not the end of the run
            outcome = Outcome(None, problem=f"{type(error).__name__}: {error}")
        ear.end()
        self._site.boundary(f"{run.id}:{block.id}:done")
        if outcome.cancelled:
            self._still_running()  # opsbook is ending: what became of the step is looked up when it is back
        text = ear.kept.text()
        reason = "" if block.sensitive and outcome.ok else ear.masked(outcome.reason)
        done = step.model_copy(
            update={
                "state": "ok" if outcome.ok else "failed",
                "ended_at": self._site.clock.now(),
                "code": outcome.code,
                "reason": reason[:2000],
            }
        )
        output = {"text": text, "dropped": ear.kept.dropped, "sensitive": block.sensitive}
        with self.lock:
            now = self._records.run(run.id)
            if block.capture and outcome.ok:
                now = now.but(captured={**now.captured, block.capture: _captured(text)})
            self._outcome(now, done, turn, output)
        self._site.boundary(f"{run.id}:{block.id}:outcome")

    def _variables(self, run: Run) -> dict[str, str]:
        values = {**run.params, **self.sensitive.get(run.id, {})}
        return {**{variable(name): value for name, value in values.items()}, **run.captured}

    def _outcome(self, run: Run, step: Step, turn: Turn, output: dict[str, Any] | None = None) -> None:
        data = {
            **_about(run, step),
            "state": step.state,
            "reason": step.reason,
            "seconds": round(step.seconds, 3),
        }
        put = {} if output is None or not output["text"] else {output_key(run.id, step.number): output}
        self._write(kinds.STEP_ENDED.name, run.with_step(step), data, turn, put)
        told = {"step": step.step, "state": step.state, "reason": step.reason, "seconds": step.seconds}
        self._live.say(run.id, {"type": "ended", **told})

    def _finish(self, run: Run, outcome: Any, reason: str, turn: Turn | None) -> None:
        now = self._site.clock.now()
        over = run.but(state="ended", outcome=outcome, reason=reason, ended_at=now, waiting_for="")
        seconds = round(now - (run.started_at or now), 3)
        data = {
            "id": run.id,
            "page": run.page,
            "outcome": outcome,
            "reason": reason[:2000],
            "seconds": seconds,
        }
        self._site.boundary(f"{run.id}:before-end")
        with self.lock:  # beside its page, runs write into one document
            evidence = self._records.evidence(run.page).changed(over)
            put = {open_key(run.id): None, evidence_key(run.page): evidence.to_json()}
            self._write(kinds.ENDED.name, over, data, turn, put)
        self.sensitive.pop(run.id, None)
        self._live.say(run.id, ended(over))
        self._site.boundary(f"{run.id}:end")

    def _write(
        self,
        kind: str,
        run: Run,
        data: dict[str, Any],
        turn: Turn | None,
        put: Mapping[str, Any] | None = None,
    ) -> None:
        documents = {run_key(run.id): run.to_json(), **(put or {})}
        lease = None if turn is None else turn.lease
        self._site.journal.append(kind, run.subject, data, actor=ACTOR, lease=lease, put=documents)

    # --- waiting

    def _take(self, name: str) -> Turn | None:
        """The run's turn on its target; None when it was cancelled before it came."""
        pause = 0.05
        while True:
            self._still_running()
            run = self._records.run(name)
            try:
                return Turn(self._site.journal, run.lock, name, f"{run.page} by {run.requested_by}")
            except Locked as locked:
                if run.ended:
                    return None
                if run.cancel is not None and run.started_at is None:
                    self._finish(run, "cancelled", run.cancel.reason, None)
                    return None
                self._say_waiting(run, f"its turn: {locked.message}")
                with self._news:
                    self._news.wait(pause)
                pause = min(pause * 1.5, _LONGEST_NAP)

    def _say_waiting(self, run: Run, text: str) -> None:
        if run.waiting_for != text:
            with self.lock:
                fresh = self._records.run(run.id)
                if not fresh.ended:
                    self._site.journal.state.put(run_key(run.id), fresh.but(waiting_for=text).to_json())
            self._live.say(run.id, {"type": "waiting", "for": text, "what": "turn", "step": ""})

    def _nap(self, action: Action, seen: int) -> None:
        left = _LONGEST_NAP
        if isinstance(action, Execute):
            left = max(0.0, min(left, action.not_before - self._site.clock.now()))
        with self._news:
            self._news.wait_for(lambda: self._decided != seen or self._site.durable.closing.is_set(), left)

    def _still_running(self) -> None:
        if self._site.durable.closing.is_set():
            raise Interrupted

    def _lost(self, name: str, why: str) -> str:
        """Somebody took the lock away: nothing more is done, and nothing is known of what was under way."""
        with self.lock:
            run = self._records.run(name)
            if not run.ended:
                self._finish(run, "failed", f"its lock was taken away: {why}", None)
        return str(self._records.run(name).outcome)


def _about(run: Run, step: Step) -> dict[str, Any]:
    return {"id": run.id, "page": run.page, "step": step.step, "role": step.role, "attempt": step.attempt}


def _captured(text: str) -> str:
    """What a variable may hold of an output: without NUL and without the ends' line breaks."""
    return text.replace("\0", "").strip("\r\n")[:_CAPTURED]
