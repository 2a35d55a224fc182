"""What tests of post-mortems share: a handbook in git, a real journal, real samples, incidents to write about."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsbook.book import Book, FolderFiles, load
from opsbook.errors import NotFound
from opsbook.journal import Journal
from opsbook.promql import Engine
from opsbook.response.incidents.model import Action, Incident, IncidentAlert, Suspect, Update
from opsbook.response.postmortems.model import Impact
from opsbook.response.postmortems.room import Postmortems
from opsbook.response.postmortems.site import Site
from opsbook.response.runbooks.model import Run, Step
from opsbook.world.hosts.pages import FolderPages
from opsbook.world.hosts.publishing import publish
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore

START = 1_763_719_200.0  # 2025-11-21 10:00:00 UTC
END = START + 600.0
PAGE = """\
---
title: Storefront fails
owner: ana
alerts: [WebDown]
reviewed: 2025-11-01
---
What it means.

## Diagnose
```bash diagnose
df -h
```
## Steps
### 1. Restart
```bash run id=restart timeout=1m idempotent
true
```
#### Verify
```bash check for=restart
true
```
#### Roll back
```bash rollback for=restart idempotent
true
```
"""
FILES = {
    "opsbook.yaml": "name: shop\ncontacts: {ana: {email: ana@example.com}, ben: {email: ben@example.com}}\n",
    "services/web.yaml": "service: web\nrun: {command: [sleep, '60']}\n",
    "services/vault.yaml": "service: vault\nrun: {command: [sleep, '60']}\n",
    "environments/production.yaml": "environment: production\nentry: {port: 8080}\nservices: {web: {}, vault: {}}\n",
    "runbooks/storefront.md": PAGE,
}


def incident(**changes: Any) -> Incident:
    """One that is resolved, with a bad release as its first suspect."""
    given: dict[str, Any] = {
        "id": "inc-7",
        "title": "Orders fail",
        "slug": "orders-fail",
        "severity": "SEV2",
        "state": "resolved",
        "environment": "production",
        "services": ("web",),
        "runbook": "storefront",
        "started_at": START,
        "detected_at": START + 25,
        "declared_at": START + 26,
        "acknowledged_at": START + 80,
        "acknowledged_by": "ana",
        "mitigated_at": END,
        "resolved_at": END + 60,
        "commander": "ana",
        "alerts": (
            IncidentAlert(
                fingerprint="f1",
                labels={"alertname": "HighErrorRate", "service": "web"},
                summary="web answers with errors",
                runbook="storefront",
                started_at=START + 25,
                ended_at=END + 10,
            ),
        ),
        "suspects": (
            Suspect(
                kind="deployment",
                subject="production/web",
                text="web 2.2 went live",
                at=START - 60,
                score=0.9,
                why="60 s before, on the service that failed",
                event=12,
            ),
        ),
    }
    return Incident(**{**given, **changes})


def update(text: str, *, at: float = START + 100, public: bool = True, state: str = "active") -> Update:
    return Update(at=at, by="ana", text=text, state=state, public=public)


def action(
    name: str, text: str, *, owner: str = "ana", due: str = "2026-12-01", done: float | None = None
) -> Action:
    return Action(id=name, text=text, owner=owner, due=due, done_at=done, by="ana")


def run(name: str = "run-3", *, page: str = "storefront", failed: str = "") -> Run:
    """A run of the page that succeeded, or whose step failed with this reason."""
    step = Step(
        step="restart", role="run", number=1, state="failed" if failed else "ok", reason=failed,
        started_at=START + 100, ended_at=START + 130,
    )  # fmt: skip
    return Run(
        id=name, page=page, title="Storefront fails", commit="", digest="x", params={}, lock="x",
        requested_by="ana", requested_at=START + 100, started_at=START + 100, ended_at=START + 130,
        state="ended", outcome="rolled_back" if failed else "succeeded", steps=(step,),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Moment:
    """A row of the timeline."""

    at: float
    text: str
    actor: str = ""
    kind: str = "note"


class Desk:
    """The incidents that there are."""

    def __init__(self) -> None:
        self.known: dict[str, Incident] = {}
        self.happened: list[Moment] = [Moment(START + 25, "HighErrorRate fires", "alerting")]
        self.told: list[tuple[str, str, Impact]] = []
        self.callbacks: list[Callable[[Incident], object]] = []

    def put(self, *incidents: Incident) -> None:
        for one in incidents:
            self.known[one.id] = one
            for callback in self.callbacks:
                callback(one)

    def get(self, name: str) -> Incident:
        if name not in self.known:
            raise NotFound(f"there is no incident {name}")
        return self.known[name]

    def every(self) -> Sequence[Incident]:
        return sorted(self.known.values(), key=lambda one: one.started_at, reverse=True)

    def timeline(self, name: str) -> Sequence[Moment]:
        return self.happened if name in self.known else []

    def has_postmortem(self, name: str, path: str, impact: Impact) -> None:
        self.told.append((name, path, impact))

    def on_changed(self, callback: Callable[[Incident], object]) -> None:
        self.callbacks.append(callback)


class Clock:
    def __init__(self) -> None:
        self.at = END + 120

    def now(self) -> float:
        return self.at


class House:
    """A handbook in a folder, committed where `git`, and the room over it."""

    def __init__(self, folder: Path, files: Mapping[str, str] | None = None, *, git: bool = True) -> None:
        self.folder, self.book_folder = folder, folder / "ops"
        self.clock, self.desk, self.storage = Clock(), Desk(), Storage(HotStore())
        self.runs: dict[str, Run] = {}
        self.log: list[str] = []
        for path, text in {**FILES, **(files or {})}.items():
            target = self.book_folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        if git:
            self.git("init", "--quiet", "--initial-branch=main")
            self.commit("begin")
        self.journal = Journal.open(folder / "journal.sqlite", keys=folder / "keys", clock=self.clock)
        self.pages = FolderPages(self.book_folder, folder / "patches", use_git=git)
        self.room = self.open()

    def open(self) -> Postmortems:
        """The room, as after a start."""
        return Postmortems(
            Site(
                book=self.book,
                folder=self.book_folder,
                journal=self.journal,
                incidents=self.desk,
                pages=self.pages,
                now=self.clock.now,
                publish=publish,
                queries=Engine(self.storage),
                run=self.run,
                mask=lambda text: text.replace("hunter2", "***"),
                log=self.log.append,
            )
        )

    def book(self) -> Book:
        return load(FolderFiles(self.book_folder))

    def run(self, name: str) -> Run:
        if name not in self.runs:
            raise NotFound(f"there is no run {name}")
        return self.runs[name]

    def close(self) -> None:
        self.room.close()
        self.journal.close()

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=Ana", "-c", "user.email=ana@example.com")
        command = ("git", "-C", str(self.book_folder), *who, *arguments)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)

    def read(self, path: str) -> str:
        return (self.book_folder / path).read_text()

    def measure(self) -> None:
        """Samples of each 15 s: 10 requests, of which 3 fail while the incident lasts; a budget that is spent."""
        scrapes = self.storage.writer({"job": "envoy"})
        about = {"service": "web", "environment": "production"}
        good = bad = 0.0
        for second in range(-1800, 780, 15):
            at, hurt = START + second, 0 <= second < 600
            good, bad = good + (7 if hurt else 10), bad + (3 if hurt else 0)
            counted = {"__name__": "envoy_cluster_upstream_rq_xx", **about}
            scrapes.write(
                int(at * 1000),
                [
                    ({**counted, "response_code_class": "2"}, good),
                    ({**counted, "response_code_class": "5"}, bad),
                    ({"__name__": "opsbook:error_rate", **about}, 0.3 if hurt else 0.0),
                    ({"__name__": "opsbook:response_time_p95", **about}, 0.4 if hurt else 0.02),
                    (
                        {"__name__": "slo_error_budget_remaining", "slo": "web", **about},
                        0.5 if second > 300 else 0.9,
                    ),
                ],
            )
