"""kill -9 at every boundary of an escalation: a page twice with one id at worst, never none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from opsbook.world.hosts.faults import CRASH_VARIABLE

VICTIM = Path(__file__).with_name("escalation_victim.py")
pytestmark = pytest.mark.crash


def opsbook(folder: Path, seconds: float, *, place: str = "", verb: str = "") -> int:
    environ = {**os.environ, CRASH_VARIABLE: place}
    command = [sys.executable, str(VICTIM), str(folder), str(seconds), verb]
    return subprocess.run(command, env=environ, timeout=60, check=False).returncode


def sent(folder: Path) -> list[tuple[str, str, float]]:
    lines = (folder / "sent").read_text().splitlines() if (folder / "sent").exists() else []
    return [tuple(json.loads(line)) for line in lines]


@pytest.mark.parametrize(
    ("place", "copies"),
    [("inc-1:begun", 1), ("inc-1:1:decided", 1), ("inc-1:1:sent", 2), ("inc-1:1:recorded", 1)],
)
def test_the_first_page(tmp_path: Path, place: str, copies: int) -> None:
    """Whenever it dies, the first one is paged, and the next one after the full time."""
    assert -signal.SIGKILL == opsbook(tmp_path, 0, place=place)
    assert 0 == opsbook(tmp_path, 1)
    first = sent(tmp_path)
    assert ["ana-chat"] * copies == [channel for _, channel, _ in first]
    assert 1 == len({name for name, _, _ in first})
    assert 0 == opsbook(tmp_path, 299)
    assert copies == len(sent(tmp_path))
    assert 0 == opsbook(tmp_path, 302)
    assert "lead-chat" == sent(tmp_path)[-1][1]


@pytest.mark.parametrize("place", ["inc-1:2:decided", "inc-1:2:sent", "inc-1:2:recorded"])
def test_a_later_page(tmp_path: Path, place: str) -> None:
    """The same, five minutes later; and after an hour of downtime one level only."""
    assert 0 == opsbook(tmp_path, 0)
    assert -signal.SIGKILL == opsbook(tmp_path, 300, place=place)
    assert 0 == opsbook(tmp_path, 420)
    later = sent(tmp_path)[1:]
    assert {"lead-chat"} == {channel for _, channel, _ in later}
    assert 1 == len({name for name, _, _ in later})
    assert 0 == opsbook(tmp_path, 4000)
    assert 1 == len(sent(tmp_path)) - 1 - len(later)


def test_an_answer_survives(tmp_path: Path) -> None:
    """It died before the incident heard of it: nobody is paged, and the incident hears of it."""
    assert -signal.SIGKILL == opsbook(tmp_path, 0, place="inc-1:answered", verb="acknowledge")
    assert not (tmp_path / "answered").exists()
    assert 0 == opsbook(tmp_path, 900)
    assert ["ana-chat"] == [channel for _, channel, _ in sent(tmp_path)]
    assert (tmp_path / "answered").exists()
