"""Runbooks at the terminal: a real server, a real process for each command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from opsbook.book import FolderFiles, load
from opsbook.cli.client import Address, Client
from opsbook.errors import NotFound
from opsbook.response.runbooks.cli.run import not_there
from opsbook.terminal import Session

SERVER = Path(__file__).with_name("runbook_server.py")
COVER = "name: shop\nowner: ana\ncontacts: {ana: {email: ana@example.com}}\n"
PAGE = """\
---
title: Write a word
params: {word: {type: string}, file: {type: string}}
---
## Diagnose
```bash diagnose
echo looking
```
## Steps
### 1. Write
```bash run id=write
printf %s "$WORD" > "$FILE"; echo written
```
```bash check
test -s "$FILE"
```
```bash rollback idempotent
rm "$FILE"
```
### 2. Judge
```bash run id=judge risk=read
test "$WORD" = good
```
"""
ASKING = (
    "## Steps\n```text manual id=call\nCall them.\n```\n```bash run id=after risk=read\necho after\n```\n"
)
FORBIDDEN = "## Steps\n```bash run id=drop risk=danger\ntrue\n```\n"


class Faces:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ops" / "runbooks").mkdir(parents=True)
        (folder / "ops" / "opsbook.yaml").write_text(COVER)
        for name, text in (
            ("word", PAGE),
            ("asking", ASKING),
            ("forbidden", FORBIDDEN),
            ("plain", "# Read me\n"),
        ):
            (folder / "ops" / "runbooks" / f"{name}.md").write_text(text)
        state = folder / ".opsbook"
        state.mkdir(mode=0o700)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPSBOOK_")}
        self.environ = {**kept, "OPSBOOK_STATE": str(state), "OPSBOOK_BOOK": str(folder / "ops")}
        command = [sys.executable, str(SERVER), str(folder / "ops"), str(state)]
        self.process = subprocess.Popen(command, env=self.environ, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (state / "server.json").exists():
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.02)

    def opsbook(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "opsbook", *words]
        return subprocess.run(
            command,
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def faces() -> Iterator[Faces]:
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        made = Faces(Path(folder))
        yield made
        made.process.send_signal(signal.SIGTERM)
        made.process.wait(30)


def test_a_run_is_told_line_by_line(faces: Faces) -> None:
    """Each step with its output and its end; the last line sums up."""
    ended = faces.opsbook("run", "word", "-p", "word=good", "-p", f"file={faces.folder}/a")
    assert (0, "good") == (ended.returncode, (faces.folder / "a").read_text()), ended.stderr
    assert "ok diagnose" in ended.stdout
    assert "    written" in ended.stdout
    assert "ok check-write" in ended.stdout


def test_what_was_taken_back_exits_with_3(faces: Faces) -> None:
    """And names the step that failed."""
    ended = faces.opsbook("run", "word", "-p", "word=bad", "-p", f"file={faces.folder}/b")
    assert (3, False) == (ended.returncode, (faces.folder / "b").exists())
    assert "judge failed: exit code 1" in ended.stderr


def test_a_dry_run_does_nothing(faces: Faces) -> None:
    """It shows the scripts as they stand in the page, and the variables they would find."""
    ended = faces.opsbook("run", "word", "-p", "word=$(id)", "-p", "file=/x", "--dry-run")
    assert 0 == ended.returncode
    assert "WORD=$(id)" in ended.stdout
    assert 'printf %s "$WORD" > "$FILE"' in ended.stdout
    assert "undone by rollback-write" in ended.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "wrod"], 2, 'did you mean "word"?'),
        (["run", "word"], 2, "the parameter word is missing"),
        (["run", "plain"], 2, "a page to read"),
        (["run", "word", "-p", "word=-rf", "-p", "file=/x"], 2, "may not begin with -"),
        (["run", "forbidden"], 6, "somebody else to approve drop"),
        (["runs", "show", "run-999"], 2, "there is no run run-999"),
        (["runs", "approve", "run-999"], 2, "there is no run run-999"),
    ],
)
def test_refusals_say_why(faces: Faces, words: list[str], code: int, said: str) -> None:
    """With the exit code of their kind."""
    ended = faces.opsbook(*words)
    assert code == ended.returncode, ended.stderr
    assert said in ended.stderr


def test_a_manual_step_waits_for_a_person(faces: Faces) -> None:
    """The command ends with the next one to type; resuming finishes the run."""
    first = faces.opsbook("run", "asking")
    assert 0 == first.returncode
    name = next(word for word in first.stdout.split() if word.startswith("run-"))
    assert f"opsbook runs resume {name}" in first.stderr
    assert 0 == faces.opsbook("runs", "resume", name, "--note", "called").returncode
    followed = faces.opsbook("runs", "show", name, "--follow")
    assert 0 == followed.returncode, followed.stderr
    assert "    after" in followed.stdout


def test_lists_are_data(faces: Faces) -> None:
    """Tables for people, JSON for programs."""
    pages = json.loads(faces.opsbook("runbooks", "list", "--json").stdout)["runbooks"]
    assert {"word", "asking", "forbidden", "plain"} <= {page["name"] for page in pages}
    assert "to read" in faces.opsbook("runbooks").stdout
    run = json.loads(
        faces.opsbook(
            "run", "word", "-p", "word=good", "-p", f"file={faces.folder}/c", "--detach", "--json"
        ).stdout
    )
    assert run["id"] in faces.opsbook("runs").stdout


def test_a_new_page_passes_the_check_and_runs(faces: Faces) -> None:
    """Round trip: what opsbook writes, its own lint accepts."""
    assert 0 == faces.opsbook("runbooks", "new", "fresh", "--title", "Fresh: a page").returncode
    check = faces.opsbook("check", "--json")
    found = json.loads(check.stdout)
    said = [one for one in found["errors"] + found["warnings"] if one["file"] == "runbooks/fresh.md"]
    assert [] == said
    ran = faces.opsbook("run", "fresh", "-p", f"folder={faces.folder}")
    assert 0 == ran.returncode, ran.stderr


def test_a_page_is_written_for_somebody_who_is_there_and_never_over_another(faces: Faces) -> None:
    """What is wrong is said once, with the way out."""
    unknown = faces.opsbook("runbooks", "new", "cold", "--owner", "anna")
    assert (unknown.returncode, unknown.stderr) == (
        2,
        'error: there is no contact anna\n\nhint: did you mean "ana"?\n',
    )
    again = faces.opsbook("runbooks", "new", "word")
    assert again.returncode == 1
    assert again.stderr.endswith("there is a page word already\n\nhint: opsbook runbooks show word\n")


def test_a_page_that_opsbook_could_not_read_is_said_to_be_there(tmp_path: Path) -> None:
    """Nobody is told to write it anew: it is not committed, or `check` says what is wrong. Other words stay."""
    session = cast("Session", SimpleNamespace(book=tmp_path))
    missing = NotFound("no runbook broken", hint="opsbook runbooks new broken")
    assert not_there(session, "broken", missing) is missing
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "broken.md").write_text("")
    said = not_there(session, "broken", missing)
    assert "does not have runbooks/broken.md yet" in said.message
    assert said.hint == "opsbook check; where the handbook is in git, commit the page"
    other = NotFound("there is no incident inc-9")
    assert not_there(session, "broken", other) is other


def test_check_asks_the_shells(faces: Faces) -> None:
    """A script that does not parse is an error with the line in the page."""
    page = faces.folder / "ops" / "runbooks" / "broken.md"
    page.write_text("## Steps\n```bash run id=x risk=read\nif true; then\n```\n")
    try:
        ended = faces.opsbook("check")
        assert 2 == ended.returncode
        assert "runbooks/broken.md:4" in ended.stdout
        assert "syntax error" in ended.stdout
    finally:
        page.unlink()


def test_pages_say_when_they_were_drilled_last(faces: Faces) -> None:
    """In the list, below the page and in JSON; a page that was changed since says so, and one to read nothing."""
    before = {line.split()[0]: line for line in faces.opsbook("runbooks", "list").stdout.splitlines()}
    assert "TESTED" in before["PAGE"]
    assert "never" in before["forbidden"]
    running = json.loads((faces.folder / ".opsbook" / "server.json").read_text())
    server = Client(lambda: Address(socket=running["socket"]))
    page = json.loads(faces.opsbook("runbooks", "show", "forbidden", "--json").stdout)
    assert page["drill"] is None
    book = load(FolderFiles(faces.folder / "ops"))
    result = {"page": "forbidden", "state": "passed", "detect_seconds": 2.0, "fix_seconds": 3.5}
    server.post("/api/response/drills", result | {"digest": book.runbooks["forbidden"].digest})
    shown = faces.opsbook("runbooks", "show", "forbidden")
    assert "passed, detected in 2.0s, fixed in 3.5s\n" in shown.stderr
    server.post("/api/response/drills", result | {"digest": "of another text"})
    listed = faces.opsbook("runbooks", "list").stdout.splitlines()
    assert "changed since" in next(line for line in listed if line.startswith("forbidden"))
    pages = {
        one["name"]: one for one in json.loads(faces.opsbook("runbooks", "list", "--json").stdout)["runbooks"]
    }
    assert ("passed", True, None) == (
        pages["forbidden"]["drill"]["state"],
        pages["forbidden"]["drill"]["changed_since"],
        pages["word"]["drill"],
    )
