"""opsbook ack, escalations and the hand-over at the terminal: a real server, a real process for each command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

SERVER = Path(__file__).with_name("escalation_server.py")
COVER = """\
name: shop
contacts: {ana: {channel: chat}, ben: {channel: chat}, eva: {email: eva@example.com}}
channels: {chat: {webhook: "http://127.0.0.1:9/"}}
"""
POLICY = """\
schedules:
  - {{name: on-call, layers: [{{name: weekly, people: [ana, ben], every: day, from: {from_}}}]}}
  - {{name: later, layers: [{{name: weekly, people: [ana], from: 2099-01-05T09:00}}]}}
escalations:
  - {{name: usual, description: For all, steps: [{{page: on-call}}, {{page: eva}}, {{page: ben, after: 10m}}]}}
"""


class Faces:
    def __init__(self, folder: Path) -> None:
        (folder / "ops" / "incidents").mkdir(parents=True)
        (folder / "ops" / "opsbook.yaml").write_text(COVER)
        began = (datetime.now() - timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M")
        (folder / "ops" / "incidents" / "policy.yaml").write_text(POLICY.format(from_=began))
        self.state = folder / ".opsbook"
        self.state.mkdir(mode=0o700)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPSBOOK_")}
        self.environ = {
            **kept,
            "OPSBOOK_STATE": str(self.state),
            "OPSBOOK_BOOK": str(folder / "ops"),
            "TZ": "UTC",
        }
        self.folder = folder
        command = [sys.executable, str(SERVER), str(folder / "ops"), str(self.state)]
        self.process = subprocess.Popen(command, env=self.environ, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (self.state / "server.json").exists():
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.02)

    def opens(self, name: str) -> None:
        url = json.loads((self.state / "server.json").read_text())["url"]
        token = (self.state / "token").read_text().strip()
        answer = httpx.post(f"{url}/api/test/open/{name}", headers={"Authorization": f"Bearer {token}"})
        answer.raise_for_status()

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

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    made = Faces(tmp_path_factory.mktemp("escalation"))
    yield made
    made.end()


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Faces]:
    made = Faces(tmp_path)
    yield made
    made.end()


def test_from_quiet_to_quiet(quiet: Faces) -> None:
    """Nothing, a page, its answer, the next one by hand: said in words and by exit codes."""
    faces = quiet
    said = faces.opsbook("escalations")
    assert (0, "nobody is being paged") == (said.returncode, said.stderr.strip())
    nothing = faces.opsbook("ack")
    assert (2, True) == (nothing.returncode, "nobody is being paged" in nothing.stderr)
    faces.opens("inc-1")
    said = faces.opsbook("escalations")
    assert 1 == said.returncode
    assert "◷ paging  inc-1  SEV1 production" in said.stdout
    assert "next eva in" in said.stdout
    assert "hint: opsbook ack inc-1" in said.stderr
    acked = faces.opsbook("ack")
    assert 0 == acked.returncode
    assert "✔ acknowledged inc-1 is" in acked.stderr
    assert "opsbook incidents show inc-1" in acked.stderr
    known = json.loads(faces.opsbook("escalations", "show", "inc-1", "--json").stdout)
    assert ("acknowledged", 1) == (known["state"], known["paged"])
    # eva has no channel, so whoever comes after her is paged at once.
    assert "✔ paged inc-1: ben" in faces.opsbook("escalations", "next", "inc-1").stderr
    shown = faces.opsbook("escalations", "show", "inc-1").stdout
    assert "WHEN" in shown
    assert "ben" in shown
    faces.opens("inc-2")
    several = faces.opsbook("ack")
    assert (2, True) == (several.returncode, "there are 2 incidents" in several.stderr)
    assert 0 == faces.opsbook("ack", "inc-2", "--json").returncode
    assert 2 == faces.opsbook("ack", "inc-9").returncode


def test_nobody_on_call_is_an_exit_code(faces: Faces) -> None:
    """One of the schedules has nobody: said first thing, and to scripts too."""
    said = faces.opsbook("oncall")
    assert 1 == said.returncode
    assert "✖ nobody" in said.stdout


def test_chains(faces: Faces) -> None:
    """Whom each step would page now, and which reaches nobody."""
    said = faces.opsbook("escalations", "chain")
    assert 1 == said.returncode
    assert "✖ reaches nobody now" in said.stdout
    assert "✔ ana by chat" in said.stdout
    assert 2 == faces.opsbook("escalations", "chain", "nosuch").returncode


def test_hand_over(faces: Faces, tmp_path: Path) -> None:
    """A page of Markdown for who comes next, in which titles stay what they are."""
    faces.opens("inc-3")
    said = faces.opsbook("oncall", "handover", "-o", str(tmp_path / "handover.md"))
    assert 0 == said.returncode
    text = (tmp_path / "handover.md").read_text()
    assert "# Hand-over of on-call" in text
    assert "web is \\*down\\*" in text
    found = json.loads(faces.opsbook("oncall", "handover", "--json").stdout)
    assert "inc-3" in {one["incident"] for one in found["incidents"]}
    assert ["ana"] == found["shift"]["people"]
    assert ["ben"] == found["next"]["people"]


def test_check_says_who_cannot_be_reached(faces: Faces) -> None:
    """Beforehand, with the place."""
    said = faces.opsbook("check")
    assert "this step pages nobody: eva has no channel" in said.stdout + said.stderr
