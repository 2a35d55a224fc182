"""Durable workflows: resumed after kill -9, idempotent by id, quiet, and nothing leaves the machine."""

# expected == actual, here as everywhere

import contextlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from opsbook.errors import Conflict, Failed, Invalid, Locked, NotFound, OpsbookError
from opsbook.journal import Durable, Interrupted

INTERRUPTED = Path(__file__).with_name("interrupted.py")


@pytest.fixture
def durable(url):
    """Not launched yet; the workflows are the test's own."""
    durable = Durable(url)
    yield durable
    durable.close()


def until(condition, seconds=20.0):
    """Poll with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_workflow_runs_its_steps_and_returns(durable):
    """Results of steps come back as JSON has them, at once as well as on replay."""
    seen = []

    def story(subject):
        seen.append(durable.step("one", lambda: {"tuple": (1, 2)}))
        seen.append(durable.step("two", lambda: None))
        return f"done {subject}"

    durable.workflow("story", story)
    durable.launch()
    durable.start("story", "d-1")

    assert "success" == durable.wait("d-1", 20)
    assert "done d-1" == durable.result("d-1")
    assert [{"tuple": [1, 2]}, None] == seen
    assert durable.error("d-1") is None
    assert durable.status("d-2") is None


def test_starting_is_idempotent_by_id(durable):
    """The same id runs once, while it is pending and after it has ended; it belongs to one workflow."""
    go, runs = threading.Event(), []

    def story(subject):
        durable.step("one", lambda: runs.append(subject))
        go.wait(20)
        return ""

    durable.workflow("story", story)
    durable.workflow("another", story)
    durable.launch()
    durable.start("story", "d-1")
    durable.start("story", "d-1")
    go.set()
    durable.wait("d-1", 20)
    durable.start("story", "d-1")
    with pytest.raises(Conflict):
        durable.start("another", "d-1")
    with pytest.raises(NotFound):
        durable.start("nothing", "d-2")
    durable.start("story", "d-2")
    durable.wait("d-2", 20)

    assert ["d-1", "d-2"] == runs


def test_a_failing_step_is_an_opsbook_error_of_the_same_kind(durable):
    """A workflow may catch it, the same way at first and on replay; any other exception becomes Failed."""
    caught = []

    def story(_subject):
        def locked():
            raise Locked("somebody has it", hint="wait", details={"holder": "ana"})

        try:
            durable.step("lock", locked)
        except OpsbookError as error:
            caught.append(error)
        durable.step("divide", lambda: 1 // 0)
        return ""

    durable.workflow("story", story)
    durable.launch()
    durable.start("story", "d-1")

    assert "error" == durable.wait("d-1", 20)
    assert "ZeroDivisionError: integer division or modulo by zero" == durable.error("d-1")
    assert [(Locked, "wait", {"holder": "ana"})] == [(type(e), e.hint, e.details) for e in caught]
    assert durable.result("d-1") is None


@pytest.mark.parametrize("result", [{1, 2}, "x" * 300_000, float("nan")], ids=["set", "large", "nan"])
def test_a_step_result_that_is_not_small_json_fails_the_step(durable, result):
    """It could not be given back on replay."""
    durable.workflow("story", lambda _: durable.step("one", lambda: result) and "")
    durable.launch()
    durable.start("story", "d-1")

    assert "error" == durable.wait("d-1", 20)
    assert "step one" in (durable.error("d-1") or "")


def test_an_exception_that_cannot_be_printed_still_ends_its_workflow(durable):
    """The name of its type is what is left."""

    class SpeechlessError(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    def story(_subject):
        raise SpeechlessError

    durable.workflow("story", story)
    durable.launch()
    durable.start("story", "d-1")

    assert "error" == durable.wait("d-1", 20)
    assert "SpeechlessError" == durable.error("d-1")


def test_closing_leaves_a_workflow_pending_and_launching_resumes_it(url):
    """A step that is under way is finished, a sleep is left, nothing recorded runs again."""
    runs, done, asked = [], threading.Event(), []

    def now():
        asked.append(time.time())
        return asked[-1]

    def make():
        durable = Durable(url, now=now)

        def story(_subject):
            try:
                durable.step("one", lambda: runs.append("one"))
                durable.sleep(0.2 if done.is_set() else 3600)
                durable.step("two", lambda: runs.append("two"))
            except Exception:
                runs.append("closing was taken for a failure")
            return "end"

        durable.workflow("story", story)
        durable.launch()
        return durable

    with contextlib.closing(make()) as first:
        first.start("story", "d-1")
        until(lambda: runs == ["one"])
        until(lambda: len(asked) > 1)  # how long it sleeps is recorded by then
        assert "pending" == first.wait("d-1", 0.05)
    first.close()
    with pytest.raises(Failed, match="not launched"):
        first.status("d-1")

    # The wake-up was recorded: it is still an hour away, whatever the second run would like.
    done.set()
    with contextlib.closing(make()) as second:
        assert "pending" == second.wait("d-1", 2)
        second.cancel("d-1")
        assert "cancelled" == second.wait("d-1", 20)

    assert ["one"] == runs


def test_a_sleep_ends_when_the_clock_says_so(url, clock):
    """The time to wake is on the wall clock, so that it passes while nothing runs."""
    durable = Durable(url, now=clock.now)
    durable.workflow("story", lambda _: str(durable.sleep(3600)))
    durable.launch()
    durable.start("story", "d-1")
    durable.wait("d-1", 0.3)
    durable.close()

    clock.at += 3601
    durable = Durable(url, now=clock.now)
    durable.workflow("story", lambda _: str(durable.sleep(3600)))
    durable.launch()

    assert "success" == durable.wait("d-1", 20)
    durable.close()


def test_cancelling_wakes_a_sleeping_workflow_and_is_no_failure(durable):
    """Its own error handling is not called; it does not go on."""
    events = []

    def story(_subject):
        try:
            durable.step("one", lambda: events.append("one"))
            durable.sleep(3600)
        except Exception:
            events.append("taken for a failure")
        except BaseException as error:
            events.append(type(error).__name__)
            raise
        return ""

    durable.workflow("story", story)
    durable.launch()
    durable.start("story", "d-1")
    until(lambda: events == ["one"])
    durable.cancel("d-1")
    until(lambda: len(events) > 1)

    assert ["one", "Interrupted"] == events
    assert "cancelled" == durable.status("d-1")


def test_a_long_step_may_watch_for_closing(durable):
    """It raises Interrupted, is not recorded, and would be called again."""
    started = threading.Event()

    def watch():
        started.set()
        durable.closing.wait(60)
        raise Interrupted

    durable.workflow("story", lambda _: durable.step("long", watch) or "")
    durable.launch()
    durable.start("story", "d-1")
    assert started.wait(20)
    began = threading.active_count()
    durable.close()

    assert threading.active_count() < began


def test_old_workflows_are_collected(durable):
    """Those that ended long enough ago are forgotten; others are not."""
    durable.workflow("story", lambda subject: subject)
    durable.workflow("asleep", lambda _: str(durable.sleep(3600)))
    durable.launch()
    for number in range(3):
        durable.start("story", f"d-{number}")
        durable.wait(f"d-{number}", 20)
    durable.start("asleep", "s-1")

    assert 0 == durable.collect(older_than_seconds=3600)
    assert 3 == durable.collect(older_than_seconds=-5)
    assert durable.status("d-1") is None
    assert "pending" == durable.status("s-1")


def test_only_one_can_be_launched_in_a_process(durable, tmp_path):
    """DBOS is process-wide; the second is told so, and may be launched after the first is closed."""
    durable.launch()
    second = Durable(tmp_path / "second.sqlite")
    with pytest.raises(Conflict, match="already"):
        second.launch()
    durable.close()
    second.launch()
    second.close()


def test_misuse_is_refused(durable):
    """Twice the same name, registering late, a step outside a workflow, asking before the launch."""
    durable.workflow("story", lambda _: "")
    with pytest.raises(Invalid):
        durable.workflow("story", lambda _: "")
    with pytest.raises(Failed):
        durable.start("story", "d-1")
    durable.launch()
    with pytest.raises(Invalid):
        durable.workflow("late", lambda _: "")
    with pytest.raises(Invalid, match="inside a workflow"):
        durable.step("one", lambda: 1)


def test_a_database_that_cannot_be_used_is_a_clear_error(tmp_path):
    """And another launch, with a better one, still works."""
    (tmp_path / "d.sqlite").write_text("this is a shopping list\n" * 100)
    with pytest.raises(Failed):
        Durable(tmp_path / "d.sqlite").launch()

    durable = Durable(tmp_path / "good.sqlite")
    durable.launch()
    durable.close()
    assert 0o600 == stat.S_IMODE((tmp_path / "good.sqlite").stat().st_mode)


def test_dbos_cloud_is_refused(tmp_path, monkeypatch):
    """Workflow data stays on the machine, whatever the environment says."""
    monkeypatch.setenv("DBOS__CLOUD", "true")
    with pytest.raises(Failed, match="DBOS Cloud"):
        Durable(tmp_path / "d.sqlite").launch()


def test_it_is_quiet_and_nothing_leaves_the_machine(tmp_path):
    """A workflow that fails writes nothing to the terminal, and no socket is connected (an audit hook watches)."""
    code = f"""
import sys
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
        print(event, arguments)
sys.addaudithook(hook)
from opsbook.journal import Durable
durable = Durable({str(tmp_path / "d.sqlite")!r})
durable.workflow("story", lambda _: durable.step("one", lambda: 1 // 0))
durable.launch()
durable.start("story", "d-1")
print(durable.wait("d-1", 20))
durable.close()
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DBOS")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )

    assert ("error\n", "") == (done.stdout, done.stderr)


@pytest.mark.crash
def test_a_workflow_killed_at_every_step_is_resumed_behind_the_last_record(url, tmp_path):
    """Killed in each step, after the last and while it sleeps: in the end it succeeds, all in the right order."""
    notes = tmp_path / "notes"

    def run(die):
        command = [sys.executable, "-W", "error", INTERRUPTED, url, notes, die]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    for die in ("in:0", "in:1", "in:2", "after:2", "sleep"):
        assert (-signal.SIGKILL, "", "") == run(die)

    assert (0, "success d-1: [0, 1, 2]\n", "") == run("never")
    # Killed before its record, a step is done again; killed after it, never.
    assert ["step 0", "step 0", "step 1", "step 1", "step 2", "step 2"] == notes.read_text().splitlines()
