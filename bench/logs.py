"""Searching logs: a gigabyte written by instances, beside `grep` over the same files in the same run.

python bench/logs.py [--megabytes 1000]
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from opsbook.world.hosts.clock import SystemClock
from opsbook.world.logs.query import LogQuery
from opsbook.world.logs.search import LogSearch
from opsbook.world.logs.sent import SentLogs
from opsbook.world.runtimes.process_logs import append_checkpoint, log_path

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PER_LOG = 50  # megabytes, as much as rotation leaves of an instance


def fill(root: Path, megabytes: int) -> int:
    """Logs of many instances, JSON and plain; one needle in the oldest of them. Returns the lines written."""
    choice, lines, now = random.Random(7), 0, time.time()
    block = []
    for number in range(8000):
        level = choice.choices(("info", "debug", "warning", "error"), (80, 15, 4, 1))[0]
        if number % 2:
            block.append(
                f'{{"level":"{level}","msg":"request done","route":"/orders/{choice.randrange(9999)}",'
                f'"took":{choice.random():.4f},"user":{{"id":{choice.randrange(99999)}}}}}'
            )
        else:
            block.append(
                f"{level.upper()} worker {choice.randrange(64)} took {choice.random():.4f} s for a job"
            )
    text = ("\n".join(block) + "\n").encode()
    for number in range(max(1, megabytes // PER_LOG)):
        log = log_path(root, "production", f"service{number % 5}", f"i-{number}")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            if number == 0:
                file.write(f'{{"level":"error","msg":"needle lost","trace_id":"{TRACE}"}}\n'.encode())
            for part in range(PER_LOG * 1_000_000 // len(text)):
                file.write(text)
                lines += len(block)
                append_checkpoint(log, file.tell(), now - 3600 + part)
    return lines


def timed(act: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    found = act()
    return time.perf_counter() - started, found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1000)
    asked = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="opsbook-bench-logs-"))
    sent = SentLogs(root / "sent.sqlite", SystemClock())
    try:
        lines = fill(root / "logs", asked.megabytes)
        logs = LogSearch(root / "logs", sent, SystemClock())
        program = shutil.which("rg") or "grep"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{asked.megabytes} MB, {lines:,} lines, beside {Path(program).name}")
        for what, query, pattern in (
            (
                "a needle, all of it read",
                LogQuery(grep="needle (lost|found)", budget=600),
                "needle (lost|found)",
            ),
            ("a trace", LogQuery(trace_id=TRACE, budget=600), TRACE),
            ("nothing found, text", LogQuery(text="no such words", budget=600), "no such words"),
        ):
            subprocess.run([program, "-cE" if program == "grep" else "-c", pattern, "-r", str(root / "logs")],
                           stdout=subprocess.DEVNULL, check=False)  # fmt: skip # warms the cache
            flags = ["-rE"] if program == "grep" else ["-N"]
            peer, _ = timed(
                lambda p=pattern, flags=flags: subprocess.run(
                    [program, *flags, p, str(root / "logs")], stdout=subprocess.DEVNULL, check=False
                )
            )
            mine, found = timed(lambda q=query: logs.search(q))
            count = len(found.records)  # type: ignore[attr-defined]
            print(f"{what:28} {mine:7.2f} s   {program} {peer:6.2f} s   x{mine / peer:5.2f}   {count} found")
        for what, query in (
            ("the newest 200", LogQuery()),
            ("the newest 200 errors", LogQuery(level="error")),
            ("200 of one user's route", LogQuery(grep=r"/orders/1\d\b", limit=200)),
        ):
            mine, found = timed(lambda q=query: logs.search(q))
            print(f"{what:28} {mine * 1000:7.1f} ms   {len(found.records)} found")  # type: ignore[attr-defined]
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"memory grown by {grown / 1024:.0f} MB")
    finally:
        sent.close()
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
