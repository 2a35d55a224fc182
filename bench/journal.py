"""How fast the journal and its durable steps are: `python bench/journal.py [URL]`.

Without a URL it is SQLite in a folder of the disk that TMPDIR names. The peer is the bare database doing the least
that would do the same: one INSERT and one COMMIT a row, synced to disk.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil

from opsbook.journal import Durable, Journal, register

register("bench.happened", "Something happened in a benchmark", {"n": "which one"})
APPENDS, STEPS, IDLE = 2000, 200, 10.0
DATA = {"n": 1, "query": "error_rate", "value": 0.0023, "threshold": 0.01, "samples": 812}


class WallClock:
    def now(self) -> float:
        return time.time()


def times(count: int, act: Callable[[], object]) -> list[float]:
    """Seconds of each of `count` calls."""
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return taken


def report(name: str, taken: list[float], peer: float | None = None) -> float:
    """Print a line; returns the median."""
    median = statistics.median(taken)
    ratio = f"  {median / peer:5.1f} x bare" if peer else ""
    p99 = statistics.quantiles(taken, n=100)[98]
    print(f"{name:42} {1 / median:8.0f}/s  median {median * 1e3:6.2f} ms  p99 {p99 * 1e3:6.2f} ms{ratio}")
    return median


def bare(folder: Path) -> float:
    """SQLite alone, WAL and synchronous=FULL."""
    with closing(sqlite3.connect(folder / "bare.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, data TEXT)")
        insert = "INSERT INTO events (data) VALUES (?)"
        return report(
            "bare SQLite, insert and commit", times(APPENDS, lambda: connection.execute(insert, [str(DATA)]))
        )


def journal(url: str, folder: Path, peer: float | None) -> None:
    with Journal.open(url, keys=folder / "keys", clock=WallClock()) as opened:

        def append() -> None:
            opened.append("bench.happened", "production/web", DATA, actor="bench")

        def append_and_put() -> None:
            opened.append(
                "bench.happened", "production/web", DATA, actor="bench", lease=lease, put={"bench": DATA}
            )

        report("append", times(APPENDS, append), peer)
        lease = opened.leases.acquire("production/web", "bench", "measuring", 3600)
        report("append with lease and state", times(APPENDS, append_and_put), peer)
        report("state.get", times(APPENDS, lambda: opened.state.get("bench")))
        report("head", times(APPENDS, opened.head))
        threads = [threading.Thread(target=lambda: times(APPENDS // 8, append)) for _ in range(8)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{'append, 8 threads':42} {APPENDS / (time.perf_counter() - began):8.0f}/s")
        began = time.perf_counter()
        checked = opened.verify().checked
        print(f"{'verify':42} {checked / (time.perf_counter() - began):8.0f}/s")
        opened.leases.release(lease)


def durable(url: str) -> None:
    work = Durable(url)
    steps: list[float] = []
    work.workflow("steps", lambda _: str(steps.extend(times(STEPS, lambda: work.step("step", lambda: DATA)))))
    work.workflow("empty", lambda subject: subject)
    began = time.perf_counter()
    work.launch()
    print(f"{'launch of durable work, with its import':42} {time.perf_counter() - began:8.2f} s")
    name = f"bench-{time.time()}"
    work.start("steps", name)
    work.wait(name, 120)
    report("durable step", steps)
    process = psutil.Process()
    before = sum(process.cpu_times()[:2])
    time.sleep(IDLE)
    print(f"{'idle, share of one CPU':42} {(sum(process.cpu_times()[:2]) - before) / IDLE:8.2%}")
    began = time.perf_counter()
    work.close()
    print(f"{'close':42} {time.perf_counter() - began:8.2f} s")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="opsbook-bench-") as name:
        folder = Path(name)
        given = sys.argv[1] if len(sys.argv) > 1 else None
        peer = None if given else bare(folder)
        journal(given or str(folder / "journal.sqlite"), folder, peer)
        durable(given or str(folder / "durable.sqlite"))


if __name__ == "__main__":
    main()
