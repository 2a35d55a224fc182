"""What three years of responding cost: `python bench/growth.py [--quick]`.

An incident of 500 alerts that flap; then a journal as it is after 20,000 runs of runbooks, 3,000 incidents and 10,000
drills, and a server over it: how long lists and pages take, the start, the memory.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from harness import Bench, House, quick

from opsbook.book import Book, TextFiles, load
from opsbook.book.runbooks import Runbook
from opsbook.demo.stage import free_ports
from opsbook.journal import Entry, Journal
from opsbook.monitoring.alerting.model import Alert
from opsbook.response.drills.kinds import ENDED as DRILLED
from opsbook.response.drills.model import Result
from opsbook.response.escalation.chains import default_chain
from opsbook.response.escalation.model import Escalation, Subject
from opsbook.response.incidents.model import Incident, IncidentAlert
from opsbook.response.incidents.room import Incidents
from opsbook.response.postmortems.model import Record
from opsbook.response.runbooks import kinds
from opsbook.response.runbooks.evidence import Evidence
from opsbook.response.runbooks.model import Run, Step
from opsbook.response.runbooks.records import (
    COUNTER,
    Records,
    evidence_key,
    found_by,
    output_key,
    page_key,
    run_key,
)
from opsbook.response.runbooks.retention import AT_A_TIME, Retention
from opsbook.response.runbooks.site import Site

DAY = 86_400.0
PAGES, SERVICES, STEPS = 40, 20, 6
OUTPUT = "line of what a step says, as steps do\n" * 30
TEXT = """\
---
title: Page {n}
owner: ana
params: {{service: {{type: service}}, environment: {{type: environment}}}}
---
## Steps
"""


@dataclass(frozen=True, slots=True)
class Years:
    """How much has come together."""

    runs: int = 20_000
    incidents: int = 3_000
    drills: int = 10_000
    alerts: int = 500
    rounds: int = 9


class PastClock:
    """Stands where it is put."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


def handbook() -> dict[str, str]:
    """Forty pages of six steps, twenty services."""
    steps = "".join(
        f"### {n}. Step {n}\n```bash run id=s{n} risk=read\necho {n}\n```\n" for n in range(STEPS)
    )
    names = [f"web-{n}" for n in range(SERVICES)]
    return {
        "opsbook.yaml": "name: bench\nowner: ana\ncontacts: {ana: {email: ana@example.com}}\n",
        "environments/production.yaml": "environment: production\nentry: {port: 8089}\nservices:\n"
        + "".join(f"  {name}: {{}}\n" for name in names),
        **{f"services/{name}.yaml": f"service: {name}\nrun: {{command: [sleep, '1']}}\n" for name in names},
        **{f"runbooks/page-{n}.md": TEXT.format(n=n) + steps for n in range(PAGES)},
    }


# --- what came together


def run_of(number: int, page: Runbook, at: float) -> Run:
    service = f"web-{number % SERVICES}"
    failed = number % 10 == 0
    steps = tuple(
        Step(
            step=f"s{n}", role="run", number=n + 1, state="failed" if failed and n == STEPS - 1 else "ok",
            started_at=at + n, ended_at=at + n + 1, code=0,
        )
        for n in range(STEPS)
    )  # fmt: skip
    return Run(
        id=f"run-{number}", page=page.name, title=page.title, commit="c" * 40, digest=page.digest,
        params={"service": service, "environment": "production"}, environment="production", service=service,
        lock=f"{page.name}/production/{service}", requested_by="ana", requested_at=at, state="ended",
        incident=f"inc-{number // 8 + 1}" if number % 8 == 0 else "",
        outcome="failed" if failed else "succeeded", reason="s5 failed" if failed else "",
        started_at=at, ended_at=at + STEPS, steps=steps,
    )  # fmt: skip


def told_of(run: Run) -> Iterator[Entry]:
    about = {"id": run.id, "page": run.page}
    yield Entry(kinds.STARTED.name, run.subject, {**about, "params": run.params}, "ana")
    for one in run.steps:
        yield Entry(kinds.STEP_STARTED.name, run.subject, {**about, "step": one.step}, "opsbook")
        yield Entry(
            kinds.STEP_ENDED.name,
            run.subject,
            {**about, "step": one.step, "state": one.state, "seconds": 1.0},
            "opsbook",
        )
    yield Entry(kinds.ENDED.name, run.subject, {**about, "outcome": run.outcome, "reason": ""}, "opsbook")


def incident_of(number: int, at: float, *, state: Any = "closed", runs: tuple[str, ...] = ()) -> Incident:
    service = f"web-{number % SERVICES}"
    alerts = tuple(
        IncidentAlert(
            f"{number:08x}{n:08x}", {"alertname": f"Alert{n}", "service": service, "severity": "critical"},
            "it is not well", "", at, at + 600,
        )
        for n in range(5)
    )  # fmt: skip
    return Incident(
        id=f"inc-{number}", title=f"{service} fails", slug="fails", state=state, environment="production",
        services=(service,), started_at=at, detected_at=at, declared_at=at, acknowledged_at=at + 60,
        answered_at=at + 60, resolved_at=at + 1800, closed_at=at + DAY, alerts=alerts, runs=runs,
    )  # fmt: skip


def grow(folder: Path, book: Book, years: Years) -> float:
    """Write it all through the journal, in bulk; returns the seconds that took."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    began, end = time.perf_counter(), time.time() - 60.0
    clock, pages = PastClock(end), [book.runbooks[f"page-{n}"] for n in range(PAGES)]
    with Journal.open(folder / "journal.sqlite", keys=folder / "keys", clock=clock) as journal:
        journal.append_all((), put={page_key(page.digest): page.source for page in pages})
        every = 3 * 365 * DAY / years.runs
        evidence = {page.name: Evidence() for page in pages}
        for first in range(1, years.runs + 1, 200):
            put: dict[str, Any] = {}
            entries: list[Entry] = []
            for number in range(first, min(first + 200, years.runs + 1)):
                clock.at = end - (years.runs - number) * every
                run = run_of(number, pages[number % PAGES], clock.at)
                put |= {run_key(run.id): run.to_json(), **found_by(run)}
                evidence[run.page] = evidence[run.page].begun(run)
                for one in run.steps:
                    put[output_key(run.id, one.number)] = {"text": OUTPUT, "dropped": 0, "sensitive": False}
                entries += told_of(run)
            journal.append_all(entries, put={**put, COUNTER: number})
        journal.append_all((), put={evidence_key(page): one.to_json() for page, one in evidence.items()})
        clock.at = end
        chain = default_chain(book)
        for first in range(1, years.incidents + 1, 200):
            put, entries = {}, []
            for number in range(first, min(first + 200, years.incidents + 1)):
                at = end - (years.incidents - number) * 3 * 365 * DAY / years.incidents - 2 * DAY
                one = incident_of(number, at, runs=(f"run-{(number - 1) * 8}",) if number > 1 else ())
                put[f"incidents/item/{number:010d}"] = one.to_json()
                put[f"postmortems/record/{one.id}"] = Record(incident=one.id, state="closed").to_json()
                if end - at < 90 * DAY:
                    over = Escalation(Subject.of(one), chain, at, at, state="ended", ended_at=at + 1800)
                    put[f"escalation/{one.id}"] = over.to_json()
                entries.append(Entry("incident.opened", one.subject, {"incident": one.id}, "opsbook"))
            journal.append_all(entries, put=put)
        for page in pages:
            results = [
                Result(page=page.name, state="passed", at=end, digest=page.digest).to_json()
                for _ in range(20)
            ]
            entry = Entry(
                DRILLED.name, f"runbook/{page.name}", {"page": page.name, "state": "passed"}, "opsbook"
            )
            journal.append_all(
                [entry] * (years.drills // PAGES), put={f"drill/{page.name}": {"results": results}}
            )
    return time.perf_counter() - began


# --- what it costs


def started(house: House, port: int) -> float:
    began = time.perf_counter()
    house.type("up", "--detach", "--port", str(port))
    return time.perf_counter() - began


def resident(house: House) -> float:
    return float(psutil.Process(house.server.pid).memory_info().rss / 1e6)


def asked(bench: Bench, house: House, years: Years) -> None:
    """Each page and each answer, made anew."""
    last, old = f"run-{years.runs}", f"run-{max(1, years.runs // 10)}"
    pages = {
        "the first page": "/",
        "/runbooks": "/runbooks",
        "/runbooks/page-1": "/runbooks/page-1",
        "/runs": "/runs",
        "/runs?outcome=failed": "/runs?outcome=failed",
        "/runs of the newest": f"/runs/{last}",
        "/runs of an old one": f"/runs/{old}",
        "/incidents": "/incidents",
        "/incidents of the newest": f"/incidents/inc-{years.incidents}",
        "/incidents of an old one": f"/incidents/inc-{max(1, years.incidents // 10)}",
    }
    answers = {
        "runs": "/api/response/runs",
        "runs of a page": "/api/response/runs?page=page-1",
        "a run": f"/api/response/runs/{last}",
        "runbooks": "/api/response/runbooks",
        "incidents": "/api/response/incidents",
        "figures": "/api/response/incidents/figures",
        "timeline of an old incident": f"/api/response/incidents/inc-{max(1, years.incidents // 10)}/timeline",
        "escalations": "/api/response/escalations?over=true",
        "post-mortems": "/api/response/postmortems",
        "drills": "/api/response/drills",
    }
    transport = httpx.HTTPTransport(uds=str(house.server.socket))
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=120) as client:
        for found, target, accept in ((pages, 200.0, "text/html"), (answers, 100.0, "application/json")):
            for what, path in found.items():
                took = []
                for _ in range(years.rounds):
                    began = time.perf_counter()
                    answer = client.get(path, headers={"accept": accept})
                    took.append((time.perf_counter() - began) * 1000)
                if answer.status_code != 200:
                    print(f"  {path} is answered with {answer.status_code}")
                bench.figure(
                    what if accept == "text/html" else f"api: {what}", statistics.median(took), "ms", target
                )
    began = time.perf_counter()
    house.type("runs", "list")
    whole = time.perf_counter() - began
    began = time.perf_counter()
    house.type("runs", "--help")
    bench.figure(
        "opsbook runs list beyond its start", (whole - time.perf_counter() + began) * 1000, "ms", 100.0
    )


def served(bench: Bench, years: Years) -> None:
    root, (port,) = Path(tempfile.mkdtemp(prefix="opsbook-bench-growth-", dir="/tmp")), free_ports(1)
    texts, took, memory = handbook(), {}, {}
    try:
        for name in ("empty", "grown"):
            for path, text in texts.items():
                (root / name / "ops" / path).parent.mkdir(parents=True, exist_ok=True)
                (root / name / "ops" / path).write_text(text)
            state = root / name / ".opsbook"
            if name == "grown":
                bench.fact("written in bulk", grow(state, load(TextFiles.of(texts)), years), "s")
                bench.fact("the journal", (state / "journal.sqlite").stat().st_size / 1e6, "MB")
            house = House(root / name, port)
            try:
                took[name] = started(house, port)
                if name == "grown":
                    asked(bench, house, years)
                memory[name] = resident(house)
            finally:
                house.commands.run("down", "--services")
        forgetting(bench, state, load(TextFiles.of(texts)))
        bench.fact("start of an empty one", took["empty"], "s")
        bench.figure("start beyond the empty one", took["grown"] - took["empty"], "s", 3.0)
        bench.figure("memory beyond the empty one", memory["grown"] - memory["empty"], "MB", 150.0)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def forgetting(bench: Bench, folder: Path, book: Book) -> None:
    """What the retention of the handbook lets go, after the server has ended."""
    clock: Any = PastClock(time.time())
    nothing: Any = None
    with Journal.open(folder / "journal.sqlite", keys=folder / "keys", clock=clock) as journal:
        site = Site(book=lambda: book, journal=journal, durable=nothing, clock=clock, places=nothing)
        began = time.perf_counter()
        gone = Retention(site, Records(journal), nullcontext()).look()
        took = time.perf_counter() - began
    bench.fact("runs that are older than 400 days, forgotten", gone, "runs")
    bench.figure("a batch of them, its pause included", took / max(1, gone / AT_A_TIME) * 1000, "ms", 150.0)


def flapping(bench: Bench, years: Years) -> None:
    """One incident of many alerts; each ends and fires again, one by one, as they do for an hour."""
    book, clock = load(TextFiles.of(handbook())), PastClock(time.time())
    with tempfile.TemporaryDirectory(prefix="opsbook-bench-growth-") as folder:
        place = Path(folder)
        with Journal.open(place / "journal.sqlite", keys=place / "keys", clock=clock) as journal:
            past = (incident_of(n, clock.at - 10 * DAY) for n in range(1, years.incidents + 1))
            journal.append_all((), put={f"incidents/item/{one.number:010d}": one.to_json() for one in past})
            room, written = Incidents(lambda: book, journal, now=clock.now), 0

            def alert(number: int, ends: float | None = None) -> Alert:
                labels = {
                    "alertname": f"Alert{number}", "severity": "critical", "environment": "production",
                    "service": "web-0", "instance": f"10.0.0.{number % 250}:9100",
                    "job": "node", "zone": "eu-central-1a", "team": "platform",
                }  # fmt: skip
                said = {"summary": f"number {number} of what fails is not well, and has not been for a while"}
                return Alert(labels | {"host": "h"}, said, starts_at=clock.at, ends_at=ends)

            for number in range(years.alerts):
                room.receive([alert(number)], [])
                clock.at += 0.01
            took = []
            before = _written()
            for number in range(0, years.alerts, max(1, years.alerts // 100)):
                for firing, resolved in (([], [alert(number, clock.at)]), ([alert(number)], [])):
                    clock.at += 1.0
                    began = time.perf_counter()
                    room.receive(firing, resolved)
                    took.append((time.perf_counter() - began) * 1000)
            written = _written() - before
    bench.figure(f"a change of {years.alerts} flapping alerts, median", statistics.median(took), "ms", 5.0)
    bench.fact("its slowest", max(took), "ms")
    bench.figure("written for one", written / len(took) / 1000, "kB", 100.0)


def _written() -> int:
    """Bytes that this process has written so far, to the database's log and to the database."""
    return int(psutil.Process().io_counters().write_chars)


def main() -> int:
    short = quick(__doc__ or "")
    years = Years(400, 60, 80, 40, 2) if short else Years()
    bench = Bench("growth")
    flapping(bench, years)
    served(bench, years)
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
