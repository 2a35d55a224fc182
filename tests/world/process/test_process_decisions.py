"""What to do about an instance, decided from its record alone."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.world.hosts.processes import ProcessIdentity
from opsbook.world.runtimes import process_decisions as decide
from opsbook.world.runtimes.process_decisions import Adoption
from opsbook.world.runtimes.process_records import Record, Records
from opsbook.world.words import Exit, HealthCheck, InstanceState, Limits, Workload

WORK = Workload(
    "web", "test", "web-1", "1", ("true",), None, health=HealthCheck("alive"), limits=Limits(memory=2**28)
)
PROCESS = ProcessIdentity(4711, 99, "boot")
RUNNING = Record("web-test-1", WORK, 1234, 0.0, state=InstanceState.RUNNING, process=PROCESS, started_at=0.0)


def crash(record: Record, at: float, ran: float | None) -> Record:
    return decide.ended(record, Exit(1, None, at), ran=ran)


def test_delays_double_from_a_tenth_to_half_a_minute() -> None:
    """A service that dies at once is started after 0.1, 0.2, 0.4 ... and at most every 30 seconds."""
    record, delays = RUNNING, []
    for at in range(11):
        record = crash(record, float(at), 0.5)
        assert record.restart_at is not None
        delays.append(round(record.restart_at - at, 6))
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    assert (record.restarts, record.state) == (11, InstanceState.BACKOFF)


def test_a_long_run_forgives_earlier_ends() -> None:
    """After a minute of running the next end counts as the first, but is counted among the restarts."""
    record = crash(crash(crash(RUNNING, 1.0, 0.1), 2.0, 0.1), 100.0, 60.0)
    assert (record.restart_at, record.quick_ends, record.restarts) == (100.1, 1, 3)


def test_an_end_nobody_saw_is_started_at_once() -> None:
    """What died while opsbook was away does not wait, and keeps its port."""
    record = crash(RUNNING, 50.0, None)
    assert (record.restart_at, record.proven) == (50.0, True)


def test_only_the_last_twenty_restarts_are_remembered() -> None:
    """The times are the newest, the number is of all."""
    record = RUNNING
    for at in range(30):
        record = crash(record, float(at), 0.1)
    assert (record.restarts, record.recent_restarts) == (30, tuple(float(at) for at in range(10, 30)))


def test_what_cannot_be_started_waits_or_fails() -> None:
    """A passing trouble is tried again with growing delays; a lasting one is not tried again."""
    first = decide.not_started(RUNNING, "the disk is full", now=1.0, transient=True)
    second = decide.not_started(first, "the disk is full", now=2.0, transient=True)
    assert (first.restart_at, second.restart_at) == (1.1, 2.2)
    failed = decide.not_started(second, "command not found: x", now=3.0, transient=False)
    assert (failed.state, failed.restart_at, str(failed.last_exit)) == (
        InstanceState.FAILED,
        None,
        "command not found: x",
    )


@pytest.mark.parametrize(
    ("state", "alive", "expected"),
    [
        (InstanceState.RUNNING, True, Adoption.KEEP),
        (InstanceState.STARTING, True, Adoption.KEEP),
        (InstanceState.RUNNING, False, Adoption.RESTART),
        (InstanceState.STARTING, False, Adoption.RESTART),
        (InstanceState.BACKOFF, False, Adoption.RESTART),
        (InstanceState.STOPPING, True, Adoption.FINISH_STOP),
        (InstanceState.STOPPING, False, Adoption.FINISH_STOP),
        (InstanceState.STOPPED, False, Adoption.FINISH_STOP),
        (InstanceState.FAILED, False, Adoption.LEAVE),
    ],
)
def test_what_is_found_after_a_crash(state: InstanceState, alive: bool, expected: Adoption) -> None:
    """Every state that a crash can leave has one way on."""
    assert decide.adoption(replace(RUNNING, state=state), alive=alive) is expected


@settings(database=None, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 200)), min_size=1, max_size=60))
def test_delays_are_always_within_bounds(runs: list[float | None]) -> None:
    """Whatever happens, a restart is never sooner than now nor later than 30 seconds."""
    record = RUNNING
    for at, ran in enumerate(runs):
        record = crash(record, float(at), ran)
        assert record.restart_at is not None
        assert 0 <= record.restart_at - at <= 30


def test_memory_above_the_limit_is_a_reason() -> None:
    """The reason names the limit as a person wrote it; no limit, no reason."""
    assert decide.exceeds(2**28 + 1, 2**28) == "memory limit 256 MiB exceeded"
    assert decide.exceeds(2**28, 2**28) is None
    assert decide.exceeds(2**40, None) is None


def test_records_survive_the_disk(tmp_path: Path) -> None:
    """What is loaded equals what was saved, and a record is readable by its owner only."""
    records = Records(tmp_path / "instances")
    record = crash(
        replace(RUNNING, workload=replace(WORK, folder=tmp_path, env={"A": "{secret:a}"})), 5.0, 1.0
    )
    records.save(record)
    assert Records(tmp_path / "instances").load() == [record]
    assert (tmp_path / "instances" / "web-test-1.json").stat().st_mode & 0o777 == 0o600
    records.remove(record.id)
    records.remove(record.id)
    assert records.load() == []
