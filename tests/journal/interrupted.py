"""A process that runs the durable workflow "story" and kills itself (SIGKILL) at a given place.

Arguments: the database, the file that notes what was done, where to die: "in:N" after step N's effect but before it
is recorded, "after:N" when it is recorded, "sleep" while sleeping, or "never". Prints how the workflow stands.
"""

import os
import signal
import sys
from pathlib import Path

from opsbook.journal import Durable

database, notes, die = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
durable = Durable(database)


def note(text: str) -> None:
    with notes.open("a") as file:
        file.write(text + "\n")


def at(place: str) -> None:
    if place == die:
        os.kill(os.getpid(), signal.SIGKILL)


def story(subject: str) -> str:
    results = []
    for number in range(3):

        def effect(number: int = number) -> dict[str, int]:
            note(f"step {number}")
            at(f"in:{number}")
            return {"number": number, "pid": os.getpid()}

        results.append(durable.step(f"step {number}", effect)["number"])
        at(f"after:{number}")
    durable.step("die asleep", lambda: at("sleep"))
    durable.sleep(0.2)
    return f"{subject}: {results}"


durable.workflow("story", story)
durable.launch()
durable.start("story", "d-1")
print(durable.wait("d-1", 60), durable.result("d-1"), flush=True)
durable.close()
