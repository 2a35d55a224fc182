"""Which processes are the ones we mean, and starting them in two steps."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsbook.errors import Failed
from opsbook.world.hosts import processes
from opsbook.world.hosts.processes import ProcessIdentity
from opsbook.world.hosts.spawning import Order, spawn
from opsbook.world.hosts.users import User, closed_folder


def order(output: int, *command: str, folder: Path, **more: object) -> Order:
    return Order(command, {"PATH": os.environ["PATH"], "MARK": "1"}, folder, output, **more)  # type: ignore[arg-type]


@pytest.fixture
def output(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "output", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def test_another_start_time_or_boot_is_another_process() -> None:
    """The same pid with another start time or of another boot is not the process that was meant."""
    me = processes.identify(os.getpid())
    assert me is not None
    assert processes.runs(me)
    assert not processes.runs(ProcessIdentity(me.pid, me.started + 1, me.boot))
    assert not processes.runs(ProcessIdentity(me.pid, me.started, "another-boot"))


def test_a_zombie_has_ended() -> None:
    """A process that nobody has collected yet counts as ended."""
    child = subprocess.Popen(["true"])
    identity = processes.identify(child.pid)
    assert identity is not None
    assert processes.await_ends([identity], 10)
    assert not processes.runs(identity)
    assert child.pid not in processes.table()
    child.wait()
    assert processes.identify(child.pid) is None


def test_family_has_group_session_and_descendants() -> None:
    """A grandchild in a session of its own still belongs to the family of its grandparent."""
    inner = "import os,time; os.setsid(); print(os.getpid(), flush=True); time.sleep(600)"
    program = f"import subprocess,sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    assert child.stdout is not None
    grandchild = int(child.stdout.readline())
    try:
        identity = processes.identify(child.pid)
        assert identity is not None
        assert set(processes.family(processes.table(), identity)) == {child.pid, grandchild}
        reused = ProcessIdentity(child.pid, identity.started - 1, identity.boot)
        assert processes.family(processes.table(), reused) == {}
        assert 0 <= processes.seconds_run(identity) < 100
    finally:
        os.kill(grandchild, signal.SIGKILL)
        child.wait()
        child.stdout.close()


def test_a_spawned_process_waits_for_release(tmp_path: Path, output: int) -> None:
    """Nothing of the command runs before release; afterwards it has the same pid, its own session and
    /dev/null.
    """
    program = "import os,sys; print(os.getpid() == os.getsid(0), repr(sys.stdin.read()), os.getcwd())"
    waiting = spawn(order(output, sys.executable, "-c", program, folder=tmp_path))
    assert (tmp_path / "output").read_text() == ""
    waiting.release()
    assert os.waitpid(waiting.identity.pid, 0)[1] == 0
    assert (tmp_path / "output").read_text() == f"True '' {tmp_path}\n"


def test_an_abandoned_process_never_becomes_the_command(tmp_path: Path, output: int) -> None:
    """Closing the gate without the word ends the process."""
    spawn(order(output, "touch", "made", folder=tmp_path)).abandon()
    assert not (tmp_path / "made").exists()


def test_open_files_are_limited_before_the_command_runs(tmp_path: Path, output: int) -> None:
    """The command sees the limit from its first instruction, and SIGPIPE as the system has it."""
    program = (
        "import resource,signal; print(resource.getrlimit(resource.RLIMIT_NOFILE), "
        "open('/proc/self/status').read().split('SigIgn:')[1].split()[0])"
    )
    command = ("sh", "-c", f'{sys.executable} -c "{program}"')
    waiting = spawn(order(output, *command, folder=tmp_path, open_files=77))
    waiting.release()
    os.waitpid(waiting.identity.pid, 0)
    limit, _, ignored = (tmp_path / "output").read_text().strip().rpartition(" ")
    assert limit == "(77, 77)"
    assert int(ignored, 16) & (1 << (signal.SIGINT - 1)) == 0


@pytest.mark.parametrize(
    ("command", "message", "hint"),
    [
        ("no-such-command", "command not found: no-such-command", "full path"),
        ("./missing", "command not found: ./missing", "part of the source"),
        (".venv/bin/python", "command not found: .venv/bin/python", "source.build"),
        ("./plain", "permission denied: ./plain cannot be executed", "chmod +x"),
        ("./lost", "the interpreter in the first line of ./lost does not exist", "#!"),
        ("./nothing", "./nothing is neither a program nor a script", "#!/bin/sh"),
    ],
)
def test_what_cannot_be_executed_is_explained(
    tmp_path: Path, output: int, command: str, message: str, hint: str
) -> None:
    """Every way in which a command cannot be executed has its own words and a way out."""
    for name, text, mode in (
        ("plain", "x", 0o644),
        ("lost", "#!/no/such\n", 0o755),
        ("nothing", "\1\2", 0o755),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    with pytest.raises(Failed) as caught:
        spawn(order(output, command, folder=tmp_path)).release()
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.details == {}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
def test_another_user_is_taken_with_its_groups(tmp_path: Path, output: int) -> None:
    """A process of another user has that user's ids and groups only."""
    waiting = spawn(order(output, "id", folder=Path("/"), user=User("nobody", 65534, 65534, (65534,), "/")))
    waiting.release()
    os.waitpid(waiting.identity.pid, 0)
    text = (tmp_path / "output").read_text()
    assert text.startswith("uid=65534")
    assert "groups=65534" in text
    assert "0(root)" not in text


def test_a_closed_folder_on_the_way_is_found(tmp_path: Path) -> None:
    """The first folder that a user cannot enter is named."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder not in (Path("/"), Path("/tmp")):
            closed = folder
    target = tmp_path / "a" / "b"
    target.mkdir(parents=True)
    (tmp_path / "a").chmod(0o700)
    stranger = User("stranger", 54321, 54321, (54321,), "/")
    assert closed_folder(target, stranger) in {closed, *tmp_path.parents, tmp_path, tmp_path / "a"}


def test_signals_reach_only_the_process_that_was_meant() -> None:
    """A signal for an earlier owner of a pid is not delivered to the present one."""
    child = subprocess.Popen(["sleep", "600"])
    identity = processes.identify(child.pid)
    assert identity is not None
    processes.send(ProcessIdentity(child.pid, identity.started - 1, identity.boot), signal.SIGKILL)
    time.sleep(0)
    assert child.poll() is None
    processes.send(identity, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    processes.send(identity, signal.SIGKILL)
