"""A console with all that watches behind it: the real store, engine, rules, alerting and probes; six hours of samples.

The samples are those of a shop: its checkout began to fail some minutes ago, right after a deployment.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from stand import SERVICES, Stand

from opsbook.monitoring.alerting.alertmanager_api import router as alertmanager_routes
from opsbook.monitoring.alerting.room import Alerting
from opsbook.monitoring.dashboards.api import router as dashboard_routes
from opsbook.monitoring.dashboards.room import Dashboards
from opsbook.monitoring.dashboards.top import Top
from opsbook.monitoring.pages.source import Source
from opsbook.monitoring.probes.room import Probes
from opsbook.monitoring.room import Monitoring
from opsbook.monitoring.slos.room import Slos
from opsbook.promql import Engine
from opsbook.promql.series import Labels
from opsbook.server.access import Access
from opsbook.server.app import create_app
from opsbook.server.console.console import Console, Parts
from opsbook.server.rooms import Rooms
from opsbook.world.hosts.tokens import new_token
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore

HOURS = 6.5
STEP = 30  # seconds
FAILING = 600  # seconds since checkout began to fail
RELEASES = {"api": ("2.0",), "checkout": ("2.0", "2.1"), "search": ("2.0",), "web": ("2.0",)}
_BOUNDS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)

ALERTS = """alerts:
  - name: CheckoutErrors
    condition: error_rate > 5%
    for: 1m
    services: [checkout]
    environments: [production]
    severity: critical
    summary: "{{ $labels.service }} fails {{ $value | humanizePercentage }} of its requests"
    runbook: checkout
  - name: SlowSearch
    condition: response_time_p95 > 120ms
    services: [search]
    environments: [production]
    severity: warning
    summary: "{{ $labels.service }} is slow: p95 is {{ $value | humanizeDuration }}"
  - name: BusyWorker
    condition: cpu_usage > 20%
    for: 30m
    services: [web]
    environments: [production]
    severity: warning
    summary: "{{ $labels.service }} uses {{ $value | humanizePercentage }} of its CPU"
"""
ORDERS = """title: Orders
description: What the shop sells
services: [checkout, web]
environments: [production]
variables:
  environment: {label: environment, metric: envoy_cluster_upstream_rq_xx, default: production}
rows:
  - title: Sales
    panels:
      - title: Orders a second
        unit: 1/s
        query: >-
          sum(rate(envoy_cluster_upstream_rq_xx{service="checkout",environment="$environment"}[$__rate_interval]))
        legend: orders
      - title: Share that fails
        unit: ratio
        limit: 5%
        query: error_rate{service="checkout",environment="production"}
        legend: "{{service}}"
"""


class Monitored(Stand):
    """The stand, watched."""

    def __init__(self) -> None:
        self.hot = HotStore(retention=8 * 3600.0, max_bytes=512 * 1024 * 1024)
        self.storage = Storage(self.hot)
        self.moment = time.time
        self.well = True
        self.payments = _payments(self)
        super().__init__()

    def _build(self) -> None:
        ops = self.root / "ops"
        (ops / "monitoring" / "dashboards").mkdir(parents=True, exist_ok=True)
        (ops / "runbooks").mkdir(exist_ok=True)
        (ops / "runbooks" / "checkout.md").write_text("# Checkout fails\n\n1. Roll back.\n")
        (ops / "monitoring" / "alerts.yaml").write_text(ALERTS)
        (ops / "monitoring" / "dashboards" / "orders.yaml").write_text(ORDERS)
        (ops / "monitoring" / "slos.yaml").write_text(
            "defaults: {availability: 99%, timeWindow: [{duration: 6h, isRolling: true}]}\n"
        )
        (ops / "monitoring" / "probes.yaml").write_text(
            "probes:\n"
            f"  - {{name: payments, environment: production, service: checkout, interval: 1s, timeout: 1s, failures: 2,"
            f" http: {{url: 'http://127.0.0.1:{self.payments.server_address[1]}/'}}}}\n"
            "  - {name: mail, interval: 1s, timeout: 500ms, tcp: {host: 127.0.0.1, port: 9}}\n"
        )
        self.handbook.fresh()
        self.engine = Engine(self.storage)
        nothing: Any = lambda *args, **named: None  # noqa: E731
        self.alerting = Alerting(
            self.handbook.current, self.journal, _Secrets(), self.clock, new_id=new_token, log=nothing
        )
        self.probes = Probes(
            self.handbook.current,
            self.storage,
            self.journal,
            secret=nothing,
            mask=lambda text: text,
            moment=self.moment,
        )
        self.slos = Slos(
            self.engine, self.storage, self.journal, book=self.handbook.current, moment=self.moment
        )
        self.monitoring = Monitoring(
            self.engine,
            self.storage,
            self.journal,
            book=self.handbook.current,
            moment=self.moment,
            receiver=self.alerting,
            told=self.alerting.told,
            generators=(self.probes.groups, self.slos.groups),
        )
        self.dashboards = Dashboards(
            self.engine, self.storage, self.journal, book=self.handbook.current, now=self.moment
        )
        top = Top(self.engine, self.monitoring.view, book=self.handbook.current, now=self.moment)
        self.watched = Source(
            dashboards=self.dashboards,
            top=top,
            queries=self.engine,
            catalogue=self.storage,
            rules=self.monitoring.view,
            alerting=self.alerting,
            journal=self.journal,
            book=self.handbook.current,
            now=self.clock.now,
            probes=self.probes,
            objectives=self.slos,
        )
        self.console = Console(
            Parts(
                source=self.source,
                journal=self.journal,
                handbook=self.handbook,
                security=self.security,
                stopping=self.stopping,
                watched=self.watched,
            )
        )
        rooms = Rooms(
            routers=(
                dashboard_routes(self.dashboards, top),
                alertmanager_routes(self.alerting, self.handbook.current, self.clock),
            ),
            events=self.journal,
            status=self.room.status,
            health=dict,
            stop=lambda services: None,
            security=self.security,
        )
        self.app = create_app(rooms)
        self.console.install(self.app)
        self.access = Access(self.app, token="server-token", security=self.security)

    def watch(self) -> None:
        """Six hours of samples, the rules over the last of them, and the first looks of the probes."""
        now = int(time.time())
        begin = now - int(HOURS * 3600)
        writer = self.storage.writer({"test": "shop"})
        world = _Shop()
        for at in range(begin, now + 1, STEP):
            writer.write(at * 1000, world.at(at, now))
        self.monitoring.look()
        for at in range(now - 900, now + 1, STEP):
            self.monitoring.rules.evaluate(at * 1000)
        self.alerting.start()
        self.monitoring.rules.evaluate(now * 1000 + 500)
        self.probes.start()
        self.slos.start()
        self.slos.look()
        deadline = time.monotonic() + 20
        while any(row["up"] is None for row in self.probes.listed()) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.monitoring.rules.evaluate(int(time.time() * 1000) + 1000)

    def end(self) -> None:
        self.probes.close()
        self.monitoring.close()
        self.alerting.close()
        self.payments.shutdown()
        self.payments.server_close()
        super().end()


class _Secrets:
    def get(self, name: str) -> str:
        return name

    def mask(self, text: str) -> str:
        return text


class _Shop:
    """Counters that grow as requests come in."""

    def __init__(self) -> None:
        self.random = random.Random(4)
        self.counters: dict[tuple[Any, ...], float] = {}

    def at(self, at: int, now: int) -> Iterator[tuple[Labels, float]]:
        day = 1 + 0.35 * math.sin(at / 5400)
        for environment in ("staging", "production"):
            for service in SERVICES:
                yield from self._service(
                    environment, service, at, now, day if environment == "production" else 0.1
                )
        yield from self._host(at, day)

    def _service(
        self, environment: str, service: str, at: int, now: int, busy: float
    ) -> Iterator[tuple[Labels, float]]:
        rate = {"api": 42, "checkout": 11, "search": 18, "web": 63}[service] * busy
        new = service == "checkout" and environment == "production" and at > now - FAILING
        for release, share in (("2.0", 0.1 if new else 1.0), ("2.1", 0.9 if new else 0.0)):
            if not share and not (release == "2.1" and service == "checkout" and environment == "production"):
                continue
            if release == "2.1" and at <= now - FAILING - STEP:
                continue  # the first sample is of before the first request
            only = {"environment": environment, "service": service, "release": release, "job": "envoy"}
            requests = rate * share * STEP * self.random.uniform(0.9, 1.1)
            bad = 0.12 if release == "2.1" else 0.0002 * self.random.random()
            for kind, part in (("2", 1 - bad), ("5", bad)):
                labels = {"__name__": "envoy_cluster_upstream_rq_xx", "response_code_class": kind, **only}
                yield labels, self._add((*only.values(), kind), requests * part)
            middle = {"api": 14, "checkout": 38, "search": 66, "web": 9}[service] * (
                3 if release == "2.1" else 1
            )
            for bound in (*_BOUNDS, math.inf):
                below = 1 - math.exp(-bound / middle) if bound < math.inf else 1.0
                le = "+Inf" if bound == math.inf else str(bound)
                labels = {"__name__": "envoy_cluster_upstream_rq_time_bucket", "le": le, **only}
                yield labels, self._add((*only.values(), "le", le), requests * below)
        own = {"environment": environment, "service": service}
        for number in range(3 if environment == "production" else 1):
            instance = f"{service}-{environment}-20{number}"
            version = "2.1" if number == 2 and new else "2.0"
            only = {"job": "process", "instance": instance, **own, "release": version, "version": version}
            cpu = rate / 90 * STEP * self.random.uniform(0.8, 1.2) / 3
            yield {"__name__": "process_cpu_seconds_total", **only}, self._add((instance, "cpu"), cpu)
            yield (
                {"__name__": "process_resident_memory_bytes", **only},
                5.5e7 + 1e6 * math.sin(at / 900 + number),
            )
            yield {"__name__": "process_start_time_seconds", **only}, now - 40000.0

    def _host(self, at: int, busy: float) -> Iterator[tuple[Labels, float]]:
        for mode, share in (("user", 0.22 * busy), ("system", 0.06), ("idle", 1 - 0.06 - 0.22 * busy)):
            labels = {"__name__": "node_cpu_seconds_total", "job": "host", "mode": mode}
            yield labels, self._add(("node", mode), share * 8 * STEP)
        for name, value in (
            ("up", 1.0), ("node_memory_MemTotal_bytes", 16e9), ("node_memory_MemAvailable_bytes", 9e9 - 1e9 * busy),
            ("node_load1", 2.2 * busy), ("node_cpu_count", 8.0),
        ):  # fmt: skip
            yield {"__name__": name, "job": "host"}, value

    def _add(self, key: tuple[Any, ...], more: float) -> float:
        self.counters[key] = self.counters.get(key, 0.0) + more
        return self.counters[key]


def _payments(stand: Monitored) -> ThreadingHTTPServer:
    """A server that is well as long as the stand says so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if stand.well else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server
