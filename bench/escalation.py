"""From an incident to the page in the outbox, and what many at once cost: `python bench/escalation.py`.

A real journal on disk and the real thread; the channel takes pages at once, so that only escalation is measured.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import Bench, quick

from opsbook.book import TextFiles, load
from opsbook.errors import NotFound
from opsbook.journal import Journal
from opsbook.response.escalation.links import Links
from opsbook.response.escalation.model import Incident, Page, Subject
from opsbook.response.escalation.room import Escalations
from opsbook.world.hosts.clock import SystemClock

FILES = {
    "opsbook.yaml": b"""name: shop
contacts: {ana: {channel: chat}, ben: {channel: chat}}
channels: {chat: {webhook: "http://127.0.0.1:9/"}}
""",
    "incidents/policy.yaml": b"escalations: [{name: usual, steps: [{page: ana}, {page: ben}]}]\n",
}


class NoIncidents:
    def acknowledge(self, incident: str, actor: str) -> None:
        del incident, actor

    def get(self, incident: str) -> Incident:
        raise NotFound(incident)

    def waiting(self) -> list[Incident]:
        return []


def main() -> int:
    bench = Bench("escalation")
    few = quick(__doc__ or "")
    with tempfile.TemporaryDirectory(prefix="opsbook-bench-") as folder:
        run(bench, Path(folder), times=5 if few else 50, many=20 if few else 300)
    return bench.end()


def run(bench: Bench, folder: Path, *, times: int, many: int) -> None:
    clock, book = SystemClock(), load(TextFiles(FILES))
    sent: dict[str, float] = {}
    came = threading.Condition()

    def send(channel: str, page: Page) -> None:
        with came:
            sent.setdefault(page.incident, time.perf_counter())
            came.notify_all()

    with Journal.open(folder / "journal.sqlite", keys=folder / "keys", clock=clock) as journal:
        room = Escalations(
            lambda: book,
            journal,
            on_call=lambda name: None,
            incidents=NoIncidents(),
            send=send,
            links=Links(b"k" * 32, clock.now),
            now=clock.now,
        )
        room.start()
        took = []
        for number in range(times):
            began = time.perf_counter()
            room.begin(Subject(f"inc-{number}", "web is down"))
            with came:
                came.wait_for(lambda name=f"inc-{number}": name in sent, 30.0)
            took.append(sent[f"inc-{number}"] - began)
            room.acknowledge(f"inc-{number}", "ana")
        bench.figure("incident to page, median", statistics.median(took) * 1000, "ms", 100.0)
        bench.figure("incident to page, worst", max(took) * 1000, "ms", 1000.0)
        began = time.perf_counter()
        for number in range(many):
            room.begin(Subject(f"many-{number}", "web is down"))
        with came:
            came.wait_for(lambda: len(sent) == times + many, 120.0)
        bench.figure(
            f"{many} incidents at once, per page", (max(sent.values()) - began) / many * 1000, "ms", 50.0
        )
        room.close()
        began = time.perf_counter()
        for _ in range(10):
            room.tick()
        bench.figure(
            f"a look at {times + many} open escalations", (time.perf_counter() - began) * 100, "ms", 100.0
        )
    bench.no_peer("GoAlert", "it needs a PostgreSQL and a Go server of its own")


if __name__ == "__main__":
    sys.exit(main())
