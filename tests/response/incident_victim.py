"""One opsbook whose incidents come and go until it is killed: `python incident_victim.py FOLDER`.

Whom it tells is a line of the file `told`, on disk before the callback returns; a line on stdout says that it works.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from incident_house import House, alert

from opsbook.response.incidents.model import Incident


def main(folder: Path) -> None:
    house = House(folder)
    house.clock.at += 10_000.0 * len(house.room.every())
    file = (folder / "told").open("a")

    def told(incident: Incident) -> None:
        file.write(incident.id + "\n")
        file.flush()
        os.fsync(file.fileno())

    house.room.on_opened(told)
    house.room.start()
    number = 0
    while True:
        number += 1
        house.clock.at += 700
        heard = alert(f"Alert{os.getpid()}x{number}", at=house.clock.at)  # another one than before the crash
        (name, *_) = house.fire(heard)
        house.room.note(name, f"note {number}", "ana")
        house.room.attach(name, "diagnosis", "text", f"body {number}")
        house.end(heard)
        house.room.resolve(name, "ana")
        if number == 3:
            print("working", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
