"""One opsbook that runs one runbook, and may die of it: `python runbook_victim.py FOLDER PAGE`.

Run again it takes the run up where it was. ``OPSBOOK_CRASH_AT`` names the place to die at. It ends when the run has
ended or waits for a person.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "response"))

from runbook_house import House

from opsbook.world.hosts.faults import CRASH_VARIABLE, fault_at


def main(folder: Path, page: Path) -> None:
    boundary = fault_at(os.environ.get(CRASH_VARIABLE, ""))
    house = House(folder, {"page": page.read_text()}, boundary=boundary)
    name = "run-1"
    if not house.room.records.runs():
        house.room.run("page", {}, "ana")
    house.until(name, lambda run: run.ended or run.state == "paused", seconds=60.0)
    house.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
