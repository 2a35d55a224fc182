"""One opsbook that escalates one incident, and may die of it: `python escalation_victim.py FOLDER SECONDS [VERB]`.

It looks once, so many seconds after the start, and ends. Pages are lines of the file `sent`, on disk before `send`
returns. VERB is what a person does then: acknowledge. ``OPSBOOK_CRASH_AT`` names the place to die at.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from escalation_house import START, House, Time

from opsbook.response.escalation.model import Page
from opsbook.world.hosts.faults import CRASH_VARIABLE, fault_at


def main(folder: Path, seconds: float, verb: str) -> None:
    def send(channel: str, page: Page) -> None:
        with (folder / "sent").open("a") as file:
            file.write(json.dumps([page.id, channel, page.at - START]) + "\n")
            file.flush()
            os.fsync(file.fileno())

    boundary = fault_at(os.environ.get(CRASH_VARIABLE, ""))
    house = House(folder, clock=Time(START + seconds), send=send, boundary=boundary)
    answered = folder / "answered"
    fields = {"acknowledged_at": START, "acknowledged_by": "ana"} if answered.exists() else {}
    subject = house.open(**fields)
    house.incidents.told = lambda one: answered.touch() if one.acknowledged_by else None
    if not seconds:
        house.room.begin(subject)
    house.room.tick()
    if verb == "acknowledge":
        house.room.acknowledge("inc-1", "ana")
    house.watchdog.look()
    house.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
