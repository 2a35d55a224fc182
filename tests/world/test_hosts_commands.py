"""Running commands to their end."""

import sys
import time
from pathlib import Path

import pytest

from opsbook.errors import Failed, NotFound
from opsbook.world.hosts import processes
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.hosts.commands import run


def test_output_errors_and_code_are_returned() -> None:
    """Both streams are kept apart and the exit code is the command's."""
    program = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.stderr.write('no'); sys.exit(3)"
    finished = run((sys.executable, "-c", program), feed=b"hello")
    assert (finished.code, finished.output, finished.errors) == (3, b"HELLO", b"no")
    assert finished.text == "HELLOno"


def test_output_is_bounded() -> None:
    """A command that prints without end keeps its beginning only."""
    finished = run((sys.executable, "-c", "print('x' * 1000000)"), limit=1000)
    assert (finished.output, finished.truncated) == (b"x" * 1000, True)


def test_a_command_that_reads_nothing_is_no_error() -> None:
    """Feeding more than a pipe holds to somebody who does not read neither hangs nor raises."""
    assert run(("true",), feed=b"x" * 1_000_000).code == 0


def test_time_out_kills_the_whole_group(tmp_path: Path) -> None:
    """What a command started in the background ends with it when the time is up."""
    note = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {note}; wait"
    finished = run(("sh", "-c", script), timeout=2)
    assert (finished.timed_out, finished.code) == (True, -9)
    pid = int(note.read_text())
    deadline = time.monotonic() + 5
    while pid in processes.table() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert pid not in processes.table()


def test_background_processes_do_not_hold_up_the_end() -> None:
    """A command that leaves somebody holding its output ends all the same, and takes it along."""
    finished = run(("sh", "-c", "sleep 600 & echo done"), timeout=60)
    assert (finished.output, finished.timed_out) == (b"done\n", False)


def test_a_missing_command_is_named(tmp_path: Path) -> None:
    """Command not found and a missing folder are different errors."""
    with pytest.raises(NotFound, match="command not found: no-such-command"):
        run(("no-such-command",))
    with pytest.raises(Failed, match="does not exist"):
        run(("true",), cwd=tmp_path / "missing")


def test_the_system_clock_grows() -> None:
    """The monotonic clock grows by at least what was slept; the wall clock is of this century."""
    clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.01
    assert clock.now() > 1_700_000_000
