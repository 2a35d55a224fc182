"""Instances that die, that do not want to die, and that are too large."""

import os
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opsbook.errors import OpsbookError
from opsbook.world.hosts import processes
from opsbook.world.words import Exit, HealthCheck, Instance, InstanceState, Limits

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {clean}
        print("daemon", os.getpid(), flush=True)
        time.sleep(600)
    os._exit(0)
os.wait()
time.sleep(600)
"""


def test_what_dies_is_started_again_under_its_port(world: Any) -> None:
    """A killed service comes back within moments, with the same address, and the end is told with its signal."""
    runtime, changes = world.supervised()
    first = runtime.start(world.work(), "a")
    os.kill(first.pid, signal.SIGKILL)
    (second,) = world.until(
        lambda: (found := runtime.instances()) and found[0].pid not in (None, first.pid) and found
    )
    world.until(lambda: runtime.probe("a").healthy)
    assert second.address == first.address
    assert (second.restarts, len(second.recent_restarts)) == (1, 1)
    assert second.last_exit == Exit(None, 9, second.last_exit.at)
    assert str(second.last_exit) == "killed by signal 9"
    states = [change.state.value for change in world.until(lambda: len(changes) >= 3 and list(changes))]
    assert states == ["running", "backoff", "running"]
    assert not Path(f"/proc/{first.pid}").exists()


def test_a_crash_loop_waits_longer_each_time(world: Any) -> None:
    """The planned times of a service that always dies grow, and its restarts are counted with their times."""
    runtime, changes = world.supervised()
    runtime.start(world.work("raise SystemExit(3)"), "a")
    waits = world.until(
        lambda: len(found := [c for c in list(changes) if c.state is InstanceState.BACKOFF]) > 3 and found
    )
    delays = [round(wait.restart_at - wait.last_exit.at, 3) for wait in waits[:4]]
    assert delays == [0.1, 0.2, 0.4, 0.8]
    assert [wait.restarts for wait in waits[:4]] == [1, 2, 3, 4]
    assert str(waits[0].last_exit) == "exit code 3"


def test_a_service_that_cannot_start_any_more_fails(world: Any) -> None:
    """When the command vanishes between two starts, the instance is FAILED with the reason, and stays so."""
    program = world.folder / "program"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    runtime, _ = world.supervised()
    pid = runtime.start(world.work(command=(str(program),)), "a").pid
    program.unlink()
    os.kill(pid, signal.SIGKILL)
    (failed,) = world.until(
        lambda: (found := runtime.instances()) and found[0].state is InstanceState.FAILED and found
    )
    assert failed.last_exit.reason == f"command not found: {program}"


def test_a_port_taken_meanwhile_is_waited_for(world: Any) -> None:
    """A proven instance keeps its port: while somebody else has it, it says who, and starts once it is free."""
    runtime, _ = world.supervised()
    first = runtime.start(world.work(), "a")
    held = runtime._table.get("a")
    with held.lock:
        held.record = replace(held.record, proven=True)
        os.kill(first.pid, signal.SIGKILL)
        world.until(lambda: not processes.runs(held.record.process))
        thief = socket.create_server((first.address.host, first.address.port))
    (waiting,) = world.until(
        lambda: (found := runtime.instances()) and "is taken" in str(found[0].last_exit) and found
    )
    assert waiting.state is InstanceState.BACKOFF
    assert str(waiting.last_exit).startswith(f"port {first.address.port} is taken by pid {os.getpid()} (")
    thief.close()
    world.until(lambda: runtime.probe("a").healthy)
    assert runtime.instances()[0].address == first.address


def test_a_port_lost_at_the_first_start_is_replaced(world: Any) -> None:
    """Nobody knows the port of a brand-new instance yet, so it gets another one."""
    runtime, _ = world.supervised()
    program = "import os\nif not os.path.exists('again'):\n    open('again', 'w').close()\n    os._exit(1)\n"
    work = world.work(program + world.work().command[2])
    first = runtime.start(work, "a")
    with socket.create_server((first.address.host, first.address.port)):
        again = world.until(lambda: next((i for i in runtime.instances() if i.restarts and i.alive), None))
        assert again.address != first.address
        world.until(lambda: runtime.probe("a").healthy)


def test_the_rest_of_the_group_goes_with_the_main_process(world: Any) -> None:
    """When the main process dies, its workers die too before the next one starts."""
    program = (
        "import subprocess, time\nprint(subprocess.Popen(['sleep', '600']).pid, flush=True)\ntime.sleep(600)"
    )
    runtime, _ = world.supervised()
    first = runtime.start(world.work(program), "a")
    worker = int(world.until(lambda: world.log("a").split())[0])
    os.kill(first.pid, signal.SIGKILL)
    world.until(lambda: len(world.log("a").split()) == 2)
    assert worker not in processes.table()


FORGETFUL = """os.execve(sys.executable, [sys.executable, '-c',
            'import os, time; print("daemon", os.getpid(), flush=True); time.sleep(600)'], {})"""


@pytest.mark.parametrize("clean", ["pass", FORGETFUL])
def test_stop_ends_what_left_the_group(world: Any, clean: str) -> None:
    """A daemon in a session of its own ends with its service: found by its environment, or else by descent."""
    runtime = world.runtime()
    program = DAEMON.format(clean=clean)
    if clean != "pass":  # without the mark only descent tells whose it is, so its parent must live
        program = program.replace("os._exit(0)", "os.wait()")
    runtime.start(world.work(program, port=None, health=HealthCheck("alive")), "a")
    daemon = int(world.until(lambda: world.log("a").split())[1])
    assert os.getsid(daemon) != runtime.instances()[0].pid
    runtime.stop("a")
    assert daemon not in processes.table()


def test_sigterm_is_heard_before_sigkill(world: Any) -> None:
    """A service that ends well on SIGTERM gets the time for it, and its last words are in the log."""
    program = (
        "import signal,sys,time\n"
        "def end(*_): time.sleep(0.2); print('goodbye', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('ready', flush=True)\nwhile True: time.sleep(600)"
    )
    runtime = world.runtime()
    runtime.start(world.work(program), "a")
    world.until(lambda: world.log("a"))
    runtime.stop("a")
    assert runtime.log_tail("a") == ("ready", "goodbye")


IGNORER = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('deaf', flush=True)
time.sleep(600)
"""


def test_who_ignores_sigterm_is_killed_after_the_grace(world: Any) -> None:
    """The grace is waited for, then nothing is left."""
    runtime = world.runtime()
    runtime.start(world.work(IGNORER), "a")
    world.until(lambda: world.log("a"))
    begun = time.monotonic()
    runtime.stop("a", grace=0.4)
    assert time.monotonic() - begun >= 0.4
    assert world.family() == []


def test_a_second_stop_shortens_the_first(world: Any) -> None:
    """While one stop waits for a long grace, an abort with none ends it for both."""
    runtime = world.runtime()
    runtime.start(world.work(IGNORER, stop_grace=600.0), "a")
    world.until(lambda: world.log("a"))
    first = threading.Thread(target=runtime.stop, args=("a",))
    first.start()
    world.until(lambda: runtime.instances()[0].state is InstanceState.STOPPING)
    runtime.stop("a", grace=0)
    first.join(20)
    assert not first.is_alive()
    assert (runtime.instances(), world.family()) == ((), [])


def test_a_stopped_service_stays_stopped(world: Any) -> None:
    """Stopping is told as STOPPING then STOPPED, and supervision does not start it again."""
    runtime, changes = world.supervised()
    runtime.start(world.work(), "a")
    runtime.stop("a")
    states = [change.state.value for change in world.until(lambda: len(changes) >= 3 and list(changes))]
    assert states == ["running", "stopping", "stopped"]


def test_a_service_waiting_for_its_restart_can_be_stopped(world: Any) -> None:
    """Between two starts there is no process, and stop forgets the plan."""
    runtime, _ = world.supervised()
    runtime.start(world.work("raise SystemExit(1)"), "a")
    world.until(lambda: runtime.instances()[0].restarts >= 3)
    runtime.stop("a")
    assert (runtime.instances(), world.family()) == ((), [])


def test_too_much_memory_is_a_reason_to_be_killed(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole group counts; the reason is in the last exit, and the service is started again."""
    monkeypatch.setattr("opsbook.world.runtimes.process_memory.MEMORY_EVERY", 0.1)
    program = (
        "import subprocess,sys,time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; x = bytearray(90 * 2**20); time.sleep(600)'])\n"
        "time.sleep(600)"
    )
    runtime, changes = world.supervised()
    runtime.start(world.work(program, limits=Limits(memory=64 * 2**20)), "a")
    killed = world.until(lambda: next((c for c in list(changes) if c.state is InstanceState.BACKOFF), None))
    assert str(killed.last_exit) == "memory limit 64 MiB exceeded"
    assert killed.last_exit.signal == 9
    world.until(lambda: any(c.state is InstanceState.RUNNING and c.restarts for c in list(changes)))


def test_memory_within_the_limit_is_left_alone(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service below its limit runs on."""
    monkeypatch.setattr("opsbook.world.runtimes.process_memory.MEMORY_EVERY", 0.02)
    runtime, changes = world.supervised()
    runtime.start(world.work(limits=Limits(memory=2**30)), "a")
    world.until(lambda: runtime.probe("a").healthy)
    assert [change.restarts for change in world.until(lambda: list(changes))] == [0]


def test_a_listener_that_raises_does_not_end_supervision(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is shown by the thread's hook, and services are still restarted."""
    shown: list[str] = []
    monkeypatch.setattr("threading.excepthook", lambda arguments: shown.append(str(arguments.exc_value)))
    runtime = world.runtime()

    def broken(change: Instance) -> None:
        raise OpsbookError("no listener today")

    runtime.supervise(broken)
    pid = runtime.start(world.work(), "a").pid
    os.kill(pid, signal.SIGKILL)
    world.until(lambda: runtime.instances()[0].pid not in (None, pid))
    assert set(world.until(lambda: len(shown) > 2 and shown)) == {"no listener today"}


def test_supervision_sleeps_while_nothing_happens(world: Any) -> None:
    """Twenty idle instances cost next to nothing: the threads of the runtime do not use the processor."""
    runtime, _ = world.supervised()
    for number in range(20):
        runtime.start(world.work("import time; time.sleep(600)", port=None), f"a{number}")
    before, begun = time.process_time(), time.monotonic()
    world.until(lambda: time.monotonic() - begun > 1.5)
    polling = time.process_time() - before
    assert polling < 0.75  # nearly all of it is this loop; a busy thread would use 1.5
    assert sys.version_info >= (3, 11)
