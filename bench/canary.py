"""How soon a bad canary gets no requests any more, and what customers lose: `python bench/canary.py [--quick]`.

The canary gets half of the requests and fails each of them; the telemetry is read once a second, as always while
something is deployed. The time is from the first failed answer that a customer got until the proxy serves a table
without the canary and the last answer of the canary has come, whichever is later.

Then, under more load, canaries are by turns bad and taken back by opsbook, or good, promoted and rolled back on
request. A bad version's own errors are known by their status and its version; every other failure is opsbook's.
"""

from __future__ import annotations

import http.client
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness import Bench, Shop, quick, running_shop

WEIGHT = 50  # percent of the requests to the canary
RATE = 20.0  # requests in a second while the way back is timed: ten of them to the canary
HEAVY = (
    100.0  # requests in a second while failures are counted; each of them is two, for the page asks the API
)
CONNECTIONS = 4
AFTERWARDS = 50  # answers that are waited for once a canary has ended: none of them may be the canary's
LONGEST = 60.0  # seconds
LOOK_EVERY = 0.05  # seconds

ANALYSIS = """
    min_samples: 20
    analysis:
      - {metric: error_rate, max: 5%}
      - {metric: error_rate, compare: stable}
"""
STRATEGIES = f"""
  half:
    type: canary
    steps: [{{weight: {WEIGHT}%, hold: 60s}}]{ANALYSIS}
  half-shortly:
    type: canary
    steps: [{{weight: {WEIGHT}%, hold: 2s}}]{ANALYSIS}
"""
ONE_IN_FIVE, ALWAYS = "if erring and REQUESTS.total() % 5 == 4:", "if erring:"
OWN_ERROR = 500  # what the storefront answers with when it has the fault


@dataclass(frozen=True, slots=True)
class Answer:
    """What a customer got."""

    at: float  # UTC epoch seconds, as in the journal
    status: int  # 0: no answer
    version: str  # of the storefront; empty when it was not the storefront that answered


class Customers:
    """Ask for the page at a steady rate over kept connections and write down who answered what, and when."""

    def __init__(self, port: int, rate: float) -> None:
        self._port = port
        self._every = CONNECTIONS / rate
        self.answers: list[Answer] = []  # append is atomic; one list for all threads
        self._leaving = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(turn / rate,), daemon=True)
            for turn in range(CONNECTIONS)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, more: int) -> None:
        """Until `more` answers have come; ends the bench when they do not."""
        enough, deadline = len(self.answers) + more, time.monotonic() + LONGEST
        while len(self.answers) < enough:
            if time.monotonic() > deadline:
                sys.exit("the shop does not answer its customers")
            time.sleep(LOOK_EVERY)

    def leave(self) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, first: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        due = time.monotonic() + first
        while not self._leaving.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._every, time.monotonic())  # what was missed is not made up for
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                status, version = answer.status, answer.getheader("X-Version", "")
            except (OSError, http.client.HTTPException):
                connection.close()
                status, version = 0, ""
            self.answers.append(Answer(time.time(), status, version))
        connection.close()


BUDGET_POLICY = "budget_policy: {max_weight: 10%}\n"


@contextmanager
def asking(shop: Shop, rate: float) -> Iterator[Customers]:
    customers = Customers(shop.stage.entry_port, rate)
    try:
        customers.wait_for(CONNECTIONS)
        yield customers
    finally:
        customers.leave()


def prepare(shop: Shop) -> None:
    """Add the strategies of this bench, and write a storefront whose fault `errors` is one of every page."""
    with (shop.folder / "ops" / "deployment" / "strategies.yaml").open("a") as strategies:
        strategies.write(STRATEGIES)  # what is there ends with a strategy, too
    objectives = shop.folder / "ops" / "monitoring" / "slos.yaml"
    text = objectives.read_text()
    if BUDGET_POLICY not in text:
        sys.exit(
            "the objectives of the examples have changed: the bad canaries' errors would hold the good ones"
        )
    objectives.write_text(text.replace(BUDGET_POLICY, ""))
    source = shop.folder / "web" / "app.py"
    text = source.read_text()
    if ONE_IN_FIVE not in text:
        sys.exit("the storefront of the examples has changed: this bench no longer knows its fault")
    source.write_text(text.replace(ONE_IN_FIVE, ALWAYS))


def bad_canary(shop: Shop, version: str) -> Mapping[str, Any]:
    """Deploy a version that fails every page, until opsbook has taken it back; the deployment."""
    shop.stage.write_version("web", version, fault="errors")
    about = {"services": ["web"], "environment": "local", "version": version, "strategy": "half"}
    return shop.ask("deployments", outcome="rolled_back", **about)


def good_canary(shop: Shop, version: str) -> None:
    """Deploy a good version until its evidence has promoted it, and roll it back."""
    shop.new_version("web", version)
    shop.ask("deployments", services=["web"], environment="local", version=version, strategy="half-shortly")
    shop.ask("rollbacks", service="web", environment="local")


def seconds_to_nothing(shop: Shop, customers: Customers, version: str) -> tuple[float, int]:
    """From the first failure to no weight and no answer of the canary; and how many customers it failed."""
    deployment = bad_canary(shop, version)
    customers.wait_for(AFTERWARDS)
    answered = [answer for answer in customers.answers if answer.version == version]
    failures = [answer.at for answer in answered if answer.status != 200]
    first, last = min(failures), max(answer.at for answer in answered)
    found = shop.api.get("/api/journal/events", {"kinds": "traffic.serving", "since": first})
    without = min(
        event["at"]
        for event in found["events"]
        if event["data"]["deployment"] == deployment["id"]
        and not event["data"]["weights"].get(deployment["release"])
    )
    return max(last, without) - first, len(failures)


def not_its_own(answers: list[Answer], bad: set[str]) -> Counter[tuple[int, str]]:
    """The failures that no bad version is the author of, by status and version."""
    return Counter(
        (answer.status, answer.version)
        for answer in answers
        if answer.status != 200 and not (answer.status == OWN_ERROR and answer.version in bad)
    )


def main() -> int:
    """Print all figures."""
    short = quick(__doc__)
    rounds, canaries = (1, 2) if short else (10, 20)
    bench = Bench("canary")
    with running_shop("api", "web") as shop:
        prepare(shop)
        with asking(shop, RATE) as customers:
            bad = [f"2.{turn}" for turn in range(rounds)]
            times, failures = zip(*(seconds_to_nothing(shop, customers, each) for each in bad), strict=True)
            lost = not_its_own(customers.answers, set(bad))
        asked = f"{RATE:g} requests/s, weight {WEIGHT} %"
        bench.figure(f"{asked}: to weight 0, median of {rounds}", statistics.median(times), "s", 3)
        bench.figure(f"{asked}: to weight 0, slowest", max(times), "s", 3)
        bench.fact("failed by the canary itself each time, most", max(failures), "")

        with asking(shop, HEAVY) as customers:
            bad = [f"3.{turn}" for turn in range(0, canaries, 2)]
            for turn in range(canaries):
                if turn % 2:
                    good_canary(shop, f"3.{turn}")
                else:
                    bad_canary(shop, f"3.{turn}")
            others = not_its_own(customers.answers, set(bad))
        own = sum(answer.status != 200 for answer in customers.answers) - others.total()
        lost += others
        bench.fact(f"{canaries} canaries and ways back: requests", len(customers.answers), "")
        bench.fact("failed by the canaries themselves", own, "")
        bench.figure("requests failed that no canary failed itself", lost.total(), "", 0)
        for (status, version), count in lost.items():
            bench.fact(f"  status {status} of version {version or '(none)'}", count, "")
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
