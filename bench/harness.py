"""What the benches share: a running shop to measure on, figures beside targets, and the peer or why there is none.

Run a bench with `python bench/NAME.py`, all of them with `make bench`. A bench ends with 1 when it misses a target.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from opsbook.demo.commands import Commands, Ended
from opsbook.demo.customers import Customers
from opsbook.demo.stage import Stage


@dataclass
class Bench:
    """Collects the figures of one bench and prints each as soon as it is known."""

    name: str
    missed: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        print(f"\n{self.name} · {os.cpu_count()} cores · Python {sys.version.split()[0]}", flush=True)

    def figure(
        self, what: str, value: float, unit: str, target: float, *, at: Literal["most", "least"] = "most"
    ) -> None:
        """A figure with its target: `at` most, or at least, `target` `unit`."""
        met = value <= target if at == "most" else value >= target
        self.missed += not met
        sign = "<=" if at == "most" else ">="
        self._line(
            "ok" if met else "missed",
            what,
            f"{_number(value)} {unit}",
            f"target {sign} {_number(target)} {unit}",
        )

    def fact(self, what: str, value: float, unit: str) -> None:
        """A figure without a target."""
        self._line("", what, f"{_number(value)} {unit}", "")

    def ratio(self, what: str, ours: float, theirs: float, peer: str, unit: str) -> None:
        """Our figure beside a peer's; both are better when smaller."""
        times = theirs / ours if ours else math.inf
        self._line(
            "", what, f"{_number(ours)} {unit}", f"{peer}: {_number(theirs)} {unit}, {times:.1f} times ours"
        )

    def no_peer(self, peer: str, reason: str) -> None:
        """Say honestly that there is nothing to compare with."""
        self._line("", peer, "peer not measured", reason)

    def end(self) -> int:
        """The exit code: 1 when a target was missed."""
        return 1 if self.missed else 0

    def _line(self, state: str, what: str, value: str, beside: str) -> None:
        print(f"  {state:<6}  {what:<52}  {value:>20}  {beside}".rstrip(), flush=True)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0..1) of all do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def milliseconds(seconds: Sequence[float], share: float) -> float:
    """A percentile of seconds, in milliseconds."""
    return percentile(seconds, share) * 1000


class Shop:
    """The shop of the examples, deployed by opsbook on ports of its own."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.commands = Commands(stage.folder, lambda line: None)

    def type(self, *words: str) -> Ended:
        """Run `opsbook ...`; ends the bench when it fails, for then there is nothing to measure."""
        ended = self.commands.run(*words)
        if ended.code:
            sys.exit(f"opsbook {' '.join(words)} ended with {ended.code}:\n{ended.output}")
        return ended

    def new_version(self, service: str, version: str) -> str:
        """Change the source of `service`; returns `version`."""
        self.stage.write_version(service, version)
        return version

    @contextlib.contextmanager
    def customers(self, *, rate: float, connections: int = 50) -> Iterator[Customers]:
        """Customers who stay as long as the block lasts."""
        ledger = self.commands.service("ledger")["url"]
        errors = self.stage.folder / "customers.log"
        customers = Customers(self.stage.url, ledger, rate=rate, connections=connections, errors=errors)
        try:
            customers.wait_for(1)
            yield customers
        finally:
            customers.send_away()


@contextlib.contextmanager
def running_shop(*services: str) -> Iterator[Shop]:
    """opsbook runs, `services` (default: all) are deployed in `local`; everything is gone afterwards."""
    stage = Stage()
    shop = Shop(stage)
    try:
        shop.type("up", "--detach", "--port", str(stage.api_port))
        shop.type("deploy", *(services or ("api", "ledger", "web", "worker")), "--to", "local")
        yield shop
    finally:
        shop.commands.run("down", "--services")
        stage.remove()


def kubernetes() -> str:
    """Why the peer `kubectl` cannot be measured here; empty when it can."""
    if shutil.which("kubectl") is None:
        return "kubectl is not installed"
    if not os.environ.get("KUBECONFIG"):
        return "KUBECONFIG is not set"
    return ""
