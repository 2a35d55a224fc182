"""The plan, decided over a simulated world."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from simulation import ENTRY, Simulation, simulate, standing

from opsbook.deployment.forward import leftovers
from opsbook.deployment.model import CanaryStep, Group, Member, Outcome, Phase, Strategy, Warm

BLUE_GREEN = Strategy(name="blue-green", type="blue-green")
ROLLING = Strategy(name="rolling", type="rolling", keep_previous=0.0)
RECREATE = Strategy(name="recreate", type="recreate", keep_previous=0.0)
CANARY = Strategy(
    name="canary", type="canary", steps=(CanaryStep(weight=10, hold=5.0), CanaryStep(weight=50, hold=5.0))
)
ALL = [BLUE_GREEN, ROLLING, RECREATE, CANARY]


def phases(simulation: Simulation) -> list[str]:
    return list(dict.fromkeys(line.split(":")[0] for line in simulation.log))


def test_blue_green_keeps_the_old_release_warm() -> None:
    """After a blue-green deployment the new release has all requests and the old one still runs without any."""
    simulation = simulate(BLUE_GREEN)
    simulation.run()
    assert simulation.deployment.outcome == Outcome.SUCCEEDED
    assert simulation.placement.weights == {"web-new": 100}
    assert sorted(simulation.processes) == ["new-0", "new-1", "old-0", "old-1"]
    assert simulation.placement.previous is not None
    assert simulation.placement.previous.release == "web-old"
    assert simulation.lowest_serving == 2


def test_blue_green_passes_every_phase_in_order() -> None:
    """The phases are entered in the order that the handbook names them."""
    simulation = simulate(BLUE_GREEN)
    simulation.run()
    assert phases(simulation) == [
        "pending", "gated", "starting", "ready", "shifting", "promoting", "draining",
    ]  # fmt: skip


def test_canary_moves_step_by_step() -> None:
    """A canary without analysis goes through its weights, holding each for its time."""
    simulation = simulate(CANARY)
    seen = []
    while simulation.step():
        if not seen or seen[-1] != simulation.placement.weights:
            seen.append(simulation.placement.weights)
    assert seen == [
        {"web-old": 100},
        {"web-new": 10, "web-old": 90},
        {"web-new": 50, "web-old": 50},
        {"web-new": 100},
    ]


def test_rolling_never_has_fewer_or_more_than_allowed() -> None:
    """With a surge of one and none unavailable, four replicas never fall below four serving nor rise above five."""
    simulation = simulate(ROLLING, before=standing(4), replicas=4)
    most = 0
    while simulation.step():
        most = max(most, len(simulation.processes))
    assert simulation.deployment.outcome == Outcome.SUCCEEDED
    assert simulation.lowest_serving == 4
    assert most == 5
    assert sorted(simulation.processes) == [f"new-{n}" for n in range(4)]


def test_recreate_never_runs_two_versions_at_once() -> None:
    """Recreate stops the old version before it starts the new one."""
    simulation = simulate(RECREATE)
    while simulation.step():
        assert len({process.release for process in simulation.processes.values()}) <= 1
    assert simulation.placement.weights == {"web-new": 100}


@pytest.mark.parametrize("strategy", ALL, ids=lambda strategy: strategy.name)
def test_never_healthy_leaves_the_old_version_serving(strategy: Strategy) -> None:
    """A version that never becomes healthy is taken back and says why; the old one serves whole."""
    simulation = simulate(strategy)
    simulation.doomed_releases = {"web-new"}
    simulation.run()
    assert simulation.deployment.outcome == Outcome.ROLLED_BACK
    assert "was not healthy within 60 s" in simulation.deployment.reason
    assert simulation.placement.weights == {"web-old": 100}
    assert len(simulation.serving()) == 2
    assert {process.release for process in simulation.processes.values()} == {"web-old"}


@pytest.mark.parametrize(
    "strategy", [BLUE_GREEN.but(keep_previous=0.0), ROLLING, RECREATE], ids=lambda s: s.name
)
@pytest.mark.parametrize("doomed", [False, True], ids=["forward", "back"])
def test_stop_that_was_interrupted_leaves_nobody_running(strategy: Strategy, doomed: bool) -> None:
    """Instances that had left the placement when opsbook died are stopped by the next one, forward and back."""
    simulation = simulate(strategy)
    simulation.doomed_releases = {"web-new"} if doomed else set()
    simulation.dies_in_stop = True
    simulation.run()
    assert simulation.deployment.finished
    assert set(simulation.processes) == set(simulation.placement.instances())


@pytest.mark.parametrize("strategy", ALL, ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("first", [False, True], ids=["over an old one", "first"])
def test_way_back_gives_back_the_entry(strategy: Strategy, first: bool) -> None:
    """Where requests come in is a part of the release: what the handbook had changed is changed back."""
    simulation = simulate(strategy, first=first)
    entry = None if first else ENTRY.but(port=9090)
    simulation.deployment = simulation.deployment.but(before=simulation.placement.but(entry=entry))
    simulation.doomed_releases = {"web-new"}
    simulation.run()
    assert simulation.placement.entry == entry


def test_never_healthy_recreate_starts_the_old_version_again() -> None:
    """Recreate had stopped the old version; on the way back it is started again from its release."""
    simulation = simulate(RECREATE)
    simulation.doomed_releases = {"web-new"}
    simulation.run()
    assert sorted(simulation.processes) == ["web-test-d7-b1", "web-test-d7-b2"]


def test_way_back_that_fails_needs_a_human() -> None:
    """When neither the new nor the old version becomes healthy, the end says that a person is needed."""
    simulation = simulate(RECREATE)
    simulation.doomed_releases = {"web-new", "web-old"}
    simulation.run()
    assert simulation.deployment.phase == Phase.FAILED_NEEDS_HUMAN


def test_first_deployment_that_fails_has_nothing_to_go_back_to() -> None:
    """A failed first deployment ends failed, with nothing left running."""
    simulation = simulate(BLUE_GREEN, first=True)
    simulation.doomed_releases = {"web-new"}
    simulation.run()
    assert (simulation.deployment.phase, simulation.deployment.outcome) == (Phase.FAILED, Outcome.FAILED)
    assert simulation.processes == {}
    assert simulation.placement.weights == {}


def test_crash_loop_is_taken_back_without_waiting_for_the_timeout() -> None:
    """An instance that ended more often than allowed condemns its release at once."""
    simulation = simulate(BLUE_GREEN)
    while simulation.deployment.phase is not Phase.STARTING or "new-0" not in simulation.processes:
        simulation.step()
    simulation.processes["new-0"].crashes = 4
    simulation.run()
    assert simulation.deployment.outcome == Outcome.ROLLED_BACK
    assert "crash loop" in simulation.deployment.reason
    assert simulation.processes["old-0"].age < 70


def test_bad_stable_does_not_block_the_fix() -> None:
    """An old version that is down is replaced like a healthy one."""
    for strategy in ALL:
        simulation = simulate(strategy)
        for process in simulation.processes.values():
            process.up = process.healthy = False
            process.doomed = True
        simulation.run()
        assert simulation.deployment.outcome == Outcome.SUCCEEDED, strategy.name
        assert simulation.placement.weights == {"web-new": 100}


def test_abort_before_traffic_moved_does_not_wait_for_a_bad_stable() -> None:
    """Nothing was touched, so there is nothing to wait for, however ill the old version is."""
    simulation = simulate(BLUE_GREEN)
    for process in simulation.processes.values():
        process.up = process.healthy = False
        process.doomed = True
    simulation.step()
    simulation.abort()
    simulation.run(limit=20)
    assert simulation.deployment.outcome == Outcome.ABORTED


def test_abort_after_the_old_version_is_gone_says_so() -> None:
    """An abort that comes too late ends the deployment as what it is: done."""
    simulation = simulate(ROLLING)
    while simulation.deployment.phase is not Phase.DRAINING:
        simulation.step()
    simulation.abort()
    simulation.run()
    assert simulation.deployment.outcome == Outcome.SUCCEEDED
    assert "roll back instead" in simulation.deployment.reason


def test_abort_after_promotion_goes_back_while_the_old_version_stands() -> None:
    """Abort wins in the draining phase too, as long as the old version still runs."""
    simulation = simulate(BLUE_GREEN)
    while simulation.deployment.phase is not Phase.DRAINING:
        simulation.step()
    simulation.abort()
    simulation.run()
    assert simulation.deployment.outcome == Outcome.ABORTED
    assert simulation.placement.weights == {"web-old": 100}
    assert simulation.placement.release == "web-old"


def test_superseded_is_its_own_outcome() -> None:
    """A deployment taken back in favour of a newer one is neither a failure nor a person's abort."""
    simulation = simulate(BLUE_GREEN)
    simulation.step()
    simulation.abort(superseded_by="d-8")
    simulation.run()
    assert simulation.deployment.outcome == Outcome.SUPERSEDED


def test_scale_up_and_down() -> None:
    """Scaling adds healthy instances or drains the youngest, within the same release."""
    more = simulate(BLUE_GREEN, kind="scale", replicas=4)
    more.run()
    assert sorted(more.serving()) == ["new-0", "new-1", "old-0", "old-1"]
    fewer = simulate(BLUE_GREEN, kind="scale", before=standing(4), replicas=1)
    fewer.run()
    assert sorted(fewer.processes) == ["old-0"]
    none = simulate(BLUE_GREEN, kind="scale", replicas=0)
    none.run()
    assert none.processes == {}
    assert none.placement.weights == {}


def test_restart_replaces_every_instance_of_the_same_release() -> None:
    """A restart is a roll within one release; it never has fewer serving than wanted."""
    simulation = simulate(ROLLING, kind="restart")
    simulation.run()
    assert sorted(simulation.processes) == ["new-0", "new-1"]
    assert simulation.placement.weights == {"web-old": 100}
    assert simulation.lowest_serving == 2


def test_rollback_to_the_warm_release_needs_no_start() -> None:
    """The warm release takes the requests by one route change, and the bad one is put away."""
    before = standing(2, release="web-bad").but(
        groups=(
            Group(release="web-bad", members=(Member(instance="bad-0"), Member(instance="bad-1"))),
            Group(release="web-good", members=(Member(instance="good-0"), Member(instance="good-1"))),
        ),
        previous=Warm(release="web-good", version="1.0", until=99.0),
    )
    simulation = simulate(BLUE_GREEN, kind="rollback", before=before, release="web-good")
    simulation.deployment = simulation.deployment.but(instances=("good-0", "good-1"))
    simulation.run()
    assert simulation.deployment.outcome == Outcome.SUCCEEDED
    assert not any("Start(" in line for line in simulation.log)
    assert sorted(simulation.processes) == ["good-0", "good-1"]
    assert simulation.placement.previous is None


def test_worker_is_replaced_without_a_proxy() -> None:
    """A service without a port goes the same way; nothing waits for a proxy that does not know it."""
    simulation = simulate(RECREATE, before=standing(1, entry=None), replicas=1)
    simulation.run()
    assert simulation.deployment.outcome == Outcome.SUCCEEDED
    assert sorted(simulation.processes) == ["new-0"]


def test_third_release_is_left_to_the_steward() -> None:
    """A deployment does not wait for a warm release of an earlier one; it is named as left over, if it still runs."""
    old = standing(2)
    before = old.but(
        groups=(*old.groups, Group(release="web-older", members=(Member(instance="older-0"),))),
        previous=Warm(release="web-older", version="0.9", until=99.0),
    )
    for strategy in (BLUE_GREEN, ROLLING, RECREATE):
        simulation = simulate(strategy, before=before)
        simulation.run()
        expected = {"web-older"} if "older-0" in simulation.processes else set()
        if strategy.type == "rolling":
            expected |= {"web-old"} & {g.release for g in simulation.placement.groups}
        assert leftovers(simulation.placement) == expected, strategy.name
        assert simulation.placement.weights == {"web-new": 100}


@given(
    strategy=st.sampled_from([BLUE_GREEN, ROLLING, RECREATE, CANARY]),
    surge=st.integers(0, 3),
    unavailable=st.integers(0, 3),
    old=st.integers(0, 5),
    new=st.integers(0, 5),
)
@settings(max_examples=150, deadline=None)
def test_every_undisturbed_deployment_succeeds(
    strategy: Strategy, surge: int, unavailable: int, old: int, new: int
) -> None:
    """Whatever the numbers, a healthy version arrives, and only its instances take requests."""
    strategy = strategy.but(max_surge=surge, max_unavailable=unavailable)
    simulation = simulate(strategy, before=standing(old), replicas=new)
    simulation.run()
    assert simulation.deployment.outcome == Outcome.SUCCEEDED
    assert sorted(simulation.serving()) == sorted(simulation.deployment.instances)
    if strategy.type == "rolling" and old and new:
        assert simulation.lowest_serving >= min(old, new) - unavailable
    if strategy.type in ("blue-green", "canary") and old and new:
        assert simulation.lowest_serving >= min(old, new)


class Faults(RuleBasedStateMachine):
    """Any sequence of crashes, illness, recoveries, aborts and re-decisions."""

    @initialize(
        strategy=st.sampled_from(ALL),
        kind=st.sampled_from(["deploy", "restart", "scale"]),
        old=st.integers(1, 4),
        new=st.integers(0, 4),
        doomed=st.booleans(),
    )
    def begin(self, strategy: Strategy, kind: str, old: int, new: int, doomed: bool) -> None:
        if kind == "restart":
            strategy, new = ROLLING, old
        self.simulation = simulate(strategy, kind=kind, before=standing(old), replicas=new)
        self.aborted = False
        if doomed and kind == "deploy":
            self.simulation.doomed_releases = {"web-new"}

    @rule(steps=st.integers(1, 8))
    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.simulation.step()

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.simulation.tick(seconds)

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        if names := sorted(self.simulation.processes):
            process = self.simulation.processes[data.draw(st.sampled_from(names))]
            process.up = process.healthy = False
            process.crashes += 1

    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        if names := sorted(n for n, p in self.simulation.processes.items() if not p.up):
            process = self.simulation.processes[data.draw(st.sampled_from(names))]
            process.up, process.age = True, 0.0

    @rule(data=st.data())
    def requests_arrive(self, data: st.DataObject) -> None:
        if names := sorted(self.simulation.serving()):
            self.simulation.processes[data.draw(st.sampled_from(names))].active += 1

    @rule()
    def opsbook_dies_at_the_next_stop(self) -> None:
        self.simulation.dies_in_stop = True

    @precondition(lambda self: not self.aborted)
    @rule()
    def abort(self) -> None:
        self.aborted = True
        self.simulation.abort()

    @invariant()
    def only_known_releases_have_weight(self) -> None:
        assert set(self.simulation.placement.weights) <= {"web-old", "web-new"}

    def teardown(self) -> None:
        """When the faults end, every deployment ends, with an outcome, and with the traffic where it says."""
        if not hasattr(self, "simulation"):
            return
        simulation = self.simulation
        for process in simulation.processes.values():
            process.up, process.crashes = True, 0
            process.doomed = process.release in simulation.doomed_releases
        simulation.dies_in_stop = False
        simulation.run()
        for _ in range(6):
            simulation.tick(1.0)
        outcome = simulation.deployment.outcome
        assert outcome is not None
        assert simulation.deployment.reason
        if simulation.deployment.phase is not Phase.FAILED_NEEDS_HUMAN:
            assert set(simulation.processes) <= set(simulation.placement.instances())
        if outcome is Outcome.SUCCEEDED:
            assert set(simulation.placement.weights) <= {simulation.deployment.release}
            assert set(simulation.deployment.instances) <= set(simulation.serving())
        if outcome in (Outcome.ROLLED_BACK, Outcome.ABORTED):
            assert simulation.placement.weights == {"web-old": 100}
            assert len(simulation.serving()) >= simulation.deployment.before.replicas
            assert not set(simulation.deployment.instances) & set(simulation.processes)


TestFaults = Faults.TestCase
TestFaults.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
