"""A console with who is on call and what pages them: the real doors, pages and sessions; channels that remember."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

sys.path.insert(0, str(Path(__file__).parents[1] / "server" / "console"))

from escalation_house import Incidents
from stand import Stand

from opsbook.response.escalation import answering
from opsbook.response.escalation.api import router as escalation_routes
from opsbook.response.escalation.links import Links
from opsbook.response.escalation.model import Page, Subject
from opsbook.response.escalation.room import Escalations
from opsbook.response.oncall import pages
from opsbook.response.oncall.api import router as oncall_routes
from opsbook.response.oncall.pages import OnCallWatch
from opsbook.response.oncall.room import OnCall
from opsbook.server.access import Access
from opsbook.server.app import create_app
from opsbook.server.console import console as shells
from opsbook.server.console.console import Console, Parts
from opsbook.server.rooms import Rooms

POLICY = """\
schedules:
  - name: on-call
    description: The shop
    timezone: Europe/Berlin
    layers:
      - {name: weekly, people: [ana, ben], from: 2026-01-05T09:00}
      - name: office-hours
        people: [dora]
        every: day
        from: 2026-01-05T09:00
        only: [{days: [mon, tue, wed, thu, fri], from: "09:00", until: "17:00"}]
  - name: database
    layers: [{name: nights, people: [ben], from: 2026-01-05T09:00, only: [{from: "18:00", until: "08:00"}]}]
"""
RUNBOOK = """\
# Service down

## Steps
### 1. Restart it
```bash run id=restart risk=write
opsbook restart web --in production
```
"""


class Duty(Stand):
    """The stand, with people on call."""

    def _build(self) -> None:
        ops = self.root / "ops"
        (ops / "incidents").mkdir(exist_ok=True)
        (ops / "runbooks").mkdir(exist_ok=True)
        (ops / "incidents" / "policy.yaml").write_text(POLICY)
        cover = (ops / "opsbook.yaml").read_text()
        if "channels:" not in cover:
            cover = cover.replace("email:", "channel: chat, email:")
            (ops / "opsbook.yaml").write_text(
                f"{cover}channels: {{chat: {{webhook: 'http://127.0.0.1:9/'}}}}\n"
            )
        (ops / "runbooks" / "service-down.md").write_text(RUNBOOK)
        self.handbook.fresh()
        book, now = self.handbook.current, self.clock.now
        assert book().schedules, self.handbook.errors()
        self.oncall = OnCall(book, self.journal, now=now)
        self.pages: list[Page] = []
        self.incidents = Incidents()
        self.escalations = Escalations(
            book,
            self.journal,
            on_call=self.oncall.people,
            incidents=self.incidents,
            send=lambda channel, page: self.pages.append(page),
            links=Links(b"k" * 32, now),
            now=now,
            address=lambda: "http://here",
        )
        parts = Parts(
            source=self.source,
            journal=self.journal,
            handbook=self.handbook,
            security=self.security,
            stopping=self.stopping,
            further=(self._further,),
        )
        rooms = shells.ROOMS
        try:
            shells.ROOMS = tuple(dict.fromkeys((*rooms, "opsbook.response")))
            self.console = Console(parts)
        finally:
            shells.ROOMS = rooms
        self.console.live._watches = (*self.console.live._watches, OnCallWatch(self.oncall))
        self.app = create_app(
            Rooms(
                routers=(
                    oncall_routes(self.oncall),
                    escalation_routes(self.escalations, book, self.oncall.people),
                ),
                events=self.journal,
                status=self.room.status,
                health=dict,
                stop=lambda services: None,
                security=self.security,
            )
        )
        self.console.install(self.app)
        self.access = Access(self.app, token="server-token", security=self.security)

    def _further(self, shell: Any, route_class: type[APIRoute]) -> APIRouter:
        shell._environment.globals["responding"] = True
        every = APIRouter()
        every.include_router(
            pages.router(self.oncall, self.handbook.current, shell, route_class, now=self.clock.now)
        )
        every.include_router(
            answering.router(
                self.escalations,
                self.handbook.current,
                now=self.clock.now,
                spark=lambda *_: tuple(float(one % 7 + (one > 40) * 12) for one in range(60)),
            )
        )
        return every

    def opens(self, name: str = "inc-7") -> str:
        """An incident opens and pages somebody; the path of the page's link."""
        subject = Subject(
            name,
            "The storefront fails 4.2 % of its requests",
            severity="SEV1",
            environment="production",
            services=("web",),
            runbook="service-down",
            started_at=self.clock.now() - 95,
            symptom="HighErrorRate: 4.2 % of requests fail (limit 1 %)",
            change="web 2.2 went live 2m 10s before",
            diagnosis="✖ health    0 of 2 instances answer\n✖ errors    4.2 % (0.1 % an hour ago)\n✔ database  well",
        )
        self.incidents.known[name] = subject
        self.escalations.begin(subject)
        self.escalations.tick()
        return self.pages[-1].link.removeprefix("http://here") if self.pages else ""
