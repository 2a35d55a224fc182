"""How fast a scrape is understood and what watching costs: `python bench/scrape.py [SECONDS]`.

The peer for parsing is `prometheus_client.parser`, when it is installed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import psutil
from harness import Bench

from opsbook.promql.series import Matcher
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.telemetry.engine import EmbeddedTelemetry
from opsbook.world.telemetry.exposition import parse_line
from opsbook.world.telemetry.process_usage import process_table
from opsbook.world.telemetry.scrape_cache import ScrapeCache
from opsbook.world.telemetry.store import HotStore
from opsbook.world.words import Address, Target

SERIES, TARGETS, SERIES_OF_A_TARGET = 5000, 20, 200
SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = "".join(f'requests_total{{path="/item/{n}"}} {n}\\n' for n in range(%d)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def body(turn: int) -> bytes:
    """A scrape of `SERIES` samples, with its comments."""
    lines = []
    for number in range(SERIES):
        if number % 10 == 0:
            lines += [f"# HELP m{number}_total Of a benchmark.", f"# TYPE m{number}_total counter"]
        lines.append(
            f'm{number // 10 * 10}_total{{method="GET",path="/items/{number}",code="200"}} {number * turn}.5'
        )
    return "\n".join(lines).encode()


def best(act: Callable[[bytes], object], turns: int = 7) -> float:
    """Seconds of the fastest of some turns, each with new values."""
    taken = []
    for turn in range(turns):
        text = body(turn)
        began = time.perf_counter()
        act(text)
        taken.append(time.perf_counter() - began)
    return min(taken)


def parsing(bench: Bench) -> None:
    """Samples a second, the ways there are."""
    store = HotStore()
    block = store.block({"job": "bench"})
    cache = ScrapeCache(block, {"job": "bench", "service": "web"})

    def commit(text: bytes) -> None:
        reading = cache.read(text)
        block.append(time.monotonic_ns() // 1_000_000, reading.slots, reading.values)

    cache.read(body(1))
    fast = best(cache.read)
    bench.figure("samples understood, known series", SERIES / fast, "1/s", 1_000_000, at="least")
    bench.fact("samples understood and stored", SERIES / best(commit), "1/s")
    new = best(lambda text: ScrapeCache(HotStore().block({}), {"service": "web"}).read(text))
    bench.fact("samples understood, new series", SERIES / new, "1/s")
    lines = [line.decode() for line in body(1).split(b"\n") if not line.startswith(b"#")]
    began = time.perf_counter()
    for line in lines:
        parse_line(line)
    bench.fact("lines parsed", SERIES / (time.perf_counter() - began), "1/s")
    if find_spec("prometheus_client"):
        from prometheus_client.parser import text_string_to_metric_families

        def peer(text: bytes) -> None:
            for family in text_string_to_metric_families(text.decode()):
                for _ in family.samples:
                    pass

        bench.ratio(
            f"a scrape of {SERIES} samples", fast * 1000, best(peer, 3) * 1000, "prometheus_client", "ms"
        )
    else:
        bench.no_peer("prometheus_client", "it is not installed")


def watching(bench: Bench, kind: str, targets: list[Target], seconds: float) -> None:
    """CPU of this process while it watches, less what it costs to do nothing."""
    telemetry = EmbeddedTelemetry(SystemClock())
    telemetry.targets(targets)
    time.sleep(1)  # the first scrape parses everything
    process = psutil.Process()
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(seconds)
    share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
    down = [status.problem for status in telemetry.status() if not status.up]
    telemetry.close()
    if down:
        sys.exit(f"{len(down)} of {len(targets)} targets are down: {down[0]}")
    bench.figure(f"CPU of a core, {TARGETS} {kind} targets every 5 s", share * 100, "%", 1.0)


def asking(bench: Bench) -> None:
    """How long a selection takes from a full store: 2 h at 5 s."""
    store = HotStore()
    block = store.block({"job": "bench"})
    cache = ScrapeCache(block, {"job": "bench"})
    reading = cache.read(body(1))
    for turn in range(1440):
        block.append(turn * 5000, reading.slots, reading.values)
    bench.fact(f"memory of {SERIES} series for 2 h every 5 s", store.size().nbytes / 2**20, "MiB")
    matchers = [Matcher("__name__", "=", "m100_total"), Matcher("code", "=", "200")]
    for what, start in (("5 min", 1140), ("2 h", 0)):
        began = time.perf_counter()
        for _ in range(200):
            store.select(matchers, start * 5000, 1440 * 5000)
        bench.fact(f"select 10 series of {what}", (time.perf_counter() - began) / 200 * 1000, "ms")


def main() -> int:
    """Print all figures."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    bench = Bench("scrape")
    parsing(bench)
    asking(bench)
    started = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(TARGETS)]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER % SERIES_OF_A_TARGET], stdout=subprocess.PIPE, text=True
    )
    started.append(server)
    try:
        assert server.stdout is not None
        address = Address("127.0.0.1", int(server.stdout.readline()))
        bench.fact("processes on this machine", len(process_table()), "")
        processes = [
            Target("process", {"instance": f"p{number}"}, pid=process.pid)
            for number, process in enumerate(started[:TARGETS])
        ]
        watching(bench, "process", processes, seconds)
        pages = [Target("metrics", {"instance": f"m{number}"}, address) for number in range(TARGETS)]
        watching(bench, f"metrics ({SERIES_OF_A_TARGET} series)", pages, seconds)
    finally:
        for process in started:
            process.kill()
            process.wait()
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
