"""kill -9 while incidents come and go: nothing is half written, and everybody is told of each of them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from incident_house import House

VICTIM = Path(__file__).with_name("incident_victim.py")
pytestmark = pytest.mark.crash


@pytest.mark.parametrize("pause", [0.0, 0.011, 0.043])
def test_killed_in_between(tmp_path: Path, pause: float) -> None:
    """Twice, so that what the first one left is met by a crash too."""
    for _ in range(2):
        victim = subprocess.Popen(
            [sys.executable, str(VICTIM), str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        with victim:
            assert victim.stdout is not None
            assert victim.stdout.readline() == "working\n"
            time.sleep(pause)  # where it dies is chance: all that counts is that it is somewhere else
            victim.kill()
    house = House(tmp_path)
    assert house.journal.verify().ok
    found = {one.id: one for one in house.room.every()}
    assert sorted(one.number for one in found.values()) == list(range(1, len(found) + 1))
    opened = [one.data["incident"] for one in house.journal.events(kinds=("incident.opened",), limit=100_000)]
    assert sorted(opened) == sorted(found)
    for kind, count in (("noted", 1), ("attached", 1), ("joined", 0)):
        events = house.journal.events(kinds=(f"incident.{kind}",), limit=100_000)
        assert len(events) <= len(found) * count
    for one in found.values():
        for kept in one.attachments:
            assert house.room.attachment(one.id, kept.id).startswith("body ")
    house.room.look()
    told = (tmp_path / "told").read_text().split() + house.opened
    assert set(told) == set(found)
    house.opened.clear()
    house.room.look()
    assert house.opened == []
    house.close()
