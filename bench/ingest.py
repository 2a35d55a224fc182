"""What it costs to watch 10,000 and 50,000 series with 200 rules, beside a real Prometheus: `python bench/ingest.py`.

One after the other, both scrape the same generated instances of 500 series every five seconds, and evaluate the same
200 rules; then both scrape only. Ours writes its history too, as always. What comes so seldom that it may not fall into
the time that is measured is measured by itself and added to ours: packing in memory (every ten minutes), sorting and
coarsening of files (every two hours). Prometheus' compaction, every two hours, is not added to its figure.
"""

from __future__ import annotations

import json
import multiprocessing
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from harness import Bench, quick

EVERY, SERVICES, BODIES, STEPS = 5.0, 20, 10, 40
SIZES = (10_000, 50_000)
RULES_TARGET, ALONE_TARGET, MEMORY_TARGET = 1.0, 0.3, 1.5

RULES = (
    ("record", "service:http_requests:rate5m", 'sum(rate(http_requests_total{service="%s"}[5m]))'),
    (
        "alert",
        "Errors",
        (
            'sum(rate(http_requests_total{service="%s",code=~"5.."}[5m]))'
            ' / sum(rate(http_requests_total{service="%s"}[5m])) > 0.9'
        ),
    ),
    (
        "alert",
        "Slow",
        'histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{service="%s"}[5m]))) > 100',
    ),
    ("alert", "Down", 'up{service="%s"} == 0'),
    ("alert", "Memory", 'max by (instance) (memory_bytes{service="%s"}) > 1e15'),
    (
        "alert",
        "Busy",
        '1 - avg by (instance) (rate(cpu_seconds_total{mode="idle",service="%s"}[5m])) > 0.99e9',
    ),
    ("alert", "Disk", 'disk_free_bytes{service="%s"} / disk_size_bytes{service="%s"} < -1'),
    ("alert", "DiskSoonFull", 'predict_linear(disk_free_bytes{service="%s"}[1h], 4 * 3600) < -1e15'),
    ("alert", "Failures", 'increase(errors_total{service="%s"}[30m]) > 1e9'),
    ("alert", "Restarting", 'changes(process_start_time_seconds{service="%s"}[15m]) > 3'),
)


@dataclass(frozen=True)
class Cost:
    """What watching cost."""

    cpu: float  # seconds a million samples
    memory: float  # resident MiB at the end
    samples: float  # a second


def bodies() -> list[list[bytes]]:
    """For some instances, scrapes one after the other; two rounds of them look like a restart, as happens."""
    from query import samples_of, series_of

    from opsbook.promql.series import NAME

    found = []
    for number in range(BODIES):
        series = list(series_of(number))[1:]  # `up` comes from who scrapes
        values = samples_of(number + 1, [kind for _, kind in series], STEPS)
        own = ("service", "environment", "instance", "job")
        prefixes = list[str]()
        for labels, _ in series:
            inner = ",".join(f'{name}="{text}"' for name, text in labels.items() if name not in (NAME, *own))
            prefixes.append(f"{labels[NAME]}{{{inner}}} " if inner else f"{labels[NAME]} ")
        columns = [
            "\n".join(
                prefix + repr(value) for prefix, value in zip(prefixes, values[:, step].tolist(), strict=True)
            )
            for step in range(STEPS)
        ]
        found.append([f"{column}\n".encode() for column in columns])
    return found


def targets(pipe: Any) -> None:
    """All instances behind one port: `/metrics/NUMBER`. Sends the port, and when asked the number of scrapes."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: "
    answers = [[f"{head}{len(body)}\r\n\r\n".encode() + body for body in steps] for steps in bodies()]
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    pipe.send(listening.getsockname()[1])
    selector = selectors.DefaultSelector()
    selector.register(listening, selectors.EVENT_READ)
    selector.register(pipe, selectors.EVENT_READ)
    connections: dict[int, socket.socket] = {}
    asked = 0
    while True:
        for key, _ in selector.select():
            if key.fd == listening.fileno():
                connection, _ = listening.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
                connections[connection.fileno()] = connection
            elif key.fd == pipe.fileno():
                pipe.recv()
                pipe.send(asked)
            elif answered(connections[key.fd], answers):
                asked += 1
            else:
                selector.unregister(key.fd)
                connections.pop(key.fd).close()


def answered(connection: socket.socket, answers: list[list[bytes]]) -> bool:
    """Answer one scrape; False when there was none."""
    try:
        request = connection.recv(65536)
        if request:
            number = int(request.split(b" ", 2)[1].rpartition(b"/")[2])
            connection.sendall(answers[number % BODIES][int(time.monotonic() / EVERY) % STEPS])
    except OSError:
        return False
    return bool(request)


@contextmanager
def served() -> Iterator[tuple[int, Any]]:
    """The instances in a process of their own: the port, and where to ask for the number of scrapes."""
    spawn = multiprocessing.get_context("spawn")
    mine, theirs = spawn.Pipe()
    process = spawn.Process(target=targets, args=(theirs,), daemon=True)
    process.start()
    try:
        yield int(mine.recv()), mine
    finally:
        process.terminate()
        process.join(10)


def labels_of(number: int) -> dict[str, str]:
    """Of an instance."""
    return {
        "service": f"service-{number % SERVICES}",
        "environment": "production",
        "instance": f"i-{number}",
        "job": "metrics",
    }


def rules() -> list[tuple[str, list[dict[str, str]]]]:
    """By service, its rules as a file of Prometheus has them."""
    groups = []
    for number in range(SERVICES):
        service = f"service-{number}"
        found = []
        for kind, name, expr in RULES:
            found.append({kind: name, "expr": expr.replace("%s", service)})
        groups.append((service, found))
    return groups


def watch(port: int, count: int, with_rules: bool, folder: str, pipe: Any) -> None:
    """Our engine: scraping, hot store, history, rules."""
    from opsbook.monitoring.rules.model import AlertingRule, RecordingRule, RuleGroup
    from opsbook.monitoring.rules.room import Rules
    from opsbook.promql import Engine
    from opsbook.world.hosts.clock import SystemClock
    from opsbook.world.telemetry.engine import EmbeddedTelemetry
    from opsbook.world.words import Address, Target

    telemetry = EmbeddedTelemetry(SystemClock(), history=Path(folder))
    telemetry.start()
    telemetry.interval(EVERY)
    room = Rules(Engine(telemetry.storage), telemetry.storage, None, None, moment=telemetry.moment)
    if with_rules:
        room.load(
            [
                RuleGroup(
                    name=service,
                    rules=tuple(
                        RecordingRule(record=each["record"], expr=each["expr"])
                        if "record" in each
                        else AlertingRule(alert=each["alert"], expr=each["expr"])
                        for each in found
                    ),
                )
                for service, found in rules()
            ]
        )
        room.start()
        telemetry.on_scraped(room.scraped)
    address = Address("127.0.0.1", port)
    telemetry.targets(
        [Target("metrics", labels_of(number), address, path=f"/metrics/{number}") for number in range(count)]
    )
    pipe.recv()  # until it is over
    down = [status.problem for status in telemetry.status() if not status.up]
    health = {rule.health.error for group in room.groups for rule in group.rules if rule.health.error}
    problem = telemetry.history.status().problem if telemetry.history else ""
    pipe.send([*down[:1], *sorted(health)[:1], *([problem] if problem else [])])
    room.close()
    telemetry.close()


@contextmanager
def ours(port: int, count: int, with_rules: bool) -> Iterator[int]:
    """Our engine in a process of its own; its number."""
    spawn = multiprocessing.get_context("spawn")
    mine, theirs = spawn.Pipe()
    with tempfile.TemporaryDirectory(prefix="opsbook-bench-ingest-") as folder:
        process = spawn.Process(target=watch, args=(port, count, with_rules, folder, theirs), daemon=True)
        process.start()
        try:
            yield process.pid or 0
            mine.send("end")
            if found := mine.recv():
                sys.exit(f"our engine: {found}")
            process.join(60)
        finally:
            process.terminate()
            process.join(10)


@contextmanager
def prometheus(port: int, count: int, with_rules: bool) -> Iterator[int]:
    """A real Prometheus with the same targets and rules; its number."""
    with tempfile.TemporaryDirectory(prefix="opsbook-bench-ingest-") as name:
        folder = Path(name)
        configuration: dict[str, Any] = {
            "global": {"scrape_interval": f"{EVERY:.0f}s", "evaluation_interval": f"{EVERY:.0f}s"},
            "scrape_configs": [
                {
                    "job_name": "metrics",
                    "static_configs": [
                        {
                            "targets": [f"127.0.0.1:{port}"],
                            "labels": {"__metrics_path__": f"/metrics/{number}", **labels_of(number)},
                        }
                        for number in range(count)
                    ],
                }
            ],
        }
        if with_rules:
            configuration["rule_files"] = [f"{folder}/rules.yml"]
            groups = [{"name": service, "rules": found} for service, found in rules()]
            (folder / "rules.yml").write_text(json.dumps({"groups": groups}))
        (folder / "prometheus.yml").write_text(json.dumps(configuration))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listening = int(taken.getsockname()[1])
        command = [
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{listening}",
            "--log.level=error",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process.pid
            if process.poll() is not None:
                sys.exit(f"prometheus ended with {process.returncode}")
        finally:
            process.terminate()
            process.wait(30)


def measured(pid: int, asked: Any, warming: float, seconds: float) -> Cost:
    """Watch a watcher for some time, once it knows all series."""
    process = psutil.Process(pid)
    time.sleep(warming)

    def now() -> tuple[float, float, int]:
        asked.send("?")
        return time.monotonic(), sum(process.cpu_times()[:2]), int(asked.recv())

    before = now()
    time.sleep(seconds)
    after = now()
    samples = (after[2] - before[2]) * 499
    memory = process.memory_info().rss / 2**20
    if not samples:
        sys.exit("nothing was scraped")
    return Cost((after[1] - before[1]) / samples * 1e6, memory, samples / (after[0] - before[0]))


def seldom(count: int) -> tuple[float, float]:
    """CPU-seconds a million samples that packing takes, and that sorting and coarsening of files take."""
    from query import samples_of, series_of

    from opsbook.world.telemetry.chunk import Chunk
    from opsbook.world.telemetry.head import SEALED
    from opsbook.world.telemetry.history.history import History
    from opsbook.world.telemetry.store import HotStore

    kinds = [kind for _, kind in series_of(1)]
    columns = [samples_of(number + 1, kinds, SEALED).T.copy() for number in range(BODIES)]
    times, answered = np.arange(SEALED) * int(EVERY * 1000), np.ones(SEALED, np.bool_)
    began = time.process_time()
    for values in columns:
        Chunk(times, answered, values)
    packing = (time.process_time() - began) / sum(values.size for values in columns) * 1e6
    with tempfile.TemporaryDirectory(prefix="opsbook-bench-ingest-") as folder:
        now = int(time.time() * 1000)
        hot = HotStore()
        history = History(Path(folder), hot, lambda: now, flush=3600.0)
        history.start()
        written = 0
        for _ in range(6):
            for number in range(count):
                labels = labels_of(number)
                block = hot.block(labels)
                slots = np.array([block.slot({**own, **labels}) for own, _ in series_of(number % BODIES)])
                for step in range(20):
                    block.append(now + step * 5000, slots, columns[number % BODIES][step])
                    written += slots.size
            now += 100_000
            history.flush()
        now += 2 * 3_600_000
        began = time.process_time()
        history.maintain()
        sorting = (time.process_time() - began) / written * 1e6
        history.close()
    return packing, sorting


def main() -> int:
    """Print the figures; 1 when one misses its target."""
    short = quick(__doc__ or "")
    bench = Bench("ingest")
    warming, seconds = (10.0, 15.0) if short else (35.0, 60.0)
    peer = shutil.which("prometheus") is not None
    if not peer:
        bench.no_peer("prometheus", "it is not installed")
    packing, sorting = seldom(20)
    bench.fact("packing in memory", packing, "CPU s/million samples")
    bench.fact("sorting and coarsening of files", sorting, "CPU s/million samples")
    with served() as (port, asked):
        for series in SIZES:
            for with_rules in (True, False):
                what = f"{series:,} series, " + ("200 rules" if with_rules else "scraping alone")
                count = series // 500
                with ours(port, count, with_rules) as pid:
                    own = measured(pid, asked, warming, seconds)
                cpu = own.cpu + packing + sorting
                bench.fact(f"{what}: samples", own.samples, "1/s")
                if not peer:
                    bench.fact(f"{what}: CPU", cpu, "s/million")
                    bench.fact(f"{what}: resident", own.memory, "MiB")
                    continue
                with prometheus(port, count, with_rules) as pid:
                    theirs = measured(pid, asked, warming, seconds)
                bench.ratio(f"{what}: CPU", cpu, theirs.cpu, "prometheus", "s/million")
                bench.ratio(f"{what}: resident", own.memory, theirs.memory, "prometheus", "MiB")
                target = RULES_TARGET if with_rules else ALONE_TARGET
                bench.figure(f"{what}: CPU", cpu / theirs.cpu, "x", target)
                if with_rules and series == max(SIZES):
                    bench.figure(f"{what}: resident", own.memory / theirs.memory, "x", MEMORY_TARGET)
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
