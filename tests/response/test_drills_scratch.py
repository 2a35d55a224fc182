from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from opsbook.world.commands.scratch import Scratch
from opsbook.world.hosts import processes

OWNER = """
import time
from opsbook.world.commands.scratch import Scratch
place = Scratch({"a"}, {"b"})
assert place.script("bash", 'setsid sleep 300 & echo $! >"$DIR_B/pid"', 10.0).ok
print(place.folder, open(place.folders["b"] + "/pid").read(), flush=True)
time.sleep(300)
"""


def gone(what, seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while what() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not what()


def test_a_scratch_place_leaves_nothing():
    """Processes in sessions of their own and files that may not be written end with it; undoing is run."""
    place = Scratch({"web"}, {"data"})
    assert place.script(
        "bash", 'setsid sleep 300 & echo $! >"$DIR_DATA/pid"; mkdir -m 500 "$DIR_DATA/x"', 10.0
    ).ok
    pid = int((Path(place.folders["data"]) / "pid").read_text())
    assert place.clear() == ""
    assert not place.folder.exists()
    assert gone(lambda: (one := processes.entry(pid)) is not None and not one.ended)


def test_undoing_that_fails_is_said():
    """Somebody must look when the fault could not be undone; the place is gone all the same."""
    place = Scratch(set(), set())
    place.at_the_end([("bash", "echo cannot; exit 3", 10.0)])
    assert "cannot" in place.clear()
    assert not place.folder.exists()


def test_a_killed_owner_leaves_nothing():
    """kill -9 of whoever runs the drill: its guard ends what was started, and removes the folder."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        folder, pid = owner.stdout.readline().split()
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert gone(Path(folder).exists)
    assert gone(lambda: (one := processes.entry(int(pid))) is not None and not one.ended)


def test_nothing_of_the_callers_environment_reaches_it(monkeypatch):
    """No token, no database, no server and no home of the person who runs the drill."""
    secrets = {
        "OPSBOOK_TOKEN": "t",
        "OPSBOOK_DATABASE": "postgresql://x",
        "OPSBOOK_SERVER": "s",
        "PGPASSWORD": "p",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    place = Scratch(set(), set())
    try:
        assert not secrets.keys() & place.environment.keys()
        assert place.environment["HOME"].startswith(str(place.folder))
    finally:
        place.clear()
