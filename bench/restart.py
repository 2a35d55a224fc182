"""kill -9 while alerts are sent: how soon they fire again, who is told too little or twice: `python bench/restart.py`.

Fifty alerts begin to fire at once; each is a message of its own, and the receiver takes its time over each, so that
the kill falls between them. Then the same is started again. Ours is the whole opsbook, `opsbook up`; the peer is
Prometheus with Alertmanager, both killed, with the same rules (`for: 5s`) and the same kind of receiver.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Bench, House, percentile, quick
from peers.prometheus import Pair, free_ports, missing
from peers.receiver import Receiver

from opsbook.errors import OpsbookError

ALERTS, FOR, PAUSE, ROUNDS = 50, 5, 0.02, 5
LONGEST = 90.0
RULES: list[dict[str, Any]] = [
    {
        "alert": "Storm", "expr": "vector(1) == 1", "for": f"{FOR}s",
        "labels": {"severity": "critical", "number": str(number)},
    }
    for number in range(ALERTS)
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Round:
    """One kill: seconds until all fired again, alerts that were never told, and messages beyond one for each."""

    seconds: float
    lost: int
    twice: int
    most: int  # messages about the alert that was told most often, beyond one


class Ours:
    """opsbook with a handbook of rules and one webhook."""

    def __init__(self, folder: Path, webhook: str) -> None:
        ops = folder / "ops"
        (ops / "monitoring").mkdir(parents=True)
        cover = {"name": "bench", "channels": {"hook": {"webhook": webhook}}}
        (ops / "opsbook.yaml").write_text(json.dumps(cover))
        groups = {"groups": [{"name": "bench", "interval": "1s", "rules": RULES}]}
        (ops / "monitoring" / "bench.rules.yaml").write_text(json.dumps(groups))
        notifications = {"group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
        (ops / "monitoring" / "notifications.yaml").write_text(json.dumps(notifications))
        [self._port] = free_ports(1)
        self._house = House(folder, self._port)

    def start(self) -> None:
        """Start it; it answers on return."""
        self._house.type("up", "--detach", "--port", str(self._port))

    def firing(self) -> int:
        """How many alerts fire, by its Prometheus API; 0 while it does not answer."""
        with contextlib.suppress(OpsbookError, OSError, ValueError):
            found = self._house.api.get("/prometheus/api/v1/alerts")["data"]["alerts"]
            return sum(one["state"] == "firing" and one["labels"]["alertname"] == "Storm" for one in found)
        return 0

    def kill(self) -> None:
        """SIGKILL."""
        pid = self._house.server.pid
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.005)

    def stop(self) -> None:
        """End it."""
        self._house.commands.run("down", "--services")


def once(make: Callable[[Path, str], Ours | Pair]) -> Round:
    """Start, kill while the messages are sent, start again, and count."""
    receiver = Receiver(PAUSE)
    folder = Path(tempfile.mkdtemp(prefix="opsbook-bench-restart-", dir="/tmp"))
    one = make(folder, receiver.url("hook"))

    def told() -> Counter[str]:
        """Messages by alert: whatever they say, nothing has ended."""
        return Counter(heard.labels["number"] for heard in receiver.heard if "number" in heard.labels)

    try:
        one.start()
        _wait(lambda: len(told()) >= ALERTS // 3, "the first messages")
        one.kill()
        began = time.perf_counter()
        one.start()
        _wait(lambda: one.firing() == ALERTS, "the alerts to fire again")
        seconds = time.perf_counter() - began
        with contextlib.suppress(TimeoutError):
            _wait(lambda: len(told()) == ALERTS, "the other messages", 30)
        time.sleep(2)  # and what comes twice
        found = told()
        return Round(seconds, ALERTS - len(found), found.total() - len(found), max(found.values()) - 1)
    finally:
        one.stop()
        receiver.close()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(condition: Callable[[], bool], what: str, seconds: float = LONGEST) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(0.02)


def peer(folder: Path, webhook: str) -> Pair:
    """Prometheus and Alertmanager."""
    return Pair(folder, scrape="1s", evaluate="1s", group_wait="0s", targets=[], rules=RULES, webhook=webhook)


def main() -> int:
    """Print the figures; 1 when one misses its target."""
    short = quick(__doc__ or "")
    bench = Bench("restart of alerting")
    count, reason = (1 if short else ROUNDS), missing()
    mine = [once(Ours) for _ in range(count)]
    seconds = percentile([one.seconds for one in mine], 0.5)
    if reason:
        bench.fact("until all fire again, median", seconds, "s")
        bench.no_peer("prometheus, alertmanager", reason)
    else:
        theirs = [once(peer) for _ in range(count)]
        other = percentile([one.seconds for one in theirs], 0.5)
        bench.ratio("until all fire again, median", seconds, other, "prometheus, alertmanager", "s")
        lost, twice = sum(one.lost for one in theirs), sum(one.twice for one in theirs)
        bench.fact(f"the peer's lost, of {ALERTS * count} alerts", lost, "alerts")
        bench.fact("the peer's duplicates", twice, "messages")
    bench.figure(f"lost, of {ALERTS * count} alerts", sum(one.lost for one in mine), "alerts", 0)
    bench.fact("duplicates, all together", sum(one.twice for one in mine), "messages")
    bench.figure("duplicates of one alert, at most", max(one.most for one in mine), "messages", 1)
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
