"""What the console costs: `python bench/console.py [--quick]`.

Rendering the first page over 200 services, what it weighs, and what 50 pages that are open and live cost: while nothing
happens, and while the canary that all of them watch gets new evidence every second.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from harness import Bench, quick

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "server" / "console"))


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; the targets are for the whole."""

    services: int = 200
    pages: int = 50
    seconds: float = 20.0
    rounds: int = 15


def serve(pipe: multiprocessing.connection.Connection, services: int) -> None:
    """A console in a process of its own; it does what comes through `pipe`, and says when it has."""
    from stand import Scene, Stand

    from opsbook.deployment.model import Phase

    names = {f"service-{number:03}": (f"Number {number}", f"/s{number}") for number in range(services)}
    stand = Stand(names)
    try:
        for name in names:
            stand.place("production", name, replicas=2)
        scene = Scene(stand, service="service-007")
        scene.to(Phase.PENDING, "prepared")
        scene.start()
        scene.looked(60)
        pipe.send((stand.serve(), [stand.cookie("ana") for _ in range(8)], os.getpid()))
        while (asked := pipe.recv()) != "end":
            if asked == "look":
                scene.look()
            pipe.send("done")
    finally:
        stand.end()


class Served:
    """That process."""

    def __init__(self, services: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, services))
        self.process.start()
        self.address, self.cookies, pid = self.pipe.recv()
        self.used = psutil.Process(pid)

    def client(self, number: int = 0) -> httpx.Client:
        """A browser that is signed in."""
        cookie = self.cookies[number % len(self.cookies)]
        headers = {"accept": "text/html", "accept-encoding": "gzip"}
        return httpx.Client(
            base_url=self.address, cookies={"opsbook_session": cookie}, headers=headers, timeout=30
        )

    def look(self) -> None:
        """New evidence for the canary."""
        self.pipe.send("look")
        self.pipe.recv()

    def end(self) -> None:
        self.pipe.send("end")
        self.process.join(20)


class Page(threading.Thread):
    """An open page: it follows its topic, and fetches its live part, with its ETag, when told of a change."""

    def __init__(self, served: Served, number: int, path: str, topic: str) -> None:
        super().__init__(daemon=True)
        self._client = served.client(number)
        self._path = path
        self._topic = topic
        self._etag = ""
        self.told = self.fetched = 0
        self.ready = threading.Event()
        self.stopped = threading.Event()

    def run(self) -> None:
        with self._client.stream("GET", "/live", params={"topics": self._topic}) as stream:
            self.ready.set()
            for line in stream.iter_lines():
                if self.stopped.is_set():
                    return
                if line == "event: changed":
                    self.told += 1
                    self._fetch()

    def _fetch(self) -> None:
        headers = {"if-none-match": self._etag} if self._etag else {}
        answer = self._client.get(self._path, params={"region": "live"}, headers=headers)
        self._etag = answer.headers["etag"]
        self.fetched += answer.status_code == 200


def cost(served: Served, seconds: float, act: Callable[[], object]) -> float:
    """Percent of a core that the server uses while `act` is done once a second."""

    def used() -> float:
        times = served.used.cpu_times()
        return float(times.user + times.system)

    before, began = used(), time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        act()
        time.sleep(max(0.0, 1.0 - (time.monotonic() - began - elapsed)))
    return (used() - before) / (time.monotonic() - began) * 100


def rendering(bench: Bench, served: Served, size: Size) -> None:
    """The whole first page, made anew each time, through the server."""
    with served.client() as client:
        took = []
        for _ in range(size.rounds):
            began = time.perf_counter()
            answer = client.get("/")
            took.append((time.perf_counter() - began) * 1000)
        if answer.status_code != 200 or answer.text.count('<tr id="row-production-') != size.services:
            sys.exit("not what was asked for")
        bench.figure(f"overview of {size.services} services, median", statistics.median(took), "ms", 100)
        bench.fact(f"overview of {size.services} services, slowest", max(took), "ms")
        bench.figure("its size on the line", int(answer.headers["content-length"]) / 1000, "kB", 50)


def watching(bench: Bench, served: Served, size: Size) -> None:
    for what, path, topic in (
        ("a canary", "/deployments/d-91", "deployment/d-91"),
        (f"the overview of {size.services} services", "/", "now"),
    ):
        pages = [Page(served, number, path, topic) for number in range(size.pages)]
        for page in pages:
            page.start()
        for page in pages:
            page.ready.wait(20)
        time.sleep(3)  # the first look, and what it tells
        calm = cost(served, size.seconds, lambda: None)
        told = sum(page.told for page in pages)
        busy = cost(served, size.seconds, served.look)
        news = sum(page.told for page in pages) - told
        bench.figure(f"{size.pages} pages on {what}, nothing happens", calm, "% of a core", 10)
        if topic != "now":
            bench.figure(f"{size.pages} pages on {what}, evidence each second", busy, "% of a core", 10)
            bench.fact("news to each page meanwhile", news / size.pages, "")
        for page in pages:
            page.stopped.set()
    del news


def main() -> int:
    """Print all figures."""
    short = Size(services=20, pages=5, seconds=2.0, rounds=2)
    size = short if quick(__doc__) else Size()
    bench = Bench("console")
    bench.no_peer("other consoles", "none renders on the server over the same state")
    served: Any = Served(size.services)
    try:
        rendering(bench, served, size)
        watching(bench, served, size)
    finally:
        served.end()
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
