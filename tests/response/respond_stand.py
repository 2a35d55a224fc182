"""A console with all that responds behind it: real runbooks over a real journal, real durable work and real shells."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

sys.path.insert(0, str(Path(__file__).parents[1] / "server" / "console"))

from stand import Stand

from opsbook.journal import Durable
from opsbook.response.incidents.room import Incidents
from opsbook.response.pages import routers
from opsbook.response.pages.source import Source
from opsbook.response.runbooks.api import router as runbook_routes
from opsbook.response.runbooks.model import Run
from opsbook.response.runbooks.room import Runbooks
from opsbook.response.runbooks.site import Site
from opsbook.server.access import Access
from opsbook.server.app import create_app
from opsbook.server.console.console import Console, Parts
from opsbook.server.rooms import Rooms
from opsbook.world.commands.places import Machines

DISK = """\
---
title: Disk full
owner: team-shop
severity: SEV2
alerts: [HostDiskFull]
reviewed: 2026-11-01
review_every: 3650d
params:
  environment: {type: environment, default: production, description: Where it is full}
  keep_mb: {type: int, min: 100, max: 5000, default: 500, description: What stays}
  mode: {type: enum, values: [soft, hard], default: soft}
---
# Disk full

Writes fail, then logins. The <b>checkout</b> stops first; see [the API](api-down.md#diagnose) and
[its service](../services/api.yaml). [Never](javascript:alert(1)) this.

| filled | what happens |
|---|---|
| 90 % | a warning |
| 97 % | writes fail |

## Diagnose
```bash diagnose id=look
echo "/dev/sda1 97% /"
```

## Steps
### 1. Vacuum the journal
It frees what is older than `keep_mb`.

```bash run id=vacuum risk=write timeout=2m
echo "freed to ${KEEP_MB} MB"
```
#### Verify
```bash check for=vacuum
test -n "$KEEP_MB"
```
#### Roll back
```bash rollback for=vacuum idempotent
echo "nothing to undo"
```

### 2. Look at the graphs
```text manual id=graphs
Is the disk emptier than before?
```
"""
DANGER = """\
---
title: Fail over
params:
  environment: {type: environment, default: production}
---
```bash run id=switch risk=danger on-failure=stop
echo switched
```
"""
SLOW = """\
---
title: Slow and loud
params: {gate: {type: string}}
---
```bash run id=wait risk=read timeout=60s
echo "line one <script>alert(1)</script>"
until test -e "$GATE"; do sleep 0.05; done
echo "line two"
```
```bash run id=broken risk=read on-failure=stop
echo "about to fail"; exit 3
```
"""
READ = "# Who to call\n\nThe provider, at any hour.\n"
PAGES = {"disk-full": DISK, "fail-over": DANGER, "slow": SLOW, "contacts": READ}


class Responding(Stand):
    """The stand, with people who respond."""

    pages: Mapping[str, str] = PAGES

    def _build(self) -> None:
        folder = self.root / "ops" / "runbooks"
        folder.mkdir(exist_ok=True)
        for name, text in self.pages.items():
            (folder / f"{name}.md").write_text(text)
        self.handbook.fresh()
        self.durable = Durable(self.root / "durable.sqlite")
        site = Site(
            book=self.handbook.fresh,
            journal=self.journal,
            durable=self.durable,
            clock=self.clock,
            places=Machines(grace=0.2),
        )
        self.runbooks = Runbooks(site)
        self.durable.launch()
        self.runbooks.start()
        self.incidents = self.declared()
        self.responded = self.respond()
        self.console = console_of(self.parts(), self.responded)
        rooms = Rooms(
            routers=(runbook_routes(self.runbooks, self.stopping.is_set),),
            events=self.journal,
            status=self.room.status,
            health=dict,
            stop=lambda services: None,
            security=self.security,
        )
        self.app = create_app(rooms)
        self.console.install(self.app)
        self.access = Access(self.app, token="server-token", security=self.security)

    def parts(self) -> Parts:
        """What the console is made of."""
        return Parts(
            source=self.source,
            journal=self.journal,
            handbook=self.handbook,
            security=self.security,
            stopping=self.stopping,
        )

    def respond(self) -> Source:
        """What the pages are handed."""
        return Source(
            book=self.handbook.current,
            now=self.clock.now,
            runbooks=self.runbooks,
            incidents=self.incidents,
        )

    def declared(self) -> Any:
        """The incidents that there are."""
        return Incidents(self.handbook.current, self.journal, now=self.clock.now)

    def open_by(self, labels: Mapping[str, str], annotations: Mapping[str, str], fingerprint: str) -> str:
        """The incident that an alert opens, or joins."""
        heard = Heard(fingerprint, labels, annotations, self.clock.now() - 60)
        (changed,) = self.incidents.receive([heard], [])
        return str(changed.id)

    def end(self) -> None:
        self.stopping.set()
        self.runbooks.close()
        self.durable.close(timeout=5.0)
        for thread in threading.enumerate():
            if thread.name.startswith("live run-"):
                thread.join(5.0)  # they look into the journal once more
        super().end()

    def until(self, name: str, wanted: Callable[[Run], bool], seconds: float = 20.0) -> Run:
        """The run, once it is so."""
        deadline = time.monotonic() + seconds
        while not wanted(run := self.runbooks.records.run(name)):
            assert time.monotonic() < deadline, run
            time.sleep(0.01)
        return run

    def paused(self, name: str) -> Run:
        return self.until(name, lambda run: run.state == "paused")

    def ended(self, name: str) -> Run:
        return self.until(name, lambda run: run.ended)


@dataclass(frozen=True)
class Heard:
    """An alert as alerting hands it over."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float | None = None
    actions: tuple[Any, ...] = ()


def console_of(parts: Parts, responded: Source) -> Console:
    """The console with these pages, as the composition root puts it together."""

    def further(shell: Any, route_class: type[APIRoute]) -> APIRouter:
        shell._environment.globals["responding"] = True
        every = APIRouter()
        for router in routers(responded, shell, route_class):
            every.include_router(router)
        return every

    return Console(replace(parts, responded=responded, further=(*parts.further, further)))
