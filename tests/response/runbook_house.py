"""What the tests of runs share: a room over a real journal, real durable work and real shells."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from opsbook.book import Book, TextFiles, load
from opsbook.journal import Durable, Journal
from opsbook.response.runbooks.model import Run
from opsbook.response.runbooks.room import Runbooks
from opsbook.response.runbooks.site import Site
from opsbook.security.model import EVERYTHING, Identity
from opsbook.world.commands.places import Machines
from opsbook.world.hosts.clock import SystemClock

COVER = """\
name: shop
owner: team
contacts: {team: {members: [ana, ben]}, ana: {email: ana@example.com}, ben: {email: ben@example.com}}
"""
SERVICE = "service: web\nrun: {command: [sleep, '60']}\n"
ENVIRONMENTS = {
    "environments/local.yaml": "environment: local\nentry: {port: 8081}\nservices: {web: {}}\n",
    "environments/production.yaml": (
        "environment: production\nentry: {port: 8080}\nprotect: {approvals: 1, approvers: [team]}\n"
        "services: {web: {version: '1'}}\n"
    ),
}
ANA = Identity(name="ana", grants=EVERYTHING, authenticated=True, via="token")
BEN = Identity(name="ben", grants=EVERYTHING, authenticated=True, via="token")


def handbook(pages: Mapping[str, str]) -> Book:
    """A handbook of one service with these runbooks."""
    texts = {"opsbook.yaml": COVER, "services/web.yaml": SERVICE, **ENVIRONMENTS}
    return load(TextFiles.of({**texts, **{f"runbooks/{name}.md": text for name, text in pages.items()}}))


class House:
    """A room of runbooks that lives in a folder, and can be closed and opened again."""

    def __init__(self, folder: Path, pages: Mapping[str, str], **site: Any) -> None:
        self.folder = folder
        self.book = handbook(pages)
        self._given = site
        self.open()

    def open(self) -> None:
        clock = SystemClock()
        self.journal = Journal.open(self.folder / "journal.sqlite", keys=self.folder / "keys", clock=clock)
        self.durable = Durable(self.folder / "durable.sqlite")
        given = {"places": Machines(grace=0.2), **self._given}
        self.site = Site(
            book=lambda: self.book, journal=self.journal, durable=self.durable, clock=clock, **given
        )
        self.room = Runbooks(self.site)
        self.durable.launch()
        self.room.start()

    def close(self) -> None:
        self.room.close()
        self.durable.close(timeout=5.0)
        self.journal.close()

    def go(self, page: str, params: Mapping[str, str] | None = None, **asked: Any) -> Run:
        """Start a page and wait for its end."""
        run, _ = self.room.run(page, params or {}, asked.pop("actor", "ana"), **asked)
        return self.ended(run.id)

    def ended(self, name: str) -> Run:
        return self.until(name, lambda run: run.ended)

    def paused(self, name: str) -> Run:
        return self.until(name, lambda run: run.state == "paused")

    def until(self, name: str, wanted: Callable[[Run], bool], seconds: float = 20.0) -> Run:
        """The run, once it is so."""
        deadline = time.monotonic() + seconds
        while not wanted(run := self.room.records.run(name)):
            assert time.monotonic() < deadline, run
            time.sleep(0.01)
        return run

    def output(self, run: Run, step: str) -> str:
        last = run.last(step)
        assert last is not None, run
        return str(self.room.records.output(run.id, last.number)["text"])

    def kinds(self, run: Run) -> list[str]:
        """What the journal has of it, in order."""
        return [
            event.kind for event in self.journal.events(kinds=["runbook.*"]) if event.data["id"] == run.id
        ]
