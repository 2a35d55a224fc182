"""Canaries that are judged and deployments that are gated, decided over a simulated world."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from simulation import Simulation, simulate, standing

from opsbook.deployment.forward import baseline_of
from opsbook.deployment.judging import held
from opsbook.deployment.looks import Enter, Gate, Look, Seen, Verdict, Wait
from opsbook.deployment.model import CanaryStep, Outcome, Phase, Reaction, Rule, Strategy

CANARY = Strategy(
    name="canary",
    type="canary",
    steps=(CanaryStep(weight=10, hold=5.0), CanaryStep(weight=50, hold=5.0)),
    analysis=(Rule(metric="error_rate", max=0.05), Rule(metric="error_rate", compare="stable")),
    inconclusive_after=10.0,
)
PASS = Verdict("pass", "as good as stable")
FAIL = Verdict("fail", "error_rate is 40 %")
UNDECIDED = [
    Verdict("inconclusive", "too close"),
    Verdict("error", "no figures"),
    Verdict("no_data", "nobody"),
]
VERDICTS = [PASS, FAIL, *UNDECIDED, None]
REACTIONS = {"inconclusive": "on_inconclusive", "error": "on_error", "no_data": "on_no_data"}

OPEN = Gate("hours", "open", "it is day")
WAITING = Gate("hours", "waiting", "it is night")
REFUSED = Gate("approval", "refused", "ben said no")
GATES = [OPEN, WAITING, REFUSED]


def in_step(simulation: Simulation, step: int = 0) -> Simulation:
    """Up to the hold of `step`, by passes."""
    while (simulation.deployment.phase, simulation.deployment.step) != (Phase.ANALYSING, step):
        simulation.verdict = PASS
        assert simulation.step()
    return simulation


def looked(verdict: Verdict | None, elapsed: float) -> Seen:
    looks = {
        name: Look(id=name, release="web-new", up=True, ready=True, routed=True)
        for name in ("new-0", "new-1")
    }
    return Seen(looks=looks, elapsed=elapsed, verdict=verdict)


def test_canary_that_passes_is_promoted() -> None:
    """With a pass at each step the new version takes all requests, each step held for its time."""
    simulation = simulate(CANARY)
    simulation.verdict = PASS
    simulation.run()
    assert simulation.deployment.outcome == Outcome.SUCCEEDED
    assert simulation.passed_steps == [0, 1]
    assert simulation.placement.weights == {"web-new": 100}


def test_step_without_a_hold_is_judged_too() -> None:
    """A hold of no time does not let a step go on without a verdict."""
    simulation = in_step(simulate(CANARY.but(steps=(CanaryStep(weight=10, hold=0.0),))))
    simulation.verdict = UNDECIDED[2]
    for _ in range(100):
        simulation.step()
    assert (simulation.deployment.phase, simulation.passed_steps) == (Phase.ANALYSING, [])
    simulation.verdict = PASS
    simulation.run()
    assert simulation.deployment.outcome == Outcome.SUCCEEDED


@pytest.mark.parametrize("step", [0, 1])
def test_canary_that_fails_is_taken_back_at_once(step: int) -> None:
    """A failing verdict does not wait for the hold to end, at no step."""
    simulation = in_step(simulate(CANARY), step)
    simulation.verdict = FAIL
    simulation.step()
    assert simulation.deployment.phase is Phase.ABORTING
    simulation.run()
    assert simulation.deployment.outcome == Outcome.ROLLED_BACK
    assert FAIL.reason in simulation.deployment.reason
    assert simulation.placement.weights == {"web-old": 100}


@pytest.mark.parametrize("verdict", [None, UNDECIDED[2]], ids=["unread", "no data"])
def test_without_data_it_waits_and_is_never_promoted(verdict: Verdict | None) -> None:
    """However long nobody asks the canary, it stays where it is, and says that a person may let it go on."""
    simulation = in_step(simulate(CANARY))
    simulation.verdict = verdict
    for _ in range(3000):
        assert simulation.step()
    assert (simulation.deployment.phase, simulation.deployment.step) == (Phase.ANALYSING, 0)
    assert "opsbook approve d-7" in simulation.log[-1]
    simulation.deployment = simulation.deployment.but(allowed_step=0)
    while simulation.deployment.step == 0:
        simulation.step()
    for _ in range(500):  # what a person allowed was one step
        assert simulation.step()
    assert (simulation.deployment.phase, simulation.deployment.step) == (Phase.ANALYSING, 1)


@pytest.mark.parametrize("verdict", UNDECIDED, ids=lambda verdict: verdict.kind)
@pytest.mark.parametrize("reaction", ["rollback", "wait"])
def test_undecided_reacts_as_the_strategy_says(verdict: Verdict, reaction: Reaction) -> None:
    """Each way of not knowing has its reaction: back after `inconclusive_after` beyond the hold, or wait."""
    others = dict.fromkeys(REACTIONS.values(), "wait" if reaction == "rollback" else "rollback")
    strategy = CANARY.but(**others | {REACTIONS[verdict.kind]: reaction})
    deployment = simulate(strategy).deployment
    assert isinstance(held(deployment, looked(verdict, 4.9), 5.0), Wait)
    assert isinstance(held(deployment, looked(verdict, 15.0), 5.0), Wait)
    late = held(deployment, looked(verdict, 15.1), 5.0)
    if reaction == "wait":
        assert isinstance(late, Wait)
        assert "opsbook approve d-7" in late.waiting_for
    else:
        assert late == Enter(Phase.ABORTING, f"undecided for 10 s beyond the hold: {verdict.reason}")


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict.kind if verdict else "none")
def test_dry_run_goes_by_the_hold_alone(verdict: Verdict | None) -> None:
    """In a dry run no verdict holds anything up or takes anything back, and none shortens the hold."""
    deployment = simulate(CANARY.but(dry_run=True)).deployment
    assert held(deployment, looked(verdict, 4.0), 5.0) == Wait("1 s more at this weight")
    assert held(deployment, looked(verdict, 5.0), 5.0) is None
    simulation = simulate(CANARY.but(dry_run=True))
    simulation.verdict = verdict
    simulation.run()
    assert simulation.deployment.outcome == Outcome.SUCCEEDED


def test_a_person_cannot_allow_what_fails() -> None:
    """A failing verdict takes back a step that somebody had allowed."""
    deployment = simulate(CANARY).deployment.but(allowed_step=1)
    assert held(deployment, looked(UNDECIDED[0], 5.0), 5.0) is None
    assert held(deployment, looked(FAIL, 5.0), 5.0) == Enter(Phase.ABORTING, FAIL.reason)


def test_pass_waits_for_the_proxy() -> None:
    """A pass is not enough while the proxy sees an instance of the canary ill."""
    seen = looked(PASS, 6.0)
    ill = Look(id="new-1", release="web-new", up=True, ready=True, routed=False)
    assert isinstance(
        held(simulate(CANARY).deployment, Seen({**seen.looks, "new-1": ill}, 6.0, verdict=PASS), 5.0), Wait
    )


@pytest.mark.parametrize("verdict", [PASS, FAIL], ids=["forward", "back"])
@pytest.mark.parametrize("dies", [False, True], ids=["", "dies in its stop"])
def test_baseline_leaves_both_ways(verdict: Verdict, dies: bool) -> None:
    """Fresh instances of the stable version take the canary's share, and are gone whatever the verdict was."""
    simulation = in_step(simulate(CANARY, baseline=1))
    assert simulation.placement.weights == {
        "web-new": 10, baseline_of(simulation.deployment): 10, "web-old": 80,
    }  # fmt: skip
    simulation.verdict = verdict
    simulation.dies_in_stop = dies
    simulation.run()
    assert not [name for name in simulation.processes if name.startswith("base")]
    assert {"web-old", "web-new"} >= {group.release for group in simulation.placement.groups}
    assert simulation.placement.weights == {"web-new" if verdict is PASS else "web-old": 100}


def test_baseline_that_never_becomes_healthy_does_not_block_for_ever() -> None:
    """Without its baseline a canary cannot be compared: it is taken back and says why, before traffic moved."""
    simulation = simulate(CANARY, baseline=1)
    simulation.doomed_releases = {"web-old"}
    simulation.run()
    assert simulation.deployment.outcome == Outcome.ROLLED_BACK
    assert "base-0 was not healthy within 60 s" in simulation.deployment.reason
    assert simulation.placement.weights == {"web-old": 100}
    assert sorted(simulation.processes) == ["old-0", "old-1"]


@pytest.mark.parametrize("gate", [WAITING, REFUSED], ids=lambda gate: gate.status)
def test_closed_gate_lets_nothing_start(gate: Gate) -> None:
    """While a gate waits nothing runs of it; a refusal ends it, whatever other gates say."""
    simulation = simulate(CANARY)
    simulation.verdict, simulation.gates = PASS, (OPEN, gate)
    for _ in range(300):
        simulation.step()
    assert sorted(simulation.processes) == ["old-0", "old-1"]
    if gate is WAITING:
        assert simulation.deployment.phase is Phase.GATED
        simulation.gates = (OPEN, OPEN)
        simulation.run()
        assert simulation.deployment.outcome == Outcome.SUCCEEDED
    else:
        assert simulation.deployment.outcome == Outcome.FAILED
        assert REFUSED.detail in simulation.deployment.reason


@pytest.mark.parametrize("kept", [True, False], ids=["old one is warm", "old one is gone"])
def test_refusal_after_the_deployment_goes_back_where_it_can(kept: bool) -> None:
    """What must hold after the deployment and does not takes it back, or is said when there is no way back."""
    simulation = simulate(CANARY.but(keep_previous=600.0 if kept else 0.0))
    simulation.verdict, simulation.gate_after = PASS, WAITING
    for _ in range(600):
        assert simulation.step()
    assert simulation.deployment.phase is Phase.DRAINING
    simulation.gate_after = REFUSED
    simulation.run()
    assert simulation.deployment.outcome == (Outcome.ROLLED_BACK if kept else Outcome.SUCCEEDED)
    assert REFUSED.detail in simulation.deployment.reason
    assert simulation.placement.weights == {"web-old" if kept else "web-new": 100}


@given(verdict=st.sampled_from(VERDICTS), elapsed=st.floats(0, 100), allowed=st.integers(-1, 2))
@settings(max_examples=200, deadline=None)
def test_only_a_pass_or_a_person_lets_a_step_go_on(
    verdict: Verdict | None, elapsed: float, allowed: int
) -> None:
    """`held` is silent only after the hold, and only for a pass or for a step that is allowed and does not fail."""
    deployment = simulate(CANARY).deployment.but(step=1, allowed_step=allowed)
    kind = verdict.kind if verdict else "no_data"
    goes_on = elapsed >= 5.0 and (kind == "pass" or (allowed >= 1 and kind != "fail"))
    assert goes_on == (held(deployment, looked(verdict, elapsed), 5.0) is None)


class Judged(RuleBasedStateMachine):
    """Any sequence of verdicts, gates, permissions, crashes, aborts, and deaths of opsbook.

    What must hold at each action is checked by the simulation.
    """

    @initialize(
        old=st.integers(1, 3),
        new=st.integers(1, 3),
        baseline=st.integers(0, 2),
        dry_run=st.booleans(),
        keep_previous=st.sampled_from([0.0, 600.0]),
        reactions=st.tuples(*[st.sampled_from(["rollback", "wait"])] * 3),
        doomed=st.sampled_from([frozenset(), frozenset({"web-new"}), frozenset({"web-old"})]),
        gates=st.lists(st.sampled_from(GATES), max_size=2),
    )
    def begin(
        self,
        old: int,
        new: int,
        baseline: int,
        dry_run: bool,
        keep_previous: float,
        reactions: tuple[str, ...],
        doomed: frozenset[str],
        gates: list[Gate],
    ) -> None:
        strategy = CANARY.but(
            dry_run=dry_run,
            keep_previous=keep_previous,
            **dict(zip(REACTIONS.values(), reactions, strict=True)),
        )
        self.simulation = simulate(strategy, before=standing(old), replicas=new, baseline=baseline)
        self.simulation.doomed_releases = set(doomed)
        self.simulation.gates = tuple(gates)

    @rule(steps=st.integers(1, 12))
    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.simulation.step()

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.simulation.tick(seconds)

    @rule(verdict=st.sampled_from(VERDICTS))
    def judge(self, verdict: Verdict | None) -> None:
        self.simulation.verdict = verdict

    @rule(gates=st.lists(st.sampled_from(GATES), max_size=3))
    def gates_before_say(self, gates: list[Gate]) -> None:
        self.simulation.gates = tuple(gates)

    @rule(gate=st.sampled_from(GATES))
    def gate_after_says(self, gate: Gate) -> None:
        self.simulation.gate_after = gate

    @precondition(lambda self: self.simulation.deployment.phase is Phase.ANALYSING)
    @rule()
    def somebody_allows_the_step(self) -> None:
        deployment = self.simulation.deployment
        self.simulation.deployment = deployment.but(allowed_step=deployment.step)

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        if names := sorted(self.simulation.processes):
            process = self.simulation.processes[data.draw(st.sampled_from(names))]
            process.up = process.healthy = False
            process.crashes += 1

    @rule()
    def everybody_comes_back(self) -> None:
        for process in self.simulation.processes.values():
            process.age, process.up = (process.age if process.up else 0.0), True

    @rule()
    def opsbook_dies_at_the_next_stop(self) -> None:
        self.simulation.dies_in_stop = True

    @rule()
    def opsbook_dies(self) -> None:
        self.simulation.elapsed = 0.0

    @precondition(lambda self: self.simulation.deployment.phase not in (Phase.PENDING, Phase.GATED))
    @rule()
    def abort(self) -> None:
        self.simulation.abort()

    @invariant()
    def one_pair_has_weight(self) -> None:
        assert set(self.simulation.placement.weights) <= {
            "web-old", "web-new", baseline_of(self.simulation.deployment),
        }  # fmt: skip

    @invariant()
    def nothing_runs_before_the_gates_are_open(self) -> None:
        if self.simulation.deployment.phase in (Phase.PENDING, Phase.GATED):
            assert {process.release for process in self.simulation.processes.values()} <= {"web-old"}
            assert not any(name.startswith("base") for name in self.simulation.processes)

    def teardown(self) -> None:
        """Once verdicts and gates settle and crashes end, every deployment ends, with the traffic where it says."""
        if not hasattr(self, "simulation"):
            return
        simulation = self.simulation
        for process in simulation.processes.values():
            process.up, process.crashes = True, 0
        simulation.dies_in_stop = False
        simulation.verdict, simulation.gates, simulation.gate_after = PASS, (OPEN,), OPEN
        simulation.run()
        deployment, placement = simulation.deployment, simulation.placement
        assert deployment.outcome is not None
        assert deployment.reason
        if deployment.phase is Phase.FAILED_NEEDS_HUMAN:
            return
        assert set(simulation.processes) == set(placement.instances())
        assert not set(deployment.baseline) & set(simulation.processes)
        winner = deployment.release if deployment.outcome is Outcome.SUCCEEDED else "web-old"
        assert placement.weights == {winner: 100}
        assert placement.release == winner or deployment.outcome is Outcome.FAILED
        if deployment.outcome is not Outcome.SUCCEEDED:
            assert not set(deployment.instances) & set(simulation.processes)


TestJudged = Judged.TestCase
TestJudged.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
