"""The counts a canary is judged by, by hand and from a real Envoy."""

from __future__ import annotations

import http.client
import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from opsbook.world.hosts.clock import SystemClock
from opsbook.world.telemetry.engine import EmbeddedTelemetry
from opsbook.world.telemetry.exposition import render_series
from opsbook.world.telemetry.request_counts import request_counts
from opsbook.world.telemetry.scrape_cache import ScrapeCache
from opsbook.world.telemetry.store import HotStore
from opsbook.world.telemetry.stretch import Stretch
from opsbook.world.traffic.bootstrap import RESPONSE_TIME_BUCKETS
from opsbook.world.traffic.envoy import EnvoyTraffic
from opsbook.world.words import (
    Address,
    Backend,
    Endpoint,
    HealthCheck,
    Listener,
    RequestCounts,
    Route,
    RouteTable,
    Split,
    Target,
)

STABLE, BASELINE = "web-1111", "web-1111~baseline"
BOUNDS = (10.0, 25.0, 100.0)


class Proxy:
    """An Envoy as far as a scrape sees it: a counter is shown once it was used."""

    def __init__(self, store: HotStore) -> None:
        labels = {"job": "envoy"}
        self.block = store.block(labels)
        self.cache = ScrapeCache(self.block, labels)
        self.counters: dict[str, float] = {}

    def answer(self, release: str, status: str, *milliseconds: float) -> None:
        labels = {"environment": "production", "service": "web", "release": release}
        self._add(
            "envoy_cluster_upstream_rq_xx", {**labels, "response_code_class": status}, len(milliseconds)
        )
        for bound in (*BOUNDS, math.inf):
            le = "+Inf" if math.isinf(bound) else f"{bound:g}"
            count = sum(1 for each in milliseconds if each <= bound)
            self._add("envoy_cluster_upstream_rq_time_bucket", {**labels, "le": le}, count)

    def scrape(self, at: int, *, scraped: bool = True) -> None:
        if not scraped:
            self.block.append(at * 1000, np.empty(0, np.int64), np.empty(0), scraped=False)
            return
        text = "\n".join(f"{key} {value}" for key, value in self.counters.items())
        reading = self.cache.read(text.encode())
        self.block.append(at * 1000, reading.slots, reading.values)

    def _add(self, name: str, labels: dict[str, str], count: float) -> None:
        key = render_series(name, labels)
        self.counters[key] = self.counters.get(key, 0) + count


@pytest.fixture
def store() -> HotStore:
    return HotStore()


@pytest.fixture
def proxy(store: HotStore) -> Proxy:
    return Proxy(store)


def counts(store: HotStore, release: str, at: int, window: float) -> RequestCounts | None:
    labels = {"environment": "production", "service": "web", "release": release}
    return request_counts(Stretch(store, labels, int((at - window) * 1000), at * 1000))


def test_counts_by_bucket(store: HotStore, proxy: Proxy) -> None:
    """Each request is in one bucket, those beyond all bounds in the last; only the window counts."""
    proxy.answer(STABLE, "2", *[5.0] * 1000)
    proxy.scrape(100)
    proxy.answer(STABLE, "2", 5, 5, 20, 99)
    proxy.answer(STABLE, "4", 20)
    proxy.answer(STABLE, "5", 5000, 101)
    proxy.scrape(101)
    assert RequestCounts(7, 2, (2, 2, 1, 2), BOUNDS) == counts(store, STABLE, 101, 1)
    proxy.scrape(102)
    assert RequestCounts(0, 0, (0, 0, 0, 0), BOUNDS) == counts(store, STABLE, 102, 1)
    assert RequestCounts(7, 2, (2, 2, 1, 2), BOUNDS) == counts(store, STABLE, 102, 60)


def test_a_new_release_counts_from_its_first_request(store: HotStore, proxy: Proxy) -> None:
    """Also when Envoy shows its counters with that request only; a group beside a release is apart from it."""
    proxy.answer(STABLE, "2", 5)
    proxy.scrape(100)
    assert counts(store, BASELINE, 100, 10) is None
    proxy.answer(BASELINE, "5", 20)
    proxy.scrape(101)
    assert RequestCounts(1, 1, (0, 1, 0, 0), BOUNDS) == counts(store, BASELINE, 101, 10)
    assert RequestCounts(0, 0, (0, 0, 0, 0), BOUNDS) == counts(store, STABLE, 101, 10)


def test_the_proxy_restarts(store: HotStore, proxy: Proxy) -> None:
    """Counters that begin anew are no negative and no doubled count, with scrapes that fail in between."""
    proxy.answer(STABLE, "2", *[5.0] * 10)
    proxy.scrape(100)
    proxy.answer(STABLE, "2", 20)
    proxy.scrape(101)
    proxy.scrape(102, scraped=False)
    proxy.counters.clear()
    proxy.answer(STABLE, "5", 500, 500)
    proxy.scrape(103)
    assert RequestCounts(3, 2, (0, 1, 0, 2), BOUNDS) == counts(store, STABLE, 103, 3)


def test_nothing_measured(store: HotStore, proxy: Proxy) -> None:
    """No data is None and never zero requests."""
    assert counts(store, STABLE, 100, 60) is None
    proxy.answer(STABLE, "2", 5)
    proxy.scrape(100)
    assert counts(store, STABLE, 100, 60) is None
    proxy.scrape(101)
    assert counts(store, "web-2222", 101, 60) is None
    assert counts(store, STABLE, 400, 60) is None


def test_a_stretch_that_grows_never_loses_a_request(store: HotStore, proxy: Proxy) -> None:
    """From one moment on the counts only grow, whenever one looks."""
    before = RequestCounts(0, 0, (0,) * 4, BOUNDS)
    labels = {"environment": "production", "service": "web", "release": STABLE}
    for at in range(100, 130):
        proxy.answer(STABLE, "5" if at % 3 else "2", *[float(at * at % 130)] * (at % 4))
        proxy.scrape(at)
        for look in (at * 1000, at * 1000 + 500):
            found = request_counts(Stretch(store, labels, 104_250, look))
            if found is not None:
                assert before.requests <= found.requests
                assert before.errors <= found.errors
                assert all(a <= b for a, b in zip(before.latency, found.latency, strict=True))
                before = found
    assert sum(at % 4 for at in range(105, 130)) == before.requests


class Upstream(BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/") or 200))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def entry() -> Iterator[tuple[Address, EnvoyTraffic]]:
    """Where requests to a baseline group come in, and the proxy that serves them."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with tempfile.TemporaryDirectory(prefix="counts-", dir="/tmp") as folder:
        traffic = EnvoyTraffic(Path(folder) / "proxy", SystemClock(), concurrency=1)
        try:
            traffic.ensure()
            name = f"production/web/{BASELINE}"
            upstream = Address("127.0.0.1", server.server_address[1])
            backend = Backend(name, "http", (Endpoint("web-a", upstream),), HealthCheck("alive"))
            with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as free:
                address = Address("127.0.0.1", free.server_address[1])
            listener = Listener("production", address, "http", (Route("web", Split(((name, 100),))),))
            traffic.confirm(traffic.apply(RouteTable((listener,), (backend,))))
            yield address, traffic
        finally:
            traffic.stop()
            traffic.close()
            server.shutdown()
            server.server_close()
            thread.join()


def get(address: Address, path: str) -> int:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_what_envoy_counts(entry: tuple[Address, EnvoyTraffic]) -> None:
    """Requests, errors and buckets of a group, exactly, from a moment on and over a window."""
    address, traffic = entry
    telemetry = EmbeddedTelemetry(SystemClock(), envoy_stats=traffic.stats_text)
    place = ("production", "web", BASELINE)
    try:
        telemetry.interval(1)
        began = telemetry.moment()
        telemetry.targets([Target("envoy", {})])
        until(lambda: [each for each in telemetry.status() if each.up])
        assert telemetry.counts(*place, 60) is None
        for path in ["/200"] * 17 + ["/500"] * 2 + ["/404"]:
            assert int(path[1:]) == get(address, path)

        def found() -> RequestCounts:
            return telemetry.counts(*place, 60) or RequestCounts(0, 0)

        until(lambda: found().requests == 20 and sum(found().latency) == 20)
        assert 2 == found().errors
        assert tuple(float(bound) for bound in RESPONSE_TIME_BUCKETS) == found().bounds_ms
        assert len(RESPONSE_TIME_BUCKETS) + 1 == len(found().latency)
        assert found() == telemetry.counts(*place, 0, since=began)
        middle = telemetry.moment()
        assert began < middle
        assert get(address, "/500") == 500
        until(lambda: (telemetry.counts(*place, 60, since=middle) or found()).requests == 1)
        assert telemetry.counts("staging", "web", BASELINE, 60) is None
    finally:
        telemetry.close()
