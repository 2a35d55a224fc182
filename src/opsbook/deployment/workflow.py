"""The story of a deployment: re-read the world, ask the plan what is next, do one idempotent thing, record it.

`Workflow.run` is the durable workflow. After a crash it is run again and goes on where the world is, not where
it remembers to have been.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from opsbook.deployment.alarms import condemning
from opsbook.deployment.budgets import Ceiling
from opsbook.deployment.evidence import Evidence
from opsbook.deployment.looking import Lookout
from opsbook.deployment.looks import (
    Action,
    Enter,
    Finish,
    Gate,
    Promote,
    Reroute,
    Seen,
    Start,
    Stop,
    Wait,
)
from opsbook.deployment.model import Deployment, Hold, Outcome, Phase, Placement, Transition, Watch
from opsbook.deployment.plan import decide
from opsbook.deployment.preparing import prepare
from opsbook.deployment.records import deployment_key, open_key, placement_key
from opsbook.deployment.router import Router
from opsbook.deployment.routing import TRIAL_HEADER
from opsbook.deployment.side_by_side import side_by_side
from opsbook.deployment.site import Site
from opsbook.deployment.turns import LostTurn, Turn, Turns
from opsbook.deployment.workloads import workload
from opsbook.errors import OpsbookError
from opsbook.journal.durable import Interrupted
from opsbook.world.words import Address

SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.25
LONGER_EACH_TIME = 1.2  # so that what took a while is seen within a fifth of it
ACTOR = "opsbook"


class Gatekeeper(Protocol):
    """Says what stands between a deployment and its start."""

    def look(self, deployment: Deployment) -> tuple[Gate, ...]:
        """Before the start."""

    def after(self, deployment: Deployment) -> Gate:
        """Before the end."""

    def ceiling(self, deployment: Deployment) -> Ceiling | None:
        """How many of the requests a canary may have now; None: all."""

    def check(self, name: str, stage: str) -> None:
        """Let the machine check its items of the stage ``during`` or ``post``; returns at once."""


class Workflow:
    """Brings deployments to their end, one thread for each that is under way."""

    def __init__(self, site: Site, router: Router, gatekeeper: Gatekeeper, stopping: threading.Event) -> None:
        self._site = site
        self._router = router
        self._stopping = stopping
        self._turns = Turns(site)
        self._lookouts: dict[str, Lookout] = {}
        self._gatekeeper = gatekeeper
        self.evidence = Evidence(site)
        self.waiting: dict[str, str] = {}  # deployment id to what it waits for, for people

    def run(self, name: str) -> str:
        """Bring deployment `name` to its end; returns its outcome. Safe to run again at any point."""
        step = 0
        while not self._deployment(name).finished:
            # One durable step a phase: what was done is not asked again, what was not is looked up in the world.
            step += 1
            try:
                self._site.durable.step(f"advance-{step}", lambda: self._advance(name))
            except OpsbookError as error:
                # The journal cannot be written: a disk that is full, a database that is locked. Nothing is given
                # up for that; the deployment stands where it stands until its next word can be recorded.
                self.waiting[name] = f"opsbook itself to recover: {error.message}"
                self._pause_after_error()
        self.waiting.pop(name, None)
        self._lookouts.pop(name, None)
        self.evidence.forget(name)
        self._site.synthetic.stop(name)
        return str(self._deployment(name).outcome)

    def _advance(self, name: str) -> str:
        """Act until the deployment has entered another phase; returns that phase."""
        deployment = self._deployment(name)
        if deployment.finished:
            return deployment.phase
        try:
            with self._turns.of(deployment, lambda: self._wants_out(name), self._say(name)) as turn:
                return self._act_until_next_phase(name, turn)
        except LostTurn as lost:
            return self._finish_without_turn(name, str(lost))

    def _act_until_next_phase(self, name: str, turn: Turn) -> str:
        started_in = self._deployment(name).phase
        self._passed(self._deployment(name), "entered")
        if started_in is Phase.PENDING and (finished := self._prepare(name, turn)):
            return finished
        lookout = self._lookouts.setdefault(name, Lookout(self._site))
        lookout.entered(started_in)
        pause = SHORTEST_PAUSE
        while (deployment := self._deployment(name)).phase is started_in:
            self._check_still_running()
            placement = self._placement(deployment)
            seen = Seen()
            if started_in not in (Phase.PENDING, Phase.GATED):  # nothing runs yet that one could look at
                serving = self._router.serves_present()
                seen = lookout.look(deployment, placement, serving=serving)
            verdict = self.evidence.look(deployment, placement)
            firing = self._site.alerts(deployment.environment, deployment.service)
            seen = replace(
                seen,
                verdict=verdict,
                gates=self._gates(deployment),
                alarm=condemning(deployment, firing),
                ceiling=self._gatekeeper.ceiling(deployment),
            )
            action = decide(deployment, placement, seen)
            self.waiting[name] = action.waiting_for if isinstance(action, Wait) else ""
            turn.check()
            try:
                self._act(deployment, action, turn)
            except LostTurn:
                raise
            except OpsbookError as error:
                self._take_back(self._deployment(name), error, turn)
            pause = (
                min(pause * LONGER_EACH_TIME, LONGEST_PAUSE) if isinstance(action, Wait) else SHORTEST_PAUSE
            )
            if isinstance(action, Wait):
                self._site.clock.sleep(pause)
            # A canary's step re-enters the same phase; the step counter tells them apart.
            if isinstance(action, Enter | Finish):
                break
        return self._deployment(name).phase

    def _gates(self, deployment: Deployment) -> tuple[Gate, ...]:
        if deployment.phase is Phase.GATED:
            return self._gatekeeper.look(deployment)
        if deployment.phase is Phase.DRAINING and deployment.kind == "deploy":
            return (self._gatekeeper.after(deployment),)
        return ()

    # --- the actions, in the order of a deployment

    def _prepare(self, name: str, turn: Turn) -> str:
        """Take the snapshot, make the release, settle which instances; returns a phase when it ended already."""
        deployment = self._deployment(name)
        try:
            prepared, placement, release = prepare(self._site, deployment, self._say(name))
        except OpsbookError as error:
            log = tuple(error.details.get("log", ()))
            reason = f"{error}" + (f"; {error.hint}" if error.hint else "")
            ended = deployment.but(log_tail=log)
            return self._finish(ended, Finish(Phase.FAILED, Outcome.FAILED, _untouched(ended, reason)), turn)
        put = {deployment_key(name): prepared.to_json()}
        if placement is not None:
            put[placement_key(placement.environment, placement.service)] = placement.to_json()
        if release is not None:
            put |= release.put
            self._site.journal.append(
                "release.created", deployment.subject, release.event, actor=ACTOR, lease=turn.lease, put=put
            )
        else:
            self._record(prepared, Phase.PENDING, "prepared", turn, put=put)
        return ""

    def _act(self, deployment: Deployment, action: Action, turn: Turn) -> None:
        verb = type(action).__name__.lower()
        self._passed(deployment, f"{verb}-before")
        match action:
            case Enter():
                self._enter(deployment, action, turn)
            case Start():
                self._start(deployment, action, turn)
            case Reroute():
                self._reroute(deployment, action, turn)
            case Stop():
                self._stop(deployment, action, turn)
            case Promote():
                self._promote(deployment, action, turn)
            case Finish():
                self._finish(deployment, action, turn)
        self._passed(deployment, f"{verb}-after")

    def _enter(self, deployment: Deployment, action: Enter, turn: Turn) -> None:
        evidence: dict[str, Any] = {}
        if action.culprit:
            tail = self._site.runtime.log_tail(action.culprit)
            deployment = deployment.but(log_tail=tail)
            evidence = {"instance": action.culprit, "log": list(tail[-10:])}
        if deployment.phase is Phase.ANALYSING:
            evidence |= self.evidence.last(deployment.id)
        if action.phase is Phase.ABORTING:
            deployment = deployment.but(reason=action.message)
        self._probe(deployment.but(phase=action.phase))
        if action.phase is Phase.SHIFTING and action.step == 0 and deployment.kind == "deploy":
            self._gatekeeper.check(deployment.id, "during")
        self._record(
            deployment.but(phase=action.phase, step=action.step), action.phase, action.message, turn, evidence
        )

    def _probe(self, deployment: Deployment) -> None:
        """Synthetic requests reach a canary exactly while it is judged."""
        load, entry = deployment.strategy.probe_load, self._placement(deployment).entry
        if load is None or entry is None or entry.kind != "http" or deployment.phase is not Phase.ANALYSING:
            self._site.synthetic.stop(deployment.id)
            return
        prefix = entry.path.rstrip("/")
        self._site.synthetic.start(
            deployment.id,
            Address(entry.address, entry.port),
            entry.host or entry.address,
            prefix + load.path,
            load.rate,
            {TRIAL_HEADER: deployment.trial_token},
        )

    def _start(self, deployment: Deployment, action: Start, turn: Turn) -> None:
        if action.backup and set(action.instances) - set(deployment.backups):
            deployment = deployment.but(
                backups=tuple(dict.fromkeys((*deployment.backups, *action.instances)))
            )
        self._site.journal.append(
            "instance.starting",
            deployment.subject,
            {"deployment": deployment.id, "release": action.release, "instances": list(action.instances)},
            actor=ACTOR,
            lease=turn.lease,
            put={deployment_key(deployment.id): deployment.to_json()},
        )
        self._passed(deployment, "start-journaled")
        release = self._site.records.release(deployment.environment, deployment.service, action.release)
        for instance in action.instances:
            self._site.runtime.start(workload(release), instance)
            self._passed(deployment, "start-one")

    def _reroute(self, deployment: Deployment, action: Reroute, turn: Turn) -> None:
        before = self._placement(deployment)
        placement = action.placement.but(revision=before.revision + 1)
        about = {"deployment": deployment.id, "weights": placement.weights}
        self._site.journal.append(
            "traffic.shifting",
            deployment.subject,
            about | {"message": action.message},
            actor=ACTOR,
            lease=turn.lease,
            put={placement_key(placement.environment, placement.service): placement.to_json()},
        )
        self._passed(deployment, "reroute-journaled")
        try:
            served = self._router.apply(lambda place: self._passed(deployment, f"reroute-{place}"))
        except OpsbookError as error:
            # The proxy has its last good table back; so must the record.
            self._site.journal.append(
                "traffic.refused",
                deployment.subject,
                {"deployment": deployment.id, "reason": error.message},
                actor=ACTOR,
                lease=turn.lease,
                put={placement_key(before.environment, before.service): before.to_json()},
            )
            raise
        put = {}
        if action.shift and deployment.shift_seconds is None and deployment.phase is not Phase.ABORTING:
            put = {deployment_key(deployment.id): deployment.but(shift_seconds=served.seconds).to_json()}
        self._site.journal.append(
            "traffic.serving",
            deployment.subject,
            about | {"generation": served.generation, "seconds": served.seconds},
            actor=ACTOR,
            lease=turn.lease,
            put=put,
        )

    def _stop(self, deployment: Deployment, action: Stop, turn: Turn) -> None:
        self._router.forget(set(action.instances), self._placement(deployment), turn.lease)
        self._passed(deployment, "stop-forgotten")
        side_by_side([partial(self._site.runtime.stop, name) for name in action.instances])
        self._site.journal.append(
            "instance.stopped",
            deployment.subject,
            {"deployment": deployment.id, "instances": list(action.instances)},
            actor=ACTOR,
            lease=turn.lease,
        )

    def _promote(self, deployment: Deployment, action: Promote, turn: Turn) -> None:
        now = self._site.clock.now()
        placement = action.placement
        if placement.previous is not None and placement.previous.until == 0:
            until = now + deployment.strategy.keep_previous
            placement = placement.but(previous=placement.previous.but(until=until))
        watch = None
        if deployment.kind == "deploy" and deployment.strategy.watch > 0 and placement.previous is not None:
            watch = Watch(
                deployment=deployment.id,
                release=deployment.release,
                back_to=deployment.before.release,
                until=now + deployment.strategy.watch,
            )
        holds = tuple(hold for hold in placement.holds if hold.release != deployment.release)
        if deployment.requested_by == ACTOR and deployment.reverts:
            # The watch window took it back: what was bad is held, as after a rollback within the deployment.
            bad = deployment.but(release=deployment.before.release, version=deployment.before.version)
            holds = _with_hold(holds, bad, now)
        placement = placement.but(watch=watch, holds=holds)
        promoted = deployment.but(promoted=True, phase=Phase.DRAINING)
        put = {placement_key(placement.environment, placement.service): placement.to_json()}
        self._record(promoted, Phase.DRAINING, action.message, turn, put=put)

    def _finish(self, deployment: Deployment, action: Finish, turn: Turn | None) -> str:
        reason = action.reason
        if action.outcome is Outcome.SUCCEEDED and deployment.kind in ("deploy", "rollback"):
            # Before the end is recorded: after it nobody would come back to do it.
            reason += self._write_version(deployment)
            self._passed(deployment, "finish-written")
        now = self._site.clock.now()
        ended = deployment.but(phase=action.phase, outcome=action.outcome, reason=reason, finished_at=now)
        put: dict[str, Any] = {}
        if action.outcome is Outcome.ROLLED_BACK and deployment.kind == "deploy":
            put = self._held(deployment)
        ended = _with_transition(ended, now, action.phase, reason, {})
        self._site.journal.append(
            f"deployment.{action.outcome}",
            deployment.subject,
            {
                "id": deployment.id,
                "kind": deployment.kind,
                "version": deployment.version,
                "reason": reason,
                "seconds": round(now - (deployment.started_at or now), 3),
            },
            actor=ACTOR,
            lease=turn.lease if turn else None,
            put=put | {deployment_key(deployment.id): ended.to_json(), open_key(deployment.id): None},
        )
        if action.outcome is Outcome.SUCCEEDED and deployment.kind == "deploy":
            self._gatekeeper.check(deployment.id, "post")
        return action.phase

    # --- when something is in the way

    def _take_back(self, deployment: Deployment, error: OpsbookError, turn: Turn) -> None:
        reason = error.message + (f" ({error.hint})" if error.hint else "")
        if deployment.phase is Phase.ABORTING:
            # The way back itself is barred. What is healthy goes on serving; a person has to look.
            why = f"{deployment.reason}; and the way back failed: {reason}"
            self._finish(deployment, Finish(Phase.FAILED_NEEDS_HUMAN, Outcome.FAILED, why), turn)
            return
        if deployment.promoted:
            why = f"{deployment.version} serves, but the old version could not be put away: {reason}"
            self._finish(deployment, Finish(Phase.DONE, Outcome.SUCCEEDED, why), turn)
            return
        culprit = error.details.get("instance", "")
        self._enter(deployment, Enter(Phase.ABORTING, reason, culprit=str(culprit)), turn)

    def _finish_without_turn(self, name: str, why: str) -> str:
        """Somebody took the lock away: nothing may be touched any more, and a person must know."""
        deployment = self._deployment(name)
        phase = Phase.FAILED if deployment.phase is Phase.PENDING else Phase.FAILED_NEEDS_HUMAN
        return self._finish(deployment, Finish(phase, Outcome.FAILED, why), None)

    def _held(self, deployment: Deployment) -> dict[str, Any]:
        placement = self._placement(deployment)
        held = placement.but(holds=_with_hold(placement.holds, deployment, self._site.clock.now()))
        return {placement_key(placement.environment, placement.service): held.to_json()}

    def _write_version(self, deployment: Deployment) -> str:
        """Into the handbook; returns what to add to the reason when that was not possible."""
        try:
            self._site.write_version(
                deployment.environment, deployment.service, deployment.version, deployment.requested_by
            )
        except OpsbookError as error:
            return f"; the handbook was not updated: {error.message}"
        return ""

    # --- recording

    def _record(
        self,
        deployment: Deployment,
        phase: Phase,
        message: str,
        turn: Turn,
        evidence: dict[str, Any] | None = None,
        put: dict[str, Any] | None = None,
    ) -> None:
        now = self._site.clock.now()
        changed = _with_transition(deployment.but(phase_at=now), now, phase, message, evidence or {})
        self._site.journal.append(
            "deployment.phase",
            deployment.subject,
            {
                "id": deployment.id,
                "version": deployment.version,
                "phase": phase,
                "step": deployment.step,
                "message": message,
                "evidence": evidence or {},
            },
            actor=ACTOR,
            lease=turn.lease,
            put=(put or {}) | {deployment_key(deployment.id): changed.to_json()},
        )

    def _passed(self, deployment: Deployment, place: str) -> None:
        """Tell the tests where we are: ``DEPLOYMENT:PHASE:PLACE``."""
        self._site.boundary(f"{deployment.id}:{deployment.phase}:{place}")

    def _deployment(self, name: str) -> Deployment:
        return self._site.records.deployment(name)

    def _placement(self, deployment: Deployment) -> Placement:
        return self._site.records.placement(deployment.environment, deployment.service)

    def _say(self, name: str) -> Callable[[str], None]:
        def say(text: str) -> None:
            self.waiting[name] = text

        return say

    def _wants_out(self, name: str) -> bool:
        self._check_still_running()
        return self._deployment(name).abort is not None

    def _pause_after_error(self) -> None:
        if self._stopping.wait(1.0):
            raise Interrupted

    def _check_still_running(self) -> None:
        if self._stopping.is_set():
            raise Interrupted


def _with_hold(holds: tuple[Hold, ...], bad: Deployment, at: float) -> tuple[Hold, ...]:
    """The last ten holds, with one on what `bad` brought."""
    hold = Hold(
        release=bad.release, version=bad.version, reason=bad.reason, at=at, deployment=bad.reverts or bad.id
    )
    return (*(known for known in holds if known.release != hold.release), hold)[-10:]


def _with_transition(
    deployment: Deployment, at: float, phase: Phase, message: str, evidence: dict[str, Any]
) -> Deployment:
    transition = Transition(at=at, phase=phase, message=message, evidence=evidence)
    started = deployment.started_at or at
    return deployment.but(transitions=(*deployment.transitions, transition), started_at=started)


def _untouched(deployment: Deployment, reason: str) -> str:
    serving = deployment.before.version
    return f"{reason}; {serving} goes on serving" if serving else reason
