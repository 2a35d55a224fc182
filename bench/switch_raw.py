"""How long a switch takes: apply and confirm with a real Envoy, and what that Envoy costs.

``python bench/switch_raw.py [SWITCHES]``
"""

from __future__ import annotations

import http.server
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from opsbook.world.hosts.clock import SystemClock
from opsbook.world.traffic.envoy import EnvoyTraffic
from opsbook.world.words import Address, Backend, Endpoint, HealthCheck, Listener, Route, RouteTable, Split


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()


def table(port: int, *backends: Backend, to: Backend) -> RouteTable:
    route = Route("web", Split(((to.name, 1),)))
    return RouteTable((Listener("bench", Address("127.0.0.1", port), "http", (route,)),), backends)


def report(what: str, seconds: list[float]) -> None:
    percentiles = statistics.quantiles(seconds, n=100)
    print(f"{what:42} p50 {percentiles[49] * 1000:6.1f} ms   p99 {percentiles[98] * 1000:6.1f} ms")


def main(switches: int) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = Endpoint("one", Address("127.0.0.1", server.server_port))
    health = HealthCheck("http")
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as state:
        traffic = EnvoyTraffic(Path(state), SystemClock())
        began = time.perf_counter()
        traffic.ensure()
        print(f"{'start to answering':42}     {(time.perf_counter() - began) * 1000:6.1f} ms")
        try:
            fixed = [Backend(f"bench/web/fixed{n}", "http", (endpoint,), health) for n in range(2)]
            known, new = [], []
            for number in range(switches):
                began = time.perf_counter()
                traffic.confirm(traffic.apply(table(server.server_port + 1, *fixed, to=fixed[number % 2])))
                known.append(time.perf_counter() - began)
            for number in range(switches):
                backend = Backend(f"bench/web/r{number}", "http", (endpoint,), health)
                began = time.perf_counter()
                traffic.confirm(traffic.apply(table(server.server_port + 1, backend, to=backend)))
                new.append(time.perf_counter() - began)
            report("switch to a known release, proven serving", known[1:])
            report("switch to a new release, proven serving", new)
            process = psutil.Process(traffic.observe().pid)
            before = process.cpu_times()
            time.sleep(5)
            after = process.cpu_times()
            used = after.user + after.system - before.user - before.system
            print(f"{'idle':42}  {used / 5:.2%} of a core, {process.memory_info().rss / 1e6:.0f} MB resident")
        finally:
            traffic.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
