"""How fast dashboards and alerts are answered over 10,000 series, beside a real Prometheus: `python bench/query.py`.

Both servers hold the same six hours of samples, 15 s apart, of 20 instances with 500 series each, and are asked over
HTTP, one after the other, in turns. Ours keeps them in the hot store.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import multiprocessing
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import cramjam
import numpy as np
from harness import Bench, percentile, quick

from opsbook.promql import Engine
from opsbook.promql.series import NAME, Floats, Labels
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore

INSTANCES, EVERY, HOURS, STEP = 20, 15, 6, 60
RANGE_TARGET, WORST_TARGET, INSTANT_TARGET = 1.0, 3.0, 5.0
BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")

QUERIES = (
    "up",
    "sum(up) by (service)",
    "sum by (service) (rate(http_requests_total[5m]))",
    "sum by (service, code) (rate(http_requests_total[1m]))",
    'sum by (service) (rate(http_requests_total{code=~"5.."}[5m])) / sum by (service) (rate(http_requests_total[5m]))',
    'sum(rate(http_requests_total{service="api"}[5m]))',
    "topk(5, sum by (path) (rate(http_requests_total[5m])))",
    "histogram_quantile(0.95, sum by (le, service) (rate(http_request_duration_seconds_bucket[5m])))",
    'histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{service="api"}[5m])))',
    (
        "sum by (service) (rate(http_request_duration_seconds_sum[5m]))"
        " / sum by (service) (rate(http_request_duration_seconds_count[5m]))"
    ),
    (
        'sum by (service) (rate(http_request_duration_seconds_bucket{le="0.25"}[5m]))'
        " / sum by (service) (rate(http_request_duration_seconds_count[5m]))"
    ),
    '1 - avg by (instance) (rate(cpu_seconds_total{mode="idle"}[5m]))',
    "sum by (mode) (rate(cpu_seconds_total[5m]))",
    "avg by (service) (memory_bytes)",
    "max by (instance) (memory_bytes) / 2^30",
    'avg_over_time(memory_bytes{kind="0"}[10m])',
    "max_over_time(queue_length[10m])",
    "quantile_over_time(0.9, queue_length[10m])",
    "predict_linear(disk_free_bytes[1h], 4 * 3600) < 0",
    "deriv(disk_free_bytes[30m])",
    "disk_free_bytes / disk_size_bytes * 100 < 10",
    "changes(process_start_time_seconds[15m]) > 0",
    "increase(errors_total[1h])",
    "irate(errors_total[2m])",
    "time() - process_start_time_seconds",
    'absent(up{service="nothing"})',
    "count by (version) (build_info)",
    "queue_length * on (instance) group_left (version) build_info",
    "avg_over_time((sum by (service) (rate(http_requests_total[5m])))[10m:1m])",
    'sum(rate(jobs_total[5m])) > 100 and sum(rate(jobs_total{result="failed"}[5m])) > 1',
)


def series_of(number: int) -> Iterator[tuple[Labels, str]]:
    """The 500 series of one instance, and how each goes: a counter, a gauge, falling or standing still."""
    service = ("api", "web", "worker", "search")[number % 4]
    own = {
        "service": service,
        "environment": "production",
        "instance": f"{service}-{number}",
        "job": "metrics",
    }
    yield {NAME: "up", **own}, "still"
    yield {NAME: "process_start_time_seconds", **own}, "still"
    yield {NAME: "build_info", "version": f"1.{number % 3}", **own}, "still"
    yield {NAME: "disk_size_bytes", **own}, "still"
    yield {NAME: "disk_free_bytes", **own}, "falling"
    yield {NAME: "queue_length", **own}, "gauge"
    for path in range(5):
        for method in ("GET", "POST"):
            for code in ("200", "204", "404", "500"):
                yield (
                    {NAME: "http_requests_total", "path": f"/{path}", "method": method, "code": code, **own},
                    "counter",
                )
        for bound in BOUNDS:
            yield (
                {NAME: "http_request_duration_seconds_bucket", "path": f"/{path}", "le": bound, **own},
                "bucket",
            )
        yield {NAME: "http_request_duration_seconds_sum", "path": f"/{path}", **own}, "counter"
        yield {NAME: "http_request_duration_seconds_count", "path": f"/{path}", **own}, "counter"
    for cpu in range(8):
        for mode in ("idle", "user", "system", "iowait", "irq", "softirq", "steal", "nice"):
            yield {NAME: "cpu_seconds_total", "cpu": str(cpu), "mode": mode, **own}, "counter"
    for kind in range(20):
        yield {NAME: "memory_bytes", "kind": str(kind), **own}, "gauge"
        yield {NAME: "errors_total", "kind": str(kind), **own}, "rare"
    for queue in range(25):
        for result in ("done", "failed"):
            yield {NAME: "jobs_total", "queue": str(queue), "result": result, **own}, "counter"
    for other in range(230):
        yield {NAME: f"other_{other % 23}_total", "kind": str(other // 23), **own}, "counter"


def samples_of(number: int, kinds: list[str], steps: int) -> Floats:
    """Values of one instance: series x samples. Counters of whole numbers, with a restart now and then."""
    chance = np.random.default_rng(number)
    rows = np.empty((len(kinds), steps))
    restart = int(chance.integers(steps // 4, steps)) if number % 5 == 0 else steps
    for row, kind in enumerate(kinds):
        if kind in ("counter", "bucket", "rare"):
            grown = chance.poisson(0.02 if kind == "rare" else 30, steps).astype(np.float64)
            rows[row, :restart] = np.cumsum(grown[:restart])
            rows[row, restart:] = np.cumsum(grown[restart:])
        elif kind == "gauge":
            rows[row] = 1e9 + np.cumsum(chance.normal(0, 1e5, steps))
        elif kind == "falling":
            rows[row] = 5e10 - np.arange(steps) * 1e5 + chance.normal(0, 1e6, steps)
        else:
            rows[row] = 1.0 if number else 1e11
    buckets = [row for row, kind in enumerate(kinds) if kind == "bucket"]
    for begin in range(0, len(buckets), len(BOUNDS)):
        part = buckets[begin : begin + len(BOUNDS)]
        rows[part] = np.cumsum(rows[part], axis=0)
    return rows


class Data:
    """The samples of all instances, the same for both."""

    def __init__(self, hours: float) -> None:
        steps = int(hours * 3600 / EVERY)
        self.end = int(time.time()) // EVERY * EVERY * 1000
        grid = self.end - EVERY * 1000 * np.arange(steps - 1, -1, -1)
        self.targets: list[tuple[list[Labels], np.ndarray[Any, np.dtype[np.int64]], Floats]] = []
        for number in range(INSTANCES):
            series = list(series_of(number))
            values = samples_of(number, [kind for _, kind in series], steps)
            # Each instance is scraped at a moment of its own.
            times = grid - (number * EVERY * 1000 // INSTANCES) - 7
            self.targets.append(([labels for labels, _ in series], times, values))

    @property
    def count(self) -> int:
        """How many series."""
        return sum(len(series) for series, _, _ in self.targets)


def serve(data: Data, ready: Any) -> None:
    """Our server: the routes as they are, over a hot store."""
    import uvicorn
    from fastapi import FastAPI

    from opsbook.monitoring import prometheus_api
    from opsbook.security.api import signed_in
    from opsbook.security.room import local_operator

    hot = HotStore(retention=(HOURS + 1) * 3600.0, max_bytes=2**31)
    for series, times, values in data.targets:
        target = {name: series[0][name] for name in ("service", "environment", "instance", "job")}
        block = hot.block(target)
        slots = np.array([block.slot(labels) for labels in series])
        for column, at in enumerate(times.tolist()):
            block.append(at, slots, values[:, column])
    storage = Storage(hot)
    app = FastAPI()
    app.include_router(prometheus_api.router(Engine(storage), storage, SystemClock()))
    app.dependency_overrides[signed_in] = lambda: local_operator("bench")
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the real server does
    ready.send(listening.getsockname()[1])
    asyncio.run(uvicorn.Server(uvicorn.Config(app, log_config=None)).serve([listening]))


@contextmanager
def ours(data: Data) -> Iterator[int]:
    """Our server in a process of its own; its port."""
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=(data, theirs), daemon=True)
    process.start()
    try:
        yield int(mine.recv())
    finally:
        process.terminate()
        process.join(10)


@contextmanager
def prometheus(data: Data) -> Iterator[int]:
    """A real Prometheus with the same samples, written to it remotely; its port."""
    with tempfile.TemporaryDirectory(prefix="opsbook-bench-query-") as name:
        folder = Path(name)
        (folder / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = int(taken.getsockname()[1])
        command = [
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
            "--log.level=error",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            write(port, data)
            time.sleep(5)  # it compacts what is older than three hours
            yield port
        finally:
            process.terminate()
            process.wait(20)


def wait_for(port: int) -> None:
    """Until it is ready."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/-/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("prometheus did not start")


def write(port: int, data: Data) -> None:
    """All samples, half an hour at a time: what is much older than the newest would be refused."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    length = 1800 // EVERY
    for begin in range(0, data.targets[0][1].size, length):
        for series, times, values in data.targets:
            part = slice(begin, begin + length)
            body = b"".join(
                timeseries(labels, times[part], values[row, part]) for row, labels in enumerate(series)
            )
            connection.request("POST", "/api/v1/write", bytes(cramjam.snappy.compress_raw(body)), headers)
            response = connection.getresponse()
            said = response.read()
            if response.status >= 300:
                sys.exit(f"prometheus refused samples: {response.status} {said[:200]!r}")


def timeseries(labels: Labels, times: np.ndarray[Any, np.dtype[np.int64]], values: Floats) -> bytes:
    """One `TimeSeries` of a remote write request. Every sample has 18 bytes: a time has 41 bits until 2039."""
    body = b"".join(
        field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in sorted(labels.items())
    )
    samples = np.empty((times.size, 18), np.uint8)
    samples[:, 0], samples[:, 1], samples[:, 2] = 0x12, 16, 0x09
    samples[:, 3:11] = values.astype("<f8").view(np.uint8).reshape(-1, 8)
    samples[:, 11] = 0x10
    for index in range(6):
        samples[:, 12 + index] = ((times >> (7 * index)) & 0x7F) | (0x80 if index < 5 else 0)
    return field(1, body + samples.tobytes())


def field(number: int, content: bytes) -> bytes:
    """A field with a length."""
    length, size = b"", len(content)
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


class Asked:
    """A server that is asked over a connection that is kept."""

    def __init__(self, port: int, prefix: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._prefix = prefix

    def seconds(self, path: str, **asked: object) -> float:
        """How long an answer took."""
        began = time.perf_counter()
        self._connection.request("GET", f"{self._prefix}/api/v1/{path}?{urlencode(asked)}")
        response = self._connection.getresponse()
        self.body = response.read()
        taken = time.perf_counter() - began
        if response.status != 200:
            sys.exit(f"{path} {asked}: {response.status} {self.body[:300]!r}")
        return taken

    @property
    def points(self) -> int:
        """How many values the last answer had."""
        data = json.loads(self.body)["data"]
        return sum(len(each.get("values", [0])) for each in data["result"])


def measure(server: Asked, path: str, query: str, times: int, **asked: object) -> list[float]:
    """Seconds of each time but the first."""
    return [server.seconds(path, query=query, **asked) for _ in range(times + 1)][1:]


def main() -> int:
    """Print the figures; 1 when one misses its target."""
    short = quick(__doc__ or "")
    bench = Bench("queries")
    data = Data(1.0 if short else float(HOURS))
    span = {
        "end": data.end / 1000,
        "start": data.end / 1000 - (1 if short else HOURS) * 3600 + 600,
        "step": STEP,
    }
    bench.fact("series", data.count, "series")
    rounds = 2 if short else 5
    with ours(data) as port:
        own = Asked(port, "/prometheus")
        if shutil.which("prometheus") is None:
            bench.no_peer("prometheus", "it is not installed")
            found = [(measure(own, "query_range", query, rounds, **span), None) for query in QUERIES]
        else:
            with prometheus(data) as other:
                peer = Asked(other, "")
                found = [both(own, peer, query, rounds, span) for query in QUERIES]
        instants = [
            seconds
            for query in QUERIES
            for seconds in measure(own, "query", query, 4 * rounds, time=data.end / 1000 - 30)
        ]
    medians = [percentile(mine, 0.5) for mine, _ in found]
    bench.fact(f"range queries over {HOURS} h: median", percentile(medians, 0.5) * 1000, "ms")
    ratios = []
    for query, (mine, theirs) in zip(QUERIES, found, strict=True):
        if theirs is not None:
            ratio = percentile(mine, 0.5) / percentile(theirs, 0.5)
            ratios.append(ratio)
            bench.ratio(
                query[:50], percentile(mine, 0.5) * 1000, percentile(theirs, 0.5) * 1000, "prometheus", "ms"
            )
    if ratios:
        bench.figure("range queries: median of the ratios", percentile(ratios, 0.5), "x", RANGE_TARGET)
        bench.figure("range queries: worst ratio", max(ratios), "x", WORST_TARGET)
    bench.figure("instant queries: p95", percentile(instants, 0.95) * 1000, "ms", INSTANT_TARGET)
    return bench.end()


def both(
    own: Asked, peer: Asked, query: str, rounds: int, span: dict[str, float]
) -> tuple[list[float], list[float]]:
    """Seconds of ours and theirs for one query, asked in turns."""
    mine, theirs = [], []
    for turn in range(rounds + 1):
        first, second = (
            own.seconds("query_range", query=query, **span),
            peer.seconds("query_range", query=query, **span),
        )
        if turn:
            mine.append(first)
            theirs.append(second)
    if own.points != peer.points:
        sys.exit(f"{query}: {own.points} values, prometheus has {peer.points}")
    return mine, theirs


if __name__ == "__main__":
    sys.exit(main())
