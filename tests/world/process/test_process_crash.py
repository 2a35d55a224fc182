"""opsbook is killed at every point that matters; the next one finds its way."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from opsbook.world.hosts import processes
from opsbook.world.runtimes.process_records import Records
from opsbook.world.words import InstanceState

pytestmark = pytest.mark.crash

OPSBOOK = """
import os, signal, sys
from pathlib import Path
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.runtimes.process import ProcessRuntime
from opsbook.world.secrets.age import AgeSecrets
from opsbook.world.words import HealthCheck, Workload

state, boundary, program = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def die(name):
    if name == boundary:
        os.kill(os.getpid(), signal.SIGKILL)

runtime = ProcessRuntime(state, AgeSecrets(state, state, environ={}), SystemClock(), boundary=die)
command = (sys.executable, "-c", program)
health = HealthCheck("tcp")
work = Workload("web", "test", "web-1", "1", command, None, health=health, stop_grace=5.0)
instance = runtime.start(work, "a")
if boundary == "running":
    os.kill(os.getpid(), signal.SIGKILL)
runtime.stop("a")
"""


def crash(world: Any, boundary: str, program: str | None = None) -> None:
    command = [sys.executable, "-c", OPSBOOK, str(world.state), boundary, program or world.work().command[2]]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (-signal.SIGKILL, "")


@pytest.mark.parametrize("boundary", ["intended", "spawned", "identified", "released", "running"])
def test_a_crash_while_starting_ends_with_exactly_one_process(world: Any, boundary: str) -> None:
    """Wherever opsbook dies while starting, the next one has one healthy instance under the recorded port."""
    crash(world, boundary)
    (record,) = Records(world.state / "instances").load()
    runtime, _ = world.supervised()
    world.until(lambda: runtime.probe("a").healthy)
    (instance,) = runtime.instances()
    assert (instance.state, instance.address.port) == (InstanceState.RUNNING, record.port)
    assert world.family() == [instance.pid]
    assert instance.restarts <= 1
    if boundary in ("released", "running"):  # it was the service already, so it is the same process
        assert instance.pid == record.process.pid
        assert instance.restarts == 0
    assert runtime.start(record.workload, "a") == instance


@pytest.mark.parametrize("boundary", ["stopping", "ended", "forgotten"])
def test_a_crash_while_stopping_ends_with_nothing(world: Any, boundary: str) -> None:
    """Wherever opsbook dies while stopping, the next one finishes the stop."""
    crash(world, boundary)
    runtime = world.runtime()
    assert runtime.adopt() == ()
    assert world.family() == []
    assert [path.name for path in (world.state / "instances").iterdir()] == [".token"]


def test_running_instances_are_adopted_and_supervised(world: Any) -> None:
    """The next opsbook has the same process, notices its end though it is no child, and restarts it."""
    crash(world, "running")
    runtime, changes = world.supervised()
    (adopted,) = runtime.instances()
    assert (adopted.state, adopted.restarts) == (InstanceState.RUNNING, 0)
    os.kill(adopted.pid, signal.SIGKILL)
    world.until(lambda: runtime.instances()[0].pid not in (None, adopted.pid))
    ended = next(change for change in changes if change.state is InstanceState.BACKOFF)
    assert str(ended.last_exit) in ("exit code unknown", "killed by signal 9")
    assert runtime.instances()[0].address == adopted.address
    runtime.stop("a")


def test_what_died_meanwhile_is_started_again(world: Any) -> None:
    """A service that died while opsbook was away is started at once, and its workers are not left over."""
    program = (
        "import subprocess,time; print(subprocess.Popen(['sleep','600']).pid, flush=True); time.sleep(600)"
    )
    crash(world, "running", program)
    (record,) = Records(world.state / "instances").load()
    worker = int(world.until(lambda: world.log("a").split())[0])
    os.kill(record.process.pid, signal.SIGKILL)
    world.until(lambda: not processes.runs(record.process))
    assert worker in processes.table()
    runtime, _ = world.supervised()
    world.until(lambda: runtime.instances()[0].alive)
    (instance,) = runtime.instances()
    assert (instance.restarts, str(instance.last_exit)) == (1, "ended while opsbook was away")
    assert worker not in processes.table()


@pytest.mark.parametrize("change", [{"boot": "an-earlier-boot"}, {"started": 1}])
def test_nobody_else_is_mistaken_for_the_service(world: Any, change: dict[str, Any]) -> None:
    """After a reboot, or with a pid that was given away, the stranger is left alone and a new process started."""
    crash(world, "intended")
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    identity = processes.identify(stranger.pid)
    assert identity is not None
    path = world.state / "instances" / "a.json"
    record = json.loads(path.read_text())
    record["process"] = {"pid": stranger.pid, "started": identity.started, "boot": identity.boot, **change}
    record["state"] = "running"
    path.write_text(json.dumps(record))
    runtime, _ = world.supervised()
    world.until(lambda: runtime.probe("a").healthy)
    assert runtime.instances()[0].pid != stranger.pid
    runtime.stop("a")
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_processes_without_a_record_are_ended(world: Any) -> None:
    """A process that carries our mark but is in no record is an orphan; one with another's mark is not ours."""
    crash(world, "running")
    token = (world.state / "instances" / ".token").read_text()
    (world.state / "instances" / "a.json").unlink()
    elsewhere = subprocess.Popen(
        ["sleep", "600"], env={**os.environ, "OPSBOOK_RUNTIME": "other", "OPSBOOK_INSTANCE": "a"}
    )
    sibling = subprocess.Popen(
        ["sleep", "600"], env={**os.environ, "OPSBOOK_RUNTIME": token, "OPSBOOK_INSTANCE": "z"}
    )
    assert len(world.family()) == 2
    runtime = world.runtime()
    assert runtime.adopt() == ()
    assert (world.family(), elsewhere.poll(), sibling.wait()) == ([], None, -9)
    elsewhere.kill()
    elsewhere.wait()


def test_closing_leaves_services_running(world: Any) -> None:
    """An orderly end of opsbook ends no service, and the next one adopts it."""
    first, _ = world.supervised()
    started = first.start(world.work(), "a")
    first.close()
    first.close()
    second = world.runtime()
    assert second.adopt() == (started,)
    assert second.adopt() == (started,)
    world.until(lambda: second.probe("a").healthy)


def test_a_record_of_a_newer_opsbook_is_not_guessed_at(world: Any) -> None:
    """An unreadable record stops the start with its place, instead of losing a service."""
    world.runtime()
    path = world.state / "instances" / "a.json"
    path.write_text('{"id": "a", "from": "the future"}')
    with pytest.raises(Exception, match="not the record of an instance") as caught:
        world.runtime()
    assert str(path) in str(caught.value)
    path.unlink()


def test_starts_and_stops_in_a_storm_leave_nothing(world: Any) -> None:
    """Many threads start, stop and kill the same few instances; at the end everything stops and nothing is left."""
    runtime, _ = world.supervised()
    errors: list[BaseException] = []

    def storm(name: str) -> None:
        try:
            for _ in range(4):
                started = runtime.start(world.work("import time; time.sleep(600)"), name)
                if started.pid:
                    with __import__("contextlib").suppress(ProcessLookupError):
                        os.kill(started.pid, signal.SIGKILL)
                runtime.stop(name, grace=0)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=storm, args=(f"a{n % 3}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (runtime.instances(), world.family()) == ((), [])
    assert [path.name for path in Path(world.state / "instances").iterdir()] == [".token"]
