"""A real opsbook server shell that has runbooks and their drills only: `python runbook_server.py BOOK STATE`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from opsbook.book import FolderFiles, load
from opsbook.journal import Durable, Journal
from opsbook.response.drills.api import router as drill_routes
from opsbook.response.drills.room import Drills
from opsbook.response.runbooks.api import router
from opsbook.response.runbooks.room import Runbooks
from opsbook.response.runbooks.site import Site
from opsbook.server.rooms import Rooms
from opsbook.server.run import Notices, serve
from opsbook.world.commands.places import Machines
from opsbook.world.hosts.clock import SystemClock


def build(*, book: Path, state: Path, stopping: threading.Event) -> Rooms:
    clock = SystemClock()
    journal = Journal.open(state / "journal.sqlite", keys=state / "keys", clock=clock)
    durable = Durable(state / "durable.sqlite")
    site = Site(
        book=lambda: load(FolderFiles(book)),
        journal=journal,
        durable=durable,
        clock=clock,
        places=Machines(),
    )
    room = Runbooks(site)
    durable.launch()
    room.start()

    def stop(services: bool) -> None:
        del services
        room.close()
        durable.close(timeout=2.0)

    def status(environment: str | None) -> dict[str, Any]:
        return {"environment": environment}

    return Rooms(
        routers=(
            router(room, stopping.is_set),
            drill_routes(Drills(lambda: load(FolderFiles(book)), journal, now=clock.now)),
        ),
        events=journal,
        status=status,
        health=dict,
        stop=stop,
        close=journal.close,
    )


if __name__ == "__main__":
    serve(build, Path(sys.argv[1]), Path(sys.argv[2]), port=0, notices=Notices(ready=lambda running: None))
