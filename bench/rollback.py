"""How soon the version before serves again: `python bench/rollback.py [--quick]`.

From the request to the API, or from the start of the command, to the first answer of the version before after which
no customer was answered by the bad one any more. The version before is still warm, as it is for ten minutes.
"""

from __future__ import annotations

import http.client
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness import Bench, Shop, milliseconds, quick, running_shop

CONNECTIONS, EVERY = 4, 0.004  # enough to meet every worker of the proxy; together an answer each millisecond
GOOD = "1.0"
AFTERWARDS = 50  # answers that are waited for once the rollback has ended


class Customers:
    """Ask over kept connections without a pause and write down which version answered when."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._answers: list[tuple[float, str]] = []  # append is atomic; one list for all threads
        self._leaving = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CONNECTIONS)]
        self.failed = 0
        for thread in self._threads:
            thread.start()

    def seconds_to(self, version: str, since: float) -> float:
        """From `since` until `version` answered and no other did after it."""
        seen = len(self._answers)
        while len(self._answers) < seen + AFTERWARDS:
            time.sleep(EVERY)
        later = sorted(answer for answer in self._answers if answer[0] > since)
        last_other = max((at for at, found in later if found != version), default=since)
        return min(at for at, found in later if at > last_other) - since

    def leave(self) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._leaving.wait(EVERY):
            try:
                connection.request("GET", "/healthz")
                answer = connection.getresponse()
                answer.read()
                found = answer.getheader("X-Version", "") if answer.status == 200 else ""
            except (OSError, http.client.HTTPException):
                connection.close()
                found = ""
            self.failed += not found
            self._answers.append((time.perf_counter(), found))
        connection.close()


@contextmanager
def asking(shop: Shop) -> Iterator[Customers]:
    customers = Customers(shop.stage.entry_port)
    try:
        yield customers
    finally:
        customers.leave()


def by_api(shop: Shop) -> None:
    shop.ask("rollbacks", service="web", environment="local")


def by_command_line(shop: Shop) -> None:
    shop.type("rollback", "web", "--in", "local")


def rollbacks(
    shop: Shop, customers: Customers, back: Callable[[Shop], None], versions: list[str]
) -> list[float]:
    """Deploy each of `versions`, go back from it, and return the seconds that the way back took."""
    taken = []
    for version in versions:
        shop.new_version("web", version)
        shop.ask("deployments", services=["web"], environment="local", version=version)
        began = time.perf_counter()
        back(shop)
        taken.append(customers.seconds_to(GOOD, began))
    return taken


def main() -> int:
    """Print all figures."""
    rounds = 1 if quick(__doc__) else 20
    bench = Bench("rollback")
    with running_shop("api", "web") as shop, asking(shop) as customers:
        for number, (what, back) in enumerate((("API", by_api), ("command line", by_command_line)), 2):
            versions = [f"{number}.{turn}" for turn in range(rounds)]
            taken = rollbacks(shop, customers, back, versions)
            bench.figure(f"{what}: to serving again, p50 of {rounds}", milliseconds(taken, 0.5), "ms", 200)
            bench.fact(f"{what}: to serving again, slowest", milliseconds(taken, 1.0), "ms")
        bench.figure("requests failed meanwhile", customers.failed, "", 0)
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
