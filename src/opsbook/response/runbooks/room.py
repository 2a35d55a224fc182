"""The room: what people and alerts may do with runbooks. Runs themselves are `workflow`'s business."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from opsbook.book import Book
from opsbook.book.runbook_parameters import checked_alone
from opsbook.book.runbooks import Runbook
from opsbook.errors import Conflict, Failed, Invalid, Locked, NotFound
from opsbook.response.runbooks import kinds
from opsbook.response.runbooks.live import Live
from opsbook.response.runbooks.model import APPROVAL_SECONDS, Approval, Cancel, Run, Step, binding
from opsbook.response.runbooks.plan import Await, Facts, decide, needs_approval, order
from opsbook.response.runbooks.reach import environments_of, is_protected, lock_of, of_type, shown_of
from opsbook.response.runbooks.records import (
    COUNTER,
    Records,
    evidence_key,
    found_by,
    open_key,
    page_key,
    run_key,
)
from opsbook.response.runbooks.refusing import (
    asked,
    refuse_unless_approvable,
    refuse_unless_due,
    refuse_unless_other,
)
from opsbook.response.runbooks.retention import Retention
from opsbook.response.runbooks.site import Site
from opsbook.response.runbooks.views import plan_view, run_view
from opsbook.response.runbooks.workflow import Workflow
from opsbook.security.model import Identity

WORKFLOW = "runbook"


class Runbooks:
    """Starts runs and takes decisions about them.

    It registers its durable workflow when it is made, so it is made before `Durable.launch`.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self.records = Records(site.journal)
        self.records.upgrade()
        self.live = Live()
        self._workflow = Workflow(site, self.records, self.live)
        self.retention = Retention(site, self.records, self._workflow.lock)
        self._starting = threading.Lock()
        site.durable.workflow(WORKFLOW, self._workflow.run)

    def start(self) -> None:
        """After `Durable.launch`: take up what was asked for and never begun."""
        for run in self.records.unfinished():
            if self._site.durable.status(run.work_id) is None:
                self._site.durable.start(WORKFLOW, run.work_id)
        self.retention.start()

    def close(self) -> None:
        """Runs stop with `Durable.close`; here there is only to wake those that wait."""
        self.retention.close()
        self._workflow.told("")

    # --- beginning

    def run(
        self,
        page: str,
        params: Mapping[str, str],
        actor: str,
        *,
        automatic: bool = False,
        alert: str = "",
        incident: str = "",
        stepwise: bool = False,
        looking: bool = False,
    ) -> tuple[Run, bool]:
        """Start a page, or attach to the run of it that is under way with the same parameters.

        Args:
            looking: run the diagnose blocks only. They change nothing, so neither cooldown nor lock holds them up.

        Returns:
            The run, and whether it is one that others started.

        Raises:
            NotFound: no such page. Invalid: it has nothing to run; a parameter is wrong.
            Conflict: an alert may not start it now: it ran a moment ago, or too often.
            NotAllowed: only `actor` could approve a step of it, and nobody approves their own.
        """
        book = self._site.book()
        runbook, values = asked(book, page, params)
        if not looking:
            refuse_unless_approvable(book, runbook, actor)
        hidden = tuple(name for name, spec in runbook.head.params.items() if spec.sensitive)
        shown = {name: value for name, value in values.items() if name not in hidden}
        lock = lock_of(runbook, shown) + ("/diagnose" if looking else "")
        with self._starting:
            for other in self.records.unfinished():
                if other.page == page and other.params == shown and other.lock == lock:
                    about = {"id": other.id, "page": page, "alert": alert}
                    self._site.journal.append(kinds.ATTACHED.name, other.subject, about, actor=actor)
                    return other, True
            if automatic and not looking:
                recent = self.records.runs(page=page, limit=200)
                refuse_unless_due(runbook, recent, lock, shown, self._site.clock.now())
            number = int(self._site.journal.state.get(COUNTER) or 0) + 1
            run = Run(
                id=f"run-{number}",
                page=page,
                title=runbook.title,
                commit=book.commit,
                digest=runbook.digest,
                params=shown,
                hidden=hidden,
                environment=of_type(runbook, shown, "environment"),
                service=of_type(runbook, shown, "service"),
                lock=lock,
                requested_by=actor,
                requested_at=self._site.clock.now(),
                automatic=automatic,
                alert=alert,
                incident=incident,
                stepwise=stepwise,
                looking=looking,
            )
            self._workflow.sensitive[run.id] = {name: values[name] for name in hidden}
            data: dict[str, Any] = {
                "id": run.id, "page": page, "digest": run.digest, "commit": run.commit, "params": shown,
                "automatic": automatic, "alert": alert,
            }  # fmt: skip
            put: dict[str, Any] = {
                COUNTER: number,
                run_key(run.id): run.to_json(),
                open_key(run.id): {},
                page_key(run.digest): runbook.source,
                **found_by(run),
            }
            with self._workflow.lock:  # beside its page, runs write into one document
                put[evidence_key(page)] = self.records.evidence(page).begun(run).to_json()
                self._site.journal.append(kinds.STARTED.name, run.subject, data, actor=actor, put=put)
        self._site.boundary(f"{run.id}:requested")
        self._site.durable.start(WORKFLOW, run.work_id)
        return run, False

    def plan(self, page: str, params: Mapping[str, str]) -> dict[str, Any]:
        """What a run would do, step by step; nothing is done, and nothing recorded. Raises as `run`."""
        book = self._site.book()
        runbook, values = asked(book, page, params)
        protected = is_protected(book, environments_of(runbook, values))
        return plan_view(runbook, values, protected=protected) | {
            "lock": lock_of(runbook, shown_of(runbook, values))
        }

    # --- deciding

    def approve(self, name: str, who: Identity, *, step: str = "", comment: str = "", bound: str = "") -> Run:
        """Say yes to the step that it waits with, or to one ahead.

        Args:
            bound: the binding that was looked at; another one is refused. Empty: the present one.

        Raises:
            NotAllowed: it is not known who it is, they started it, or somebody else is named.
            Conflict: there is nothing to approve, or it is something else by now.
        """
        with self._workflow.lock:
            run, page = self._open_run(name)
            step = step or self._waits_with(run, page, "approval")
            block = page.block(step)
            if block is None or not needs_approval(
                block, automatic=run.automatic, protected=self._is_protected(run)
            ):
                raise Conflict(
                    f"{step or name} needs no approval", hint=f"opsbook runs show {name}", where=name
                )
            refuse_unless_other(self._site.book(), run, who, block.approve)
            wanted = binding(run, page, block)
            if bound and bound != wanted:
                raise Conflict(
                    "what was looked at is not what would run", hint=f"opsbook runs show {name}", where=name
                )
            now = self._site.clock.now()
            approval = Approval(
                step=step, by=who.name, at=now, binding=wanted, expires_at=now + APPROVAL_SECONDS,
                comment=comment.strip()[:2000],
            )  # fmt: skip
            data = {
                "id": name,
                "page": run.page,
                "step": step,
                "binding": wanted,
                "comment": approval.comment,
            }
            return self._decided(
                kinds.APPROVED.name, run.but(approvals=(*run.approvals, approval)), data, who.actor
            )

    def resume(
        self,
        name: str,
        actor: str,
        *,
        step: str = "",
        note: str = "",
        params: Mapping[str, str] | None = None,
    ) -> Run:
        """Let it go on: what a person was to do is done; or from `step` on, everything anew.

        Raises:
            Conflict: it waits for something else.
        """
        with self._workflow.lock:
            if step:
                return self._again(name, step, actor, "resume", note, all_after=True)
            run, page = self._open_run(name)
            waits = self._waits(run, page)
            if waits is None or waits.what in {"approval", "decision"}:
                what = f"it waits for {waits.text}" if waits else "it waits for nobody"
                hint = f"opsbook runs {'approve' if waits and waits.what == 'approval' else 'show'} {name}"
                raise Conflict(f"{name} cannot be resumed: {what}", hint=hint, where=name)
            if waits.what == "parameters":
                self._give(run, page, params or {})
                return self._note(run, "resume", "", actor, note)
            if waits.what == "go":
                return self._note(run.but(gone=(*run.gone, waits.step)), "go", waits.step, actor, note)
            done = self._settled(run, page, waits.step, "ok", actor, note)
            return self._note(done, "done", waits.step, actor, note)

    def retry(self, name: str, actor: str, *, step: str = "", reason: str = "") -> Run:
        """Try a step anew that failed, or of which nobody knows how far it came."""
        with self._workflow.lock:
            return self._again(name, step or self._stuck(name), actor, "retry", reason, all_after=False)

    def skip(self, name: str, actor: str, *, step: str = "", reason: str = "") -> Run:
        """Pass a step over. Raises Invalid without a reason."""
        if not reason.strip():
            raise Invalid("why is it skipped? The journal keeps the reason", hint="--reason ...", where=name)
        with self._workflow.lock:
            step = step or self._stuck(name)
            run, page = self._reopened(name, step)
            skipped = self._settled(run, page, step, "skipped", actor, reason)
            return self._restart(self._note(skipped, "skip", step, actor, reason))

    def cancel(self, name: str, actor: str, reason: str = "") -> Run:
        """End it and undo what was done. Asking twice changes nothing. Raises Conflict when it has ended."""
        with self._workflow.lock:
            run, _ = self._open_run(name)
            if run.cancel is None:
                reason = reason or f"cancelled by {actor}"
                wish = Cancel(by=actor, reason=reason, at=self._site.clock.now())
                data = {"id": name, "page": run.page, "reason": reason}
                run = self._decided(kinds.CANCELLED.name, run.but(cancel=wish), data, actor)
        self._workflow.told(name, cancelled=True)
        return run

    # --- looking

    def view(self, name: str, *, output: bool = False) -> dict[str, Any]:
        """A run as the API gives it. Raises NotFound."""
        run = self.records.run(name)
        page = self.records.page(run)
        waits = None if run.ended else self._waits(run, page)
        return run_view(run, page, self.records, waits, output=output)

    def follow(self, name: str, stop: Any) -> Iterator[dict[str, Any] | None]:
        """Its news as they come; see `Live.follow`."""
        return self.live.follow(name, self.records, stop)

    @property
    def book(self) -> Book:
        return self._site.book()

    # --- what they share

    def _open_run(self, name: str) -> tuple[Run, Runbook]:
        run = self.records.run(name)
        if run.ended:
            raise Conflict(
                f"{name} has ended already: {run.outcome}", hint=f"opsbook run {run.page}", where=name
            )
        return run, self.records.page(run)

    def _waits(self, run: Run, page: Runbook) -> Await | None:
        if run.state != "paused":
            return None
        known = self._workflow.sensitive.get(run.id, {})
        lost = tuple(name for name in run.hidden if name not in known)
        action = decide(page, run, Facts(self._site.clock.now(), self._is_protected(run), lost))
        return action if isinstance(action, Await) else None

    def _waits_with(self, run: Run, page: Runbook, what: str) -> str:
        waits = self._waits(run, page)
        if waits is None or waits.what != what:
            raise Conflict(f"{run.id} waits for no {what}", hint=f"opsbook runs show {run.id}", where=run.id)
        return waits.step

    def _is_protected(self, run: Run) -> bool:
        return is_protected(self._site.book(), self.environments(run))

    def environments(self, run: Run) -> tuple[str, ...]:
        """Where it works: whoever decides about it needs the right in each of them."""
        return environments_of(self.records.page(run), run.params)

    def _stuck(self, name: str) -> str:
        """The step that a retry or a skip without a name means."""
        run = self.records.run(name)
        page = self.records.page(run)
        waits = self._waits(run, page)
        if waits is not None and waits.step:
            return waits.step
        for block in order(page):
            last = run.last(block.id)
            if last is not None and last.state in {"failed", "unknown"}:
                return block.for_ if block.role == "check" else block.id
        raise Conflict(f"{name} has no step that failed", hint=f"opsbook runs show {name}", where=name)

    def _reopened(self, name: str, step: str) -> tuple[Run, Runbook]:
        run = self.records.run(name)
        page = self.records.page(run)
        if page.block(step) is None:
            raise NotFound(f"{run.page} has no step {step}", hint=f"opsbook runs show {name}", where=name)
        if run.undoing or run.outcome in {"rolled_back", "rollback_failed", "cancelled", "succeeded"}:
            raise Conflict(f"{name} was undone, or is done", hint=f"opsbook run {run.page}", where=name)
        if not run.ended and run.state != "paused":
            raise Conflict(f"{name} is under way", hint=f"opsbook runs cancel {name}", where=name)
        if run.ended:
            for other in self.records.unfinished():
                if other.lock == run.lock:
                    raise Locked(
                        f"{other.id} is under way on {run.lock}",
                        hint=f"opsbook runs show {other.id}",
                        where=name,
                    )
        return run, page

    def _again(self, name: str, step: str, actor: str, verb: str, reason: str, *, all_after: bool) -> Run:
        run, page = self._reopened(name, step)
        sequence = [block.id for block in order(page)]
        if step not in sequence:
            raise Conflict(f"{step} is no step that can be tried anew", where=name)
        at = sequence.index(step)
        chosen = set(sequence[at:]) if all_after else {step, *(check.id for check in page.checks_of(step))}
        steps = tuple(
            one.model_copy(update={"superseded": True}) if one.step in chosen else one for one in run.steps
        )
        return self._restart(self._note(run.but(steps=steps), verb, step, actor, reason))

    def _restart(self, run: Run) -> Run:
        """Have a run that had ended go on; one that has not goes on by itself."""
        if run.outcome is None and not run.ended:
            return run
        again = run.but(state="running", outcome=None, reason="", ended_at=None, reopened=run.reopened + 1)
        evidence = self.records.evidence(run.page).changed(again)
        put = {
            run_key(run.id): again.to_json(),
            open_key(run.id): {},
            evidence_key(run.page): evidence.to_json(),
        }
        self._site.journal.append_all([], put=put)
        self._site.durable.start(WORKFLOW, again.work_id)
        return again

    def _settled(self, run: Run, page: Runbook, step: str, state: Any, actor: str, note: str) -> Run:
        block = page.block(step)
        if block is None:
            raise Failed(f"{run.page} has no step {step}", where=run.id)
        now = self._site.clock.now()
        settled = Step(
            step=step, role=block.role, number=len(run.steps) + 1, state=state, started_at=now, ended_at=now,
            reason=note.strip()[:2000], by=actor,
        )  # fmt: skip
        return run.with_step(settled)

    def _give(self, run: Run, page: Runbook, params: Mapping[str, str]) -> None:
        found = {}
        for name in run.hidden:
            if name not in params:
                raise Invalid(f"the parameter {name} is missing", hint=f"--param {name}=...", where=run.id)
            found[name] = checked_alone(name, page.head.params[name], params[name])
        self._workflow.sensitive[run.id] = found

    def _note(self, run: Run, verb: str, step: str, actor: str, reason: str) -> Run:
        data = {"id": run.id, "page": run.page, "verb": verb, "step": step, "reason": reason.strip()[:2000]}
        return self._decided(kinds.DECIDED.name, run, data, actor)

    def _decided(self, kind: str, run: Run, data: dict[str, Any], actor: str) -> Run:
        self._site.journal.append(kind, run.subject, data, actor=actor, put={run_key(run.id): run.to_json()})
        self.live.say(
            run.id, {"type": "decided", "verb": data.get("verb", kind.rpartition(".")[2]), "by": actor}
        )
        self._workflow.told(run.id)
        return run
