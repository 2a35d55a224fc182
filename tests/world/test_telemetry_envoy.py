"""The named metrics from a real Envoy: what it counts is what we say, under the labels we expect."""

from __future__ import annotations

import http.client
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from opsbook.world.hosts.clock import SystemClock
from opsbook.world.telemetry.engine import EmbeddedTelemetry
from opsbook.world.traffic.envoy import EnvoyTraffic
from opsbook.world.words import (
    Address,
    Backend,
    Endpoint,
    HealthCheck,
    Listener,
    Route,
    RouteTable,
    Split,
    Target,
)

RELEASE = "web-3f9c2ab81d"


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
    """Where requests come in, and the proxy that serves them."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with tempfile.TemporaryDirectory(prefix="telemetry-", dir="/tmp") as folder:
        traffic = EnvoyTraffic(Path(folder) / "proxy", SystemClock(), concurrency=1)
        try:
            traffic.ensure()
            upstream = Address("127.0.0.1", server.server_address[1])
            name = f"production/web/{RELEASE}"
            backend = Backend(name, "http", (Endpoint("web-a", upstream),), HealthCheck("alive"))
            address = free_address()
            listener = Listener("production", address, "http", (Route("web", Split(((name, 100),))),))
            traffic.confirm(traffic.apply(RouteTable((listener,), (backend,))))
            yield address, traffic
        finally:
            traffic.stop()
            traffic.close()
            server.shutdown()
            server.server_close()
            thread.join()


def free_address() -> Address:
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        return Address("127.0.0.1", server.server_address[1])


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
    """Requests, errors and times of a release, from its first request on, exactly."""
    address, traffic = entry
    telemetry = EmbeddedTelemetry(SystemClock(), envoy_stats=traffic.stats_text)
    matchers = {"environment": "production", "service": "web", "release": RELEASE}
    try:
        telemetry.interval(1)
        telemetry.targets([Target("envoy", {})])
        until(lambda: [each for each in telemetry.status() if each.up])
        for path in ["/200"] * 17 + ["/500"] * 2 + ["/404"]:
            assert int(path[1:]) == get(address, path)

        def value(name: str, **labels: str) -> float | None:
            sample = telemetry.named(name, labels or matchers)
            return None if sample is None else sample.value

        until(lambda: value("request_count") == 20)
        assert 2 == value("error_count")
        assert 0.1 == value("error_rate")
        assert 0.9 == value("availability", environment="production")
        assert 0 < (value("throughput") or 0) <= 20
        until(lambda: value("response_time_p95"))
        assert 0 < (value("response_time_p95") or 0) < 10
        assert 0 == value("active_requests")
        assert value("error_rate", release="web-another") is None
        assert "" == telemetry.status()[0].problem
    finally:
        telemetry.close()
