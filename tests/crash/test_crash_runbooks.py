"""kill -9 at every boundary of a run: nothing runs twice that may not, the unknown is told, all is undone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from opsbook.journal import Journal
from opsbook.response.runbooks.model import Run
from opsbook.response.runbooks.records import Records
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.hosts.faults import CRASH_VARIABLE

VICTIM = Path(__file__).with_name("runbook_victim.py")
PAGE = """\
## Steps
```bash run id=a
echo a >> {log}; touch {made}
```
```bash check for=a
test -e {made}
```
```bash rollback for=a id=undo idempotent
echo undo >> {log}; rm -f {made}
```
```bash run id=b risk=read
echo b >> {log}; {end}
```
"""
pytestmark = pytest.mark.crash


class Scene:
    """A page, what its steps leave in the world, and the opsbooks that run it one after the other."""

    def __init__(self, folder: Path, page: str, end: str = "true") -> None:
        self.folder = folder
        self.log, self.made = folder / "log", folder / "made"
        self.page = folder / "page.md"
        self.page.write_text(page.format(log=self.log, made=self.made, end=end, folder=folder))

    def begin(self, place: str = "") -> subprocess.Popen[bytes]:
        environ = {**os.environ, CRASH_VARIABLE: place}
        return subprocess.Popen([sys.executable, str(VICTIM), str(self.folder), str(self.page)], env=environ)

    def opsbook(self, place: str = "") -> int:
        return self.begin(place).wait(90)

    def run(self) -> Run:
        clock = SystemClock()
        with Journal.open(self.folder / "journal.sqlite", keys=self.folder / "keys", clock=clock) as journal:
            assert journal.verify().ok
            return Records(journal).run("run-1")

    def done(self) -> Counter[str]:
        return Counter(self.log.read_text().split() if self.log.exists() else ())


@pytest.mark.parametrize(
    ("place", "outcome", "times"),
    [
        ("requested", "succeeded", 1),
        ("a:before-intent", "succeeded", 1),
        ("a:intent", "rolled_back", 0),
        ("a:done", "succeeded", 1),
        ("a:outcome", "succeeded", 1),
        ("check-a:intent", "succeeded", 1),
        ("check-a:done", "succeeded", 1),
        ("b:done", "succeeded", 1),
        ("before-end", "succeeded", 1),
        ("end", "succeeded", 1),
    ],
)
def test_nothing_runs_twice(tmp_path: Path, place: str, outcome: str, times: int) -> None:
    """A step that is not idempotent is done once or not at all; its check has told which."""
    scene = Scene(tmp_path, PAGE)
    assert -signal.SIGKILL == scene.opsbook(f"run-1:{place}")
    assert 0 == scene.opsbook()
    run = scene.run()
    assert (outcome, times) == (run.outcome, scene.done()["a"])
    assert (outcome == "succeeded") == scene.made.exists()


@pytest.mark.parametrize(
    "place", ["undoing", "undo:before-intent", "undo:intent", "undo:done", "undo:outcome", "before-end"]
)
def test_the_way_back_is_gone_to_its_end(tmp_path: Path, place: str) -> None:
    """Whatever crashes on it."""
    scene = Scene(tmp_path, PAGE, end="false")
    assert -signal.SIGKILL == scene.opsbook(f"run-1:{place}")
    assert 0 == scene.opsbook()
    run, done = scene.run(), scene.done()
    assert ("rolled_back", False) == (run.outcome, scene.made.exists())
    assert (1, 1) == (done["a"], done["b"])
    assert 1 <= done["undo"] <= 2


def test_what_nobody_can_tell_waits_for_a_person(tmp_path: Path) -> None:
    """It died in the midst of a step without a check: what is left of the step is ended, and it is not repeated."""
    scene = Scene(tmp_path, "```bash run id=a\necho a >> {log}; touch {made}; exec sleep 307\n```\n")
    process = scene.begin()
    deadline = time.monotonic() + 60
    while not scene.made.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert _sleeping()
    assert 0 == scene.opsbook()
    run = scene.run()
    assert ("paused", 1, "unknown") == (run.state, scene.done()["a"], run.steps[0].state)
    assert "nothing tells how far it came" in run.waiting_for
    assert not _sleeping()


def _sleeping() -> bool:
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cmdline").read_bytes().startswith(b"sleep\x00307"):
                return True
        except OSError:
            continue
    return False
