"""From a fault to the webhook, beside Prometheus with Alertmanager: `python bench/detect.py`.

Each of forty targets goes bad at a random moment. Both scrape the same targets with the same intervals,
evaluate the same rule and send to the same receiver, at the same time; each fault is one event of both. As
`scrape/evaluate/group_wait`: ours evaluates when a round of scrapes is stored, and not by a clock of its own.
"""

from __future__ import annotations

import multiprocessing
import random
import selectors
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import Bench, percentile, quick
from peers.prometheus import Pair, missing
from peers.receiver import Heard, Receiver

EVENTS, SPREAD, TARGET = 40, 20, 0.5  # faults; scrapes over which they are spread; times the peer's
RULE = {"alert": "Bad", "expr": "bad == 1", "labels": {"severity": "critical"}}
SETTINGS = ((5, 1), (1, 0))  # seconds between scrapes, and evaluations; group_wait


class Target:
    """Something that is scraped, and can be bad."""

    def __init__(self) -> None:
        self.bad = 0
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = int(self.listening.getsockname()[1])

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def answer(self) -> bytes:
        """What is said to whoever scrapes."""
        body = f"# TYPE bad gauge\nbad {self.bad}\n"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\n\r\n"
        return (head + body).encode()


class Serving:
    """Answers for all targets from one thread: what is measured is not how long they take."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        for target in targets:
            self._selector.register(target.listening, selectors.EVENT_READ, (target, True))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(0.2):
                target, is_new = key.data
                assert isinstance(key.fileobj, socket.socket)
                if is_new:
                    connection, _ = key.fileobj.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._selector.register(connection, selectors.EVENT_READ, (target, False))
                else:
                    self._say(key.fileobj, target)

    def _say(self, connection: socket.socket, target: Target) -> None:
        try:
            asked = connection.recv(65_536)
            if asked:
                connection.sendall(target.answer())
                return
        except OSError:
            pass
        self._selector.unregister(connection)
        connection.close()

    def close(self) -> None:
        """Answer no more."""
        self._stopping = True
        self._thread.join()
        for target in self._targets:
            target.listening.close()
        self._selector.close()


def serve(folder: Path, ports: list[int], scrape: int, wait: int, webhook: str, ready: Any) -> None:
    """Our rooms from the scrape to the webhook, put together as the server does."""
    from opsbook.book import TextFiles, load
    from opsbook.journal import Journal
    from opsbook.monitoring.alerting.room import Alerting
    from opsbook.monitoring.rules.model import AlertingRule, RuleGroup
    from opsbook.monitoring.rules.room import Rules
    from opsbook.promql import Engine
    from opsbook.world.hosts.clock import SystemClock
    from opsbook.world.hosts.tokens import new_token
    from opsbook.world.telemetry.engine import EmbeddedTelemetry
    from opsbook.world.words import Address
    from opsbook.world.words import Target as Scraped

    class NoSecrets:
        def get(self, name: str) -> str:
            return name

        def mask(self, text: str) -> str:
            return text

    notifications = f"group_by: ['...']\ngroup_wait: {wait}s\ngroup_interval: 1s\n"
    book = load(
        TextFiles(
            {
                "opsbook.yaml": f'name: bench\nchannels: {{hook: {{webhook: "{webhook}"}}}}\n'.encode(),
                "monitoring/notifications.yaml": notifications.encode(),
            }
        )
    )
    clock = SystemClock()
    journal = Journal.open(folder / "journal.sqlite", keys=folder / "keys", clock=clock)
    alerting = Alerting(lambda: book, journal, NoSecrets(), clock, new_id=new_token, log=print)
    alerting.start()
    telemetry = EmbeddedTelemetry(clock)
    rules = Rules(
        Engine(telemetry.storage), telemetry.storage, journal, alerting, moment=telemetry.moment, log=print
    )
    rule = AlertingRule(alert="Bad", expr=str(RULE["expr"]), labels={"severity": "critical"})
    rules.load([RuleGroup(name="bench", source="bench", rules=(rule,))])
    rules.start()
    telemetry.on_scraped(alerting.scraped)
    telemetry.on_scraped(rules.scraped)
    telemetry.interval(scrape)
    telemetry.targets(
        [
            Scraped("metrics", {"instance": f"127.0.0.1:{port}"}, address=Address("127.0.0.1", port))
            for port in ports
        ]
    )
    ready.send(True)
    threading.Event().wait()


@contextmanager
def ours(folder: Path, targets: list[Target], scrape: int, wait: int, webhook: str) -> Iterator[None]:
    """Ours, in a process of its own."""
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve,
        args=(folder, [target.port for target in targets], scrape, wait, webhook, theirs),
        daemon=True,
    )
    process.start()
    try:
        if not mine.poll(60):
            sys.exit("ours did not start")
        yield
    finally:
        process.kill()
        process.join(10)


def event(target: Target, receiver: Receiver, senders: list[str], wait: float) -> dict[str, float]:
    """Seconds from the fault of one target, `wait` seconds from now, to the webhook, by sender."""
    time.sleep(wait)
    began = time.perf_counter()
    target.bad = 1
    return {sender: _heard(receiver, sender, target, began).at - began for sender in senders}


def moments(count: int, scrape: int) -> list[float]:
    """When faults happen: spread over many scrapes, and evenly over the time between two, in any order."""
    phases = [(number + random.random()) / count for number in range(count)]
    return [scrape * (random.randrange(SPREAD) + phase) for phase in phases]


def _heard(receiver: Receiver, sender: str, target: Target, since: float) -> Heard:
    def fits(one: Heard) -> bool:
        return (one.sender, one.labels["instance"]) == (sender, target.address)

    found = receiver.first(fits, since=since)
    if found is None:
        sys.exit(f"{sender} never said that {target.address} is bad")
    return found


def measure(scrape: int, wait: int, count: int, *, peer: bool) -> dict[str, list[float]]:
    """Seconds of each event, by sender."""
    receiver, targets = Receiver(), [Target() for _ in range(count)]
    serving = Serving(targets)
    senders = ["opsbook", "prometheus"] if peer else ["opsbook"]
    found: dict[str, list[float]] = {sender: [] for sender in senders}
    folder = Path(tempfile.mkdtemp(prefix="opsbook-bench-detect-"))
    pair = Pair(
        folder, scrape=f"{scrape}s", evaluate=f"{scrape}s", group_wait=f"{wait}s", rules=[RULE],
        targets=[target.address for target in targets], webhook=receiver.url("prometheus"),
    )  # fmt: skip
    failed: list[BaseException] = []
    waits = moments(count, scrape)

    def lane(number: int) -> None:
        try:
            seen = event(targets[number], receiver, senders, waits[number])
            for sender, seconds in seen.items():
                found[sender].append(seconds)
        except BaseException as error:
            failed.append(error)

    try:
        if peer:
            pair.start()
        with ours(folder, targets, scrape, wait, receiver.url("opsbook")):
            time.sleep(6.0 * scrape)  # both have scraped all of them, and run as they always do
            lanes = [threading.Thread(target=lane, args=(number,)) for number in range(count)]
            for one in lanes:
                one.start()
            for one in lanes:
                one.join()
    finally:
        pair.stop()
        serving.close()
        receiver.close()
        shutil.rmtree(folder, ignore_errors=True)
    if failed:
        raise failed[0]
    return found


def main() -> int:
    """Print the figures; 1 when one misses its target."""
    short = quick(__doc__ or "")
    bench = Bench("fault to webhook")
    reason = missing()
    for scrape, wait in SETTINGS[1:] if short else SETTINGS:
        found = measure(scrape, wait, 8 if short else EVENTS, peer=not reason)
        name = f"{scrape} s/{scrape} s/{wait} s"
        mine = found["opsbook"]
        mean = sum(mine) / len(mine)
        if reason:
            bench.fact(f"{name}: mean of {len(mine)}", mean, "s")
            bench.no_peer("prometheus, alertmanager", reason)
            continue
        theirs = found["prometheus"]
        other = sum(theirs) / len(theirs)
        bench.ratio(f"{name}: mean of {len(mine)}", mean, other, "prometheus, alertmanager", "s")
        for share in (0.5, 0.95):
            bench.ratio(
                f"{name}: p{share * 100:.0f}", percentile(mine, share), percentile(theirs, share), "peer", "s"
            )
        bench.figure(f"{name}: mean, of the peer's", mean / other, "x", TARGET)
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
