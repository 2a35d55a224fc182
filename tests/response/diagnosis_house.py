"""What the tests of diagnoses share: real metrics, logs, traces, journal, runbooks; only the machines are pretended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opsbook.book import TextFiles, load
from opsbook.deployment import events as _events  # noqa: F401 - registers the kinds
from opsbook.deployment.model import Deployment, Outcome, Phase, Placement, Release, Strategy, Transition
from opsbook.deployment.records import COUNTER, Records, deployment_key, placement_key, release_key
from opsbook.journal import Durable, Journal
from opsbook.monitoring.alerting.model import Alert
from opsbook.promql import Engine
from opsbook.response.diagnosis.checks import LOOKS, Look
from opsbook.response.diagnosis.model import Check, Diagnosis
from opsbook.response.diagnosis.ports import Site
from opsbook.response.diagnosis.room import Diagnoses
from opsbook.response.runbooks.room import Runbooks
from opsbook.response.runbooks.site import Site as RunbookSite
from opsbook.world.commands.places import Machines
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.logs.search import LogSearch
from opsbook.world.logs.sent import SentLogs
from opsbook.world.logs.words import LogRecord
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore
from opsbook.world.traces.store import TraceStore
from opsbook.world.traces.words import Span
from opsbook.world.words import Address, Exit, Instance, InstanceState, Probe, TrafficState

PLACE = {"environment": "production", "service": "web"}
FILES = {
    "opsbook.yaml": "name: shop\nowner: team\n",
    "services/web.yaml": "service: web\ndepends_on: [api]\nrun: {command: [web], port: http}\nroute: {path: /}\n",
    "services/api.yaml": "service: api\ndepends_on: [redis]\nrun: {command: [api], port: http}\n"
    "route: {path: /api}\n",
    "services/redis.yaml": "service: redis\nrun: {command: [redis], port: tcp}\n",
    "environments/production.yaml": "environment: production\nentry: {port: 8080}\n"
    "services: {web: {replicas: 2}, api: {replicas: 1}, redis: {replicas: 1}}\n",
    "environments/staging.yaml": "environment: staging\nentry: {port: 8081}\nservices: {api: {}, redis: {}}\n",
    "runbooks/high-error-rate.md": """---
title: Too many errors
alerts: [HighErrorRate]
params:
  service: {type: service}
  environment: {type: environment}
  route: {type: string, default: /}
---
## Diagnose
```bash diagnose id=look
echo "looking at $SERVICE in $ENVIRONMENT on $ROUTE"; echo "second line"
```
```bash diagnose id=broken
echo "no such thing"; exit 3
```
## Steps
### 1. Restart
```bash run id=restart risk=write
true
```
```bash check
true
```
```bash rollback idempotent
true
```
""",
    "runbooks/failed-deployment.md": "# A release that fails\n\nGo back.\n",
    "runbooks/disk-full.md": "# Disk full\n\nMake room.\n",
    "troubleshooting/checkout.md": "---\ntitle: Checkout is slow\nservices: [web]\n---\nLook at the basket.\n",
    "troubleshooting/night.md": "# What redis does at night\n\nIt saves.\n",
}


def instance(service: str, number: int = 0, **changes: Any) -> Instance:
    """One that runs."""
    given: dict[str, Any] = {
        "id": f"{service}-production-{number}", "service": service, "environment": "production",
        "release": f"{service}-r1", "version": "1.0", "state": InstanceState.RUNNING,
        "address": Address("127.0.0.1", 9000 + number), "pid": 100 + number,
    }  # fmt: skip
    return Instance(**given | changes)


def died(reason: str, at: float) -> dict[str, Any]:
    """What is different of an instance that died and waits to be started again."""
    return {
        "state": InstanceState.BACKOFF, "last_exit": Exit(1, None, at, reason), "recent_restarts": (at - 20, at),
        "restarts": 2,
    }  # fmt: skip


class Pretended:
    """Instances, as they are set."""

    def __init__(self) -> None:
        self.running: list[Instance] = []
        self.sick: dict[str, str] = {}
        self.tails: dict[str, Sequence[str]] = {}

    def instances(self, environment: str | None = None, service: str | None = None) -> tuple[Instance, ...]:
        return tuple(
            one
            for one in self.running
            if environment in (None, one.environment) and service in (None, one.service)
        )

    def probe(self, instance: str) -> Probe:
        return Probe(instance not in self.sick, self.sick.get(instance, "200 in 1 ms"), 0.001)

    def log_tail(self, instance: str, lines: int = 20) -> Sequence[str]:
        return tuple(self.tails.get(instance, ()))[-lines:]


class Shop:
    """Three services in production, all of them well."""

    def __init__(
        self, folder: Path, files: Mapping[str, str] = FILES, looks: tuple[Look, ...] = LOOKS
    ) -> None:
        self.folder = folder
        self.clock = SystemClock()
        self.now = time.time()
        self.book = load(TextFiles.of(dict(files)))
        self.journal = Journal.open(folder / "journal.sqlite", keys=folder / "keys", clock=self.clock)
        self.durable = Durable(folder / "durable.sqlite")
        self.runbooks = Runbooks(
            RunbookSite(
                book=lambda: self.book, journal=self.journal, durable=self.durable, clock=self.clock,
                places=Machines(grace=0.2),
            )
        )  # fmt: skip
        self.durable.launch()
        self.runbooks.start()
        self.storage = Storage(HotStore())
        self.scrapes = self.storage.writer({"job": "named"})
        self.sent = SentLogs(folder / "sent.sqlite", self.clock)
        self.traces = TraceStore(folder / "traces.sqlite", self.clock)
        self.machines = Pretended()
        self.alerts: list[Alert] = []
        self.deployed = 0
        for service, count in (("web", 2), ("api", 1), ("redis", 1)):
            self.machines.running += [instance(service, number) for number in range(count)]
            self.put(placement_key("production", service), Placement(
                environment="production", service=service, release=f"{service}-r1", version="1.0", replicas=count,
            ))  # fmt: skip
        self.site = Site(
            book=lambda: self.book,
            journal=self.journal,
            clock=self.clock,
            alerts=lambda: tuple(self.alerts),
            queries=Engine(self.storage),
            moment=lambda: self.now,
            instances=self.machines,
            traffic=lambda: TrafficState(True, 1),
            deployments=Records(self.journal),
            logs=LogSearch(folder / "logs", self.sent, self.clock),
            traces=self.traces,
            runbooks=self.runbooks,
        )
        self.room = Diagnoses(self.site, looks)

    def close(self) -> None:
        self.room.close()
        self.runbooks.close()
        self.durable.close(timeout=5.0)
        self.traces.close()
        self.sent.close()
        self.journal.close()

    # --- looking

    def diagnose(self, service: str = "web", **asked: Any) -> Diagnosis:
        return self.room.make("production", service, **asked)

    def check(self, name: str, service: str = "web", **asked: Any) -> Check:
        """One of the checks of a diagnosis."""
        return found(self.diagnose(service, **asked), name)

    # --- scenes

    def put(self, key: str, document: Any) -> None:
        self.journal.append_all([], put={key: document.to_json()})

    def fires(self, name: str, ago: float, severity: str = "critical", **labels: str) -> Alert:
        """An alert of web, or of what its labels say."""
        labels = labels or dict(PLACE)
        alert = Alert(
            labels={"alertname": name, "severity": severity, **labels},
            annotations={"summary": f"{name} of {labels.get('service', 'something')}"},
            starts_at=self.now - ago,
        )
        self.alerts.append(alert)
        return alert

    def measured(self, *samples: tuple[str, float, Mapping[str, str]]) -> None:
        """Samples of now: name, value, labels."""
        found = [({"__name__": name, **labels}, value) for name, value, labels in samples]
        self.scrapes.write(int(self.now * 1000), found)

    def named(self, lines: Mapping[str, Mapping[float, float]]) -> None:
        """Named metrics of web, all scraped together."""
        for ago in sorted({ago for line in lines.values() for ago in line}, reverse=True):
            samples = [
                ({"__name__": f"opsbook:{name}", **PLACE}, line[ago])
                for name, line in lines.items()
                if ago in line
            ]
            self.scrapes.write(int((self.now - ago) * 1000), samples)

    def said(self, text: str, ago: float, service: str = "web", level: str = "error", times: int = 1) -> None:
        """Lines of a log, a second apart."""
        self.sent.write([
            LogRecord(
                at_ms=int((self.now - ago + number) * 1000), service=service, environment="production",
                level=level, text=text.replace("%d", str(1000 + number)),
            )
            for number in range(times)
        ])  # fmt: skip

    def traced(
        self, *spans: tuple[str, str, str, str, float], ago: float = 60.0, errors: Sequence[str] = ()
    ) -> str:
        """A trace of (id, parent, service, name, seconds)."""
        trace = f"{int((self.now - ago) * 1000):032x}"
        self.traces.write([
            Span(
                trace_id=trace, span_id=one.ljust(16, "0"), parent_id=parent.ljust(16, "0") if parent else "",
                name=name, service=service, environment="production", start_ns=int((self.now - ago) * 1e9),
                duration_ns=int(seconds * 1e9), status="error" if one in errors else "ok",
                message="it broke" if one in errors else "",
            )
            for one, parent, service, name, seconds in spans
        ])  # fmt: skip
        return trace

    def deploys(self, service: str, version: str, ago: float, **changes: Any) -> Deployment:
        """A deployment that went live so long ago, as the journal has it."""
        self.deployed += 1
        name, at = f"d-{self.deployed}", self.now - ago
        release = changes.pop("new", None) or Release(
            id=f"{service}-{version}", service=service, environment="production", version=version, digest="1",
            folder="", config={"env": {"TIMEOUT": "1"}}, commit="0123456789abcdef", author="ana",
            message="Faster baskets",
        )  # fmt: skip
        before = Release(
            id=f"{service}-r1", service=service, environment="production", version="1.0", digest="0", folder="",
            config={"env": {"TIMEOUT": "9"}}, secrets={"token": "a"},
        )  # fmt: skip
        given: dict[str, Any] = {
            "id": name, "kind": "deploy", "service": service, "environment": "production", "version": version,
            "strategy": Strategy(name="rolling", type="rolling"), "replicas": 2, "release": release.id,
            "before": Placement(
                environment="production", service=service, release=before.id, version="1.0", replicas=2
            ),
            "phase": Phase.DONE, "outcome": Outcome.SUCCEEDED, "requested_by": "ana", "requested_at": at - 20,
            "started_at": at - 20, "finished_at": at + 5,
            "transitions": (Transition(at=at, phase=Phase.SHIFTING, message="all requests"),),
        }  # fmt: skip
        deployment = Deployment(**given | changes)
        for one in (release, before):
            self.put(release_key("production", service, one.id), one)
        self.put(deployment_key(name), deployment)
        self.journal.append_all([], put={COUNTER: self.deployed})
        data = {"id": name, "version": version, "kind": deployment.kind, "reason": "", "seconds": 25.0}
        asked = {
            "id": name,
            "version": version,
            "kind": deployment.kind,
            "strategy": "rolling",
            "previous": "1.0",
        }
        self.journal.append("deployment.requested", f"production/{service}", asked, actor="ana")
        self.journal.append("deployment.succeeded", f"production/{service}", data, actor="ana")
        return deployment


def found(diagnosis: Diagnosis, name: str) -> Check:
    return next(check for check in diagnosis.checks if check.name == name)


def failing(share: float = 0.05, *, minutes: int = 4) -> dict[str, dict[float, float]]:
    """Named metrics of a service that fails since some minutes, an hour and a day of quiet before it."""
    quiet = [*range(86_400 + 600, 86_400 - 1, -60), *range(3600 + 600, 60 * minutes, -15)]
    bad = list(range(60 * minutes, -1, -15))
    ages = [float(ago) for ago in (*quiet, *bad)]
    return {
        "error_rate": {ago: share if ago <= 60 * minutes else 0.001 for ago in ages},
        "throughput": dict.fromkeys(ages, 20.0),
        "request_count": dict.fromkeys(ages, 1200.0),
        "response_time_p95": dict.fromkeys(ages, 0.08),
    }


__all__ = ["Shop", "died", "failing", "found", "instance"]
