"""Changes under load, and what customers notice of them: `python bench/switch.py [--quick]`.

Blue-green and rolling deployments, rollbacks, restarts and scalings of services behind HTTP, streams, WebSockets
and TCP, while customers ask without a pause. The peer is `kubectl rollout restart` of the same app on the cluster
of KUBECONFIG, asked by the same load generator.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from harness import Bench, Shop, milliseconds, percentile, quick, running_shop
from peers import kubernetes

RATE, CONNECTIONS = 150.0, 50  # pages a second, over so many kept connections
DRAIN = ("drain_timeout: 30s", "drain_timeout: 3s")  # open WebSockets are then told to come again
SERVICES = ("web", "api", "ledger")  # pages; streams and WebSockets; TCP
AFTERWARDS = 300  # answers that are waited for after the last change


@dataclass(frozen=True, slots=True)
class Rounds:
    """How many changes of each kind."""

    deployments: int = 20
    rollbacks: int = 20
    restarts: int = 10
    scalings: int = 10


class Changes:
    """All that is done to the shop, and how long its parts took."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._versions = (f"2.{number}" for number in range(1, 10_000))
        self.seconds: dict[str, list[float]] = {}  # from the request to the recorded end
        self.shifts: list[float] = []  # shift_seconds: until the first change of routes served everywhere

    def deploy(self, service: str, strategy: str) -> None:
        version = self._shop.new_version(service, next(self._versions))
        self._ask(strategy, "deployments", services=[service], version=version, strategy=strategy)

    def roll_back(self, service: str) -> None:
        self._ask("rollback", "rollbacks", service=service)

    def restart(self, service: str) -> None:
        self._ask("restart", "restarts", service=service)

    def scale(self, service: str, replicas: int) -> None:
        self._ask("scaling", "scalings", service=service, replicas=replicas)

    def _ask(self, kind: str, what: str, **body: Any) -> None:
        began = time.perf_counter()
        ended = self._shop.ask(what, environment="local", **body)
        self.seconds.setdefault(kind, []).append(time.perf_counter() - began)
        if ended["shift_seconds"] is not None:
            self.shifts.append(ended["shift_seconds"])


def change_all(changes: Changes, rounds: Rounds) -> None:
    """Rolling deployments; blue-green ones, each taken back; restarts; scalings. Every service has its turn."""
    for service in turns(rounds.deployments):
        changes.deploy(service, "rolling")
    for number, service in enumerate(turns(rounds.deployments)):
        changes.deploy(service, "blue-green")
        if number < rounds.rollbacks:
            changes.roll_back(service)
    for service in turns(rounds.restarts):
        changes.restart(service)
    for number, service in enumerate(turns(rounds.scalings)):
        changes.scale(service, 3 if number // len(SERVICES) % 2 == 0 else 2)


def turns(count: int) -> Iterator[str]:
    return islice(cycle(SERVICES), count)


def under_load(bench: Bench, shop: Shop, rounds: Rounds) -> None:
    """Print what customers noticed of all kinds of changes."""
    start = shop.api.get("/api/journal/events", {"limit": 1, "newest": True})["head"]
    changes = Changes(shop)
    with shop.customers(rate=RATE, connections=CONNECTIONS) as customers:
        change_all(changes, rounds)
        customers.wait_for(AFTERWARDS)
        report = customers.stop()
    for kind, taken in changes.seconds.items():
        bench.fact(f"{len(taken)} x {kind}, median from request to end", percentile(taken, 0.5), "s")
    for kind, figures in report["kinds"].items():
        bench.figure(f"{kind}: failed, of {figures['sent']:,} sent", figures["failed"], "", 0)
    for cause, count in report["causes"].items():
        bench.fact(f"failed because of {cause}", count, "")
    bench.fact("pages under load, p99", report["kinds"]["http"]["latency_ms"]["p99"], "ms")
    query = {"after": start, "kinds": "traffic.serving", "limit": 10_000}
    events = shop.api.get("/api/journal/events", query)["events"]
    every = [float(event["data"]["seconds"]) for event in events]
    for what, taken in (("first route change of each", changes.shifts), ("every route change", every)):
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            bench.fact(f"{what} serves, {name} of {len(taken)}", milliseconds(taken, share), "ms")


@dataclass(frozen=True, slots=True)
class Restarts:
    """Restarts of two replicas of the storefront, and what its customers noticed."""

    seconds: float  # median, at the command line
    sent: int
    failed: int
    closed: int  # of the kept connections; each is opened again by its customer


def restarts(url: str, restart: Callable[[], object], count: int) -> Restarts:
    """Restart so many times while pages are asked for at `url`. Ours and the peer's are measured by this."""
    load = {"--url": f"{url}/", "--rate": RATE, "--connections": CONNECTIONS, "--report": 3600}
    arguments = [str(word) for pair in load.items() for word in pair]
    customers = subprocess.Popen(
        [sys.executable, "-m", "opsbook.demo.load", "--control", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        time.sleep(1)
        taken = []
        for _ in range(count):
            began = time.perf_counter()
            restart()
            taken.append(time.perf_counter() - began)
            time.sleep(1)  # what closes late belongs to it too
        report = json.loads(customers.communicate("stop\n", timeout=30)[0].splitlines()[-1])
    finally:
        customers.kill()
        customers.wait()
    closed = report["announced_closes"].get("http", 0) + report["failed"]
    return Restarts(statistics.median(taken), report["sent"], report["failed"], closed)


def against_peer(bench: Bench, shop: Shop, count: int) -> None:
    """Print our restarts beside those of Kubernetes."""
    ours = restarts(shop.stage.url, lambda: shop.type("restart", "web", "--in", "local"), count)
    bench.figure(f"restarting web alone: failed, of {ours.sent:,} sent", ours.failed, "", 0)
    bench.fact(f"of {CONNECTIONS} kept connections closed, each restart", ours.closed / count, "")
    try:
        with kubernetes.deployed(shop.folder) as cluster:
            theirs = restarts(cluster.url, cluster.restart, count)
    except kubernetes.NotMeasuredError as reason:
        bench.fact(f"restart of 2 replicas, median of {count}", ours.seconds, "s")
        bench.no_peer("kubectl rollout restart", str(reason))
        return
    bench.ratio(f"restart of 2 replicas, median of {count}", ours.seconds, theirs.seconds, "kubectl", "s")
    bench.fact(f"kubectl: failed, of {theirs.sent:,} sent", theirs.failed, "")
    bench.fact("kubectl: connections closed, each restart", theirs.closed / count, "")


def main() -> int:
    """Print all figures."""
    rounds = Rounds(1, 1, 1, 1) if quick(__doc__) else Rounds()
    bench = Bench("switch")
    with running_shop() as shop:
        strategies = shop.folder / "ops" / "deployment" / "strategies.yaml"
        strategies.write_text(strategies.read_text().replace(*DRAIN))
        shop.type("check")  # with a broken handbook opsbook would go on with the last good one
        under_load(bench, shop, rounds)
        against_peer(bench, shop, rounds.restarts)
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
