"""A world small enough to be checked whole: instances, a proxy, and a clock that is told how late it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from opsbook.deployment.forward import step_count
from opsbook.deployment.looks import (
    Enter,
    Finish,
    Gate,
    Look,
    Promote,
    Reroute,
    Seen,
    Start,
    Stop,
    Verdict,
    Wait,
)
from opsbook.deployment.model import (
    Abort,
    Deployment,
    Entry,
    Group,
    Member,
    Outcome,
    Phase,
    Placement,
    Strategy,
)
from opsbook.deployment.plan import decide

ENTRY = Entry(listener="test", kind="http", address="127.0.0.1", port=8080)


@dataclass
class Process:
    release: str
    up: bool = True
    healthy: bool = False
    age: float = 0.0
    crashes: int = 0
    was_ready: bool = False
    unready_for: float = 0.0
    draining_for: float = 0.0
    active: int = 0
    doomed: bool = False  # never becomes healthy


@dataclass
class Simulation:
    """Drives `decide` against simulated processes and checks, at every action, what must always hold."""

    deployment: Deployment
    placement: Placement
    processes: dict[str, Process] = field(default_factory=dict)
    elapsed: float = 0.0
    doomed_releases: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    lowest_serving: int = 10**6
    unreachable: int = 0  # looks at which traffic had a release without a healthy instance
    checked: bool = True
    dies_in_stop: bool = False  # at the next stop: out of the placement, not stopped yet
    verdict: Verdict | None = None  # what the analysis says whenever it is asked
    gates: tuple[Gate, ...] = ()  # before the start
    gate_after: Gate | None = None  # before the end
    passed_steps: list[int] = field(default_factory=list)  # steps that were held and then left forwards

    def seen(self) -> Seen:
        draining = self.placement.draining()
        known = self.placement.instances()
        looks = {
            name: Look(
                id=name,
                release=process.release,
                up=process.up,
                ready=process.up and process.healthy,
                routed=process.up and process.healthy and (name in known or self.placement.entry is None),
                active=process.active if process.up else 0,
                crashes=process.crashes,
                unready_for=process.unready_for,
                was_ready=process.was_ready,
                draining_for=process.draining_for if name in draining else 0.0,
                detail="simulated",
            )
            for name, process in self.processes.items()
        }
        return Seen(
            looks=looks,
            elapsed=self.elapsed,
            has_port=self.placement.entry is not None,
            serving=True,
            verdict=self.verdict if self.deployment.phase is Phase.ANALYSING else None,
            gates=self._gates(),
        )

    def _gates(self) -> tuple[Gate, ...]:
        """Gates are asked before the start and before the end, as the workflow does."""
        if self.deployment.phase is Phase.GATED:
            return self.gates
        after = self.deployment.phase is Phase.DRAINING and self.gate_after is not None
        return (self.gate_after,) if after and self.gate_after else ()

    def tick(self, seconds: float = 0.5) -> None:
        self.elapsed += seconds
        draining = self.placement.draining()
        for name, process in self.processes.items():
            process.age += seconds
            if process.age >= 1.0 and process.up and not process.doomed:
                process.healthy = True
            process.was_ready = process.was_ready or (process.up and process.healthy)
            process.unready_for = 0.0 if process.up and process.healthy else process.unready_for + seconds
            process.draining_for = process.draining_for + seconds if name in draining else 0.0
            if name in draining:
                process.active = 0

    def step(self) -> bool:
        """One action; False when the deployment has ended."""
        if self.deployment.finished:
            return False
        action = decide(self.deployment, self.placement, self.seen())
        self.log.append(f"{self.deployment.phase}: {action}")
        match action:
            case Enter():
                self._check_enter(action)
                self.elapsed = 0.0
                reason = action.message if action.phase is Phase.ABORTING else self.deployment.reason
                self.deployment = self.deployment.but(phase=action.phase, step=action.step, reason=reason)
            case Start():
                assert self.deployment.phase not in (Phase.PENDING, Phase.GATED), "started before its gates"
                if action.backup:
                    names = dict.fromkeys((*self.deployment.backups, *action.instances))
                    self.deployment = self.deployment.but(backups=tuple(names))
                for name in action.instances:
                    assert name not in self.processes, f"{name} started twice"
                    doomed = action.release in self.doomed_releases
                    self.processes[name] = Process(action.release, doomed=doomed)
            case Reroute():
                self.placement = action.placement.but(revision=self.placement.revision + 1)
                self._check_routes()
            case Stop():
                self._check_stop(action)
                for name in action.instances if not self.dies_in_stop else ():
                    self.processes.pop(name, None)
                self.dies_in_stop = False
                self.placement = self.placement.without(set(action.instances))
            case Promote():
                self._check_promotion()
                self.placement = action.placement
                self.deployment = self.deployment.but(promoted=True, phase=Phase.DRAINING)
                self.elapsed = 0.0
            case Finish():
                self._check_finish(action)
                self.deployment = self.deployment.but(
                    phase=action.phase, outcome=action.outcome, reason=action.reason
                )
            case Wait():
                self.tick()
        serving = self.serving()
        self.lowest_serving = min(self.lowest_serving, len(serving))
        return not self.deployment.finished

    def serving(self) -> list[str]:
        """Instances that take new requests and are well."""
        draining = self.placement.draining()
        return [
            name
            for name, release in self.placement.instances().items()
            if self.placement.weights.get(release)
            and name not in draining
            and (process := self.processes.get(name))
            and process.up
            and process.healthy
        ]

    def run(self, limit: int = 2000) -> None:
        for _ in range(limit):
            if not self.step():
                return
        raise AssertionError("it never ended:\n" + "\n".join(self.log[-20:]))

    def abort(self, superseded_by: str = "") -> None:
        if not self.deployment.finished and self.deployment.abort is None:
            self.deployment = self.deployment.but(
                abort=Abort(by="ana", reason="changed my mind", at=0.0, superseded_by=superseded_by)
            )

    # --- what must always hold

    def _check_enter(self, action: Enter) -> None:
        deployment, strategy = self.deployment, self.deployment.strategy
        if action.phase is Phase.STARTING:
            assert all(gate.status == "open" for gate in self.gates), f"started in spite of {self.gates}"
        if deployment.phase is Phase.ANALYSING and action.phase is not Phase.ABORTING:
            judged = bool(strategy.analysis) and not strategy.dry_run
            passed = self.verdict is not None and self.verdict.kind == "pass"
            failed = self.verdict is not None and self.verdict.kind == "fail"
            assert not (judged and failed), f"step {deployment.step} went on although it failed"
            allowed = deployment.allowed_step >= deployment.step
            assert not judged or passed or allowed, f"step {deployment.step} went on with {self.verdict}"
            assert self.elapsed >= strategy.steps[deployment.step].hold, "before its hold was over"
            self.passed_steps.append(deployment.step)

    def _check_finish(self, action: Finish) -> None:
        after = self.gate_after
        if action.outcome is Outcome.SUCCEEDED and self.deployment.abort is None and after is not None:
            assert after.status != "waiting", f"ended in spite of {after}"
            assert after.status == "open" or after.detail in action.reason, "the refusal goes unsaid"

    def _check_routes(self) -> None:
        living = {
            group.release for group in self.placement.groups if any(not m.draining for m in group.members)
        }
        for release, weight in self.placement.weights.items():
            assert weight > 0
            assert release in living, f"weight on {release}, which takes no requests"

    def _check_stop(self, action: Stop) -> None:
        draining = self.placement.draining()
        for name in action.instances:
            process = self.processes.get(name)
            takes = name in self.placement.instances() and name not in draining
            weighted = bool(self.placement.weights.get(self.placement.instances().get(name, "")))
            if process is not None and process.up and process.healthy and self.placement.entry is not None:
                assert not (takes and weighted), f"{name} was stopped while it took requests"
                timed_out = process.draining_for > self.deployment.strategy.drain_timeout
                assert process.active == 0 or timed_out, f"{name} was stopped in the middle of a request"

    def _check_promotion(self) -> None:
        for name in self.deployment.instances:
            process = self.processes[name]
            assert process.up, f"promoted although {name} was down"
            assert process.healthy, f"promoted although {name} was unhealthy"
        judged = self.deployment.strategy.analysis and step_count(self.deployment) > 1
        if judged and not self.deployment.strategy.dry_run:
            steps = list(range(step_count(self.deployment) - 1))
            assert steps == self.passed_steps, f"promoted after the steps {self.passed_steps} alone"


def standing(
    replicas: int, *, version: str = "1.0", release: str = "web-old", entry: Entry | None = ENTRY
) -> Placement:
    """A placement with `replicas` healthy instances of an old release."""
    members = tuple(Member(instance=f"old-{n}") for n in range(replicas))
    return Placement(
        environment="test",
        service="web",
        release=release,
        version=version,
        strategy="blue-green",
        replicas=replicas,
        groups=(Group(release=release, members=members),) if members else (),
        weights={release: 100} if members else {},
        entry=entry,
    )


def simulate(
    strategy: Strategy,
    *,
    kind: str = "deploy",
    before: Placement | None = None,
    replicas: int = 2,
    release: str = "web-new",
    first: bool = False,
    baseline: int = 0,
) -> Simulation:
    """A deployment about to begin, over a standing placement (or none, with `first`)."""
    placement = before if before is not None else standing(2)
    if first:
        placement = Placement(environment="test", service="web", entry=ENTRY)
    processes = {
        name: Process(found, healthy=True, age=60.0, was_ready=True, active=3)
        for name, found in placement.instances().items()
    }
    grown = range(replicas)
    if kind == "scale":
        grown = range(max(0, replicas - len(placement.members(placement.release))))
        release = placement.release
    if kind == "restart":
        release = placement.release
    deployment = Deployment(
        id="d-7",
        kind=kind,  # type: ignore[arg-type]
        service="web",
        environment="test",
        version="2.0",
        strategy=strategy,
        replicas=replicas,
        release=release,
        instances=tuple(f"new-{n}" for n in grown),
        baseline=tuple(f"base-{n}" for n in range(baseline)),
        before=placement,
    )
    return Simulation(deployment, placement, processes)


__all__ = ["ENTRY", "Outcome", "Process", "Simulation", "simulate", "standing"]
