"""Scripts on this machine: strict shells, nothing to read, no terminal, nothing left behind."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from opsbook.world.commands.local import LocalRunner, end_all
from opsbook.world.commands.many import ManyRunner
from opsbook.world.commands.syntax import faults
from opsbook.world.commands.words import Kept, Outcome, Script


def run(text: str, shell: str = "bash", **more: object) -> Outcome:
    script = Script(shell, text, **more)  # type: ignore[arg-type]
    return LocalRunner(kill_after=0.3).run(script, lambda chunk: None, lambda: False)


def test_shells_are_strict() -> None:
    """An unset variable, a failure in the middle of a pipe, a failing command: each ends the script."""
    assert "no\n" not in run("echo $UNSET; echo no").output
    assert (1, "") == ((ended := run("false | true; echo no")).code, ended.output)
    assert (1, "a\n") == ((ended := run("echo a; false; echo no", "sh")).code, ended.output)


def test_there_is_nothing_to_read_and_no_terminal(tmp_path: Path) -> None:
    """A script that asks gets no answer, rather than waiting for one."""
    ended = run("cat; if test -t 0 || test -t 1; then echo terminal; fi; if read -r line; then echo read; fi")
    assert (0, "") == (ended.code, ended.output)


def test_variables_are_data_and_the_own_environment_stays_home(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """A value is never looked at by the shell; what opsbook itself was started with is not handed on."""
    monkeypatch.setenv("AWS_SECRET", "x")
    ended = run('printf "%s|" "$A" "${AWS_SECRET:-none}"', variables={"A": "$(id) `id` ; \n '\""})
    assert "$(id) `id` ; \n '\"|none|" == ended.output


def test_what_ignores_sigterm_is_killed_with_its_children() -> None:
    """Also a daemon that has left for a session of its own, when the script fails."""
    ended = run("trap '' TERM; setsid sleep 313 & sleep 313", timeout=0.3, token="t-313")
    assert (True, None) == (ended.timed_out, ended.code)
    assert 0 == end_all("t-313")


def test_a_background_child_does_not_hold_it() -> None:
    """The pipe that it keeps open is not waited for."""
    began = time.monotonic()
    assert "left\n" == run("sleep 314 & echo left", token="t-314").output
    assert time.monotonic() - began < 30
    assert 0 == end_all("t-314")


def test_a_cancel_is_heard_at_once() -> None:
    """And is told apart from a failure."""
    wanted = threading.Event()
    threading.Timer(0.2, wanted.set).start()
    ended = LocalRunner().run(Script("bash", "sleep 60"), lambda chunk: None, wanted.is_set)
    assert ("cancelled", None) == (ended.reason, ended.code)


def test_head_and_tail_are_kept() -> None:
    """However much comes, and in whatever pieces."""
    kept = Kept(head=4, tail=4)
    for byte in b"abcdefghijklmnop":
        kept.add(bytes([byte]))
    assert ("abcd\n… 8 bytes left out …\nmnop", 8) == (kept.text(), kept.dropped)


def test_what_cannot_be_started_is_an_outcome() -> None:
    """A script that is too long, a folder that is gone."""
    assert "cannot be started" in run("x" * 3_000_000).reason
    gone = LocalRunner(folder=Path("/nowhere")).run(Script("bash", "true"), lambda chunk: None, lambda: False)
    assert "cannot be started" in gone.reason


class Says:
    def __init__(self, code: int, text: bytes) -> None:
        self._code, self._text = code, text

    def run(self, script: Script, heard, cancelled) -> Outcome:  # type: ignore[no-untyped-def]
        for byte in self._text:
            heard(bytes([byte]))
        return Outcome(self._code)


def test_many_have_a_limit_to_failures() -> None:
    """Each line has its host; one more failure than may be ends it, and the rest is not begun."""
    heard: list[bytes] = []
    runners = {"a": Says(0, b"one\ntwo"), "b": Says(1, b"")}
    good = ManyRunner(runners, max_fail=1).run(Script("bash", ""), heard.append, lambda: False)
    assert (True, ["a: one", "a: two", "b: exit code 1"]) == (good.ok, sorted(good.output.splitlines()))
    bad = {str(number): Says(1, b"") for number in range(9)}
    ended = ManyRunner(bad, max_fail=1, at_once=1).run(Script("bash", ""), heard.append, lambda: False)
    assert ended.problem.startswith("2 of 9 failed, 1 may")
    assert "not begun: 2, 3, 4, 5, 6, 7, 8" in ended.problem


def test_shells_tell_what_they_cannot_read() -> None:
    """Line by line; nothing of it is run."""
    scripts = {
        "good": ("bash", "echo hi"), "open": ("bash", "if true; then\n"), "closed": ("sh", "ok\nfi\n"),
        "here": ("bash", "cat <<X\nhi"), "brace": ("bash", "}; touch /tmp/never; {"),
    }  # fmt: skip
    found = faults(scripts, style=False)  # type: ignore[arg-type]
    assert {"open", "closed", "here", "brace"} == set(found)
    assert 2 == found["closed"][0].line
    assert not Path("/tmp/never").exists()
