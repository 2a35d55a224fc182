"""A real opsbook server shell that has who is on call and escalation only: `python escalation_server.py BOOK STATE`.

An incident is opened by a POST to ``/api/test/open``, for there is no room of incidents.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

from fastapi import APIRouter

sys.path.insert(0, str(Path(__file__).parent))

from escalation_house import Incidents

from opsbook.book import FolderFiles, load
from opsbook.journal import Journal
from opsbook.response.escalation.api import router
from opsbook.response.escalation.links import Links
from opsbook.response.escalation.model import Subject
from opsbook.response.escalation.room import Escalations
from opsbook.response.oncall.api import router as oncall_routes
from opsbook.response.oncall.room import OnCall
from opsbook.security.api import requires
from opsbook.server.rooms import Rooms
from opsbook.server.run import Notices, serve
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.hosts.keys import random_key


def build(*, book: Path, state: Path, stopping: threading.Event) -> Rooms:
    del stopping
    clock = SystemClock()
    journal = Journal.open(state / "journal.sqlite", keys=state / "keys", clock=clock)
    written = load(FolderFiles(book))
    oncall = OnCall(lambda: written, journal, now=clock.now)
    incidents = Incidents()
    room = Escalations(
        lambda: written,
        journal,
        on_call=oncall.people,
        incidents=incidents,
        send=lambda channel, page: None,
        links=Links(random_key(state / "keys" / "links.key"), clock.now),
        now=clock.now,
    )
    incidents.told = room.follow
    room.start()
    extra = APIRouter()

    @extra.post("/api/test/open/{name}", dependencies=[requires("stop")])
    def opens(name: str) -> dict[str, Any]:
        subject = Subject(name, "web is *down*", "SEV1", environment="production", started_at=time.time())
        incidents.known[name] = subject
        room.begin(subject)
        room.tick()
        return {}

    return Rooms(
        routers=(oncall_routes(oncall), router(room, lambda: written, oncall.people), extra),
        events=journal,
        status=lambda environment: {"environment": environment},
        health=dict,
        stop=lambda services: room.close(),
        close=journal.close,
    )


if __name__ == "__main__":
    serve(build, Path(sys.argv[1]), Path(sys.argv[2]), port=0, notices=Notices(ready=lambda running: None))
