"""What the benches share: a running shop to measure on, figures beside targets, and the peer or why there is none.

Run a bench with `python bench/NAME.py`, all of them with `make bench`. A bench ends with 1 when it misses a target.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from opsbook.cli.client import Address, Client
from opsbook.demo.commands import Commands, Ended
from opsbook.demo.customers import Customers
from opsbook.demo.stage import Stage
from opsbook.errors import Unreachable
from opsbook.server.state import Running

_LONGEST = 150.0  # seconds for one deployment, also where ten benches share two cores
_LOOK_EVERY = 0.03  # seconds; asking costs the server something, and the server is what is measured


def quick(description: str) -> bool:
    """Whether only a short run was asked for: it shows that the bench works, its figures mean little.

    Also prepares the environment of everything that is started: users have bytecode, so what is measured has it.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a few rounds only")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return bool(parser.parse_args().quick)


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


class House:
    """A folder with a handbook in `ops/`, and the opsbook that runs there."""

    def __init__(self, folder: Path, api_port: int) -> None:
        self.folder = folder
        self.commands = Commands(folder, lambda line: None)
        self.api = Client(lambda: Address(socket=self.server.socket))
        self._api_port = api_port

    @property
    def server(self) -> Running:
        """The server. Raises Unreachable."""
        found = Running.read(self.folder / ".opsbook")
        if found is None:
            raise Unreachable("opsbook does not run", where=str(self.folder))
        return found

    def type(self, *words: str) -> Ended:
        """Run `opsbook ...`; ends the bench when it fails, for then there is nothing to measure."""
        ended = self.commands.run(*words)
        if ended.code:
            sys.exit(f"opsbook {' '.join(words)} ended with {ended.code}:\n{ended.output}")
        return ended

    def ask(self, what: str, *, outcome: str = "succeeded", **body: Any) -> Mapping[str, Any]:
        """Ask the API for a change (`deployments`, `rollbacks`, ...) and wait for its end; the deployment."""
        answer = self.api.post(f"/api/deployment/{what}", body)
        return self.ended(answer["deployments"][0]["id"], outcome)

    def ended(self, name: str, outcome: str = "succeeded") -> Mapping[str, Any]:
        """Wait for the end of a deployment; ends the bench when it has another `outcome`."""
        deadline = time.monotonic() + _LONGEST
        while True:
            found: Mapping[str, Any] = self.api.get(f"/api/deployment/deployments/{name}")
            if found["finished_at"] is not None or time.monotonic() > deadline:
                break
            time.sleep(_LOOK_EVERY)
        if found["outcome"] != outcome:
            sys.exit(
                f"{name} of {found['service']} is {found['outcome'] or found['phase']}: {found['reason']}"
            )
        return found

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """opsbook runs as long as the block lasts; nothing of it runs afterwards."""
        try:
            self.type("up", "--detach", "--port", str(self._api_port))
            yield
        finally:
            self.commands.run("down", "--services")


class Shop(House):
    """The shop of the examples, deployed by opsbook on ports of its own."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.folder, stage.api_port)
        self.stage = stage

    def new_version(self, service: str, version: str) -> str:
        """Change the source of `service`; returns `version`."""
        self.stage.write_version(service, version)
        return version

    @contextlib.contextmanager
    def customers(self, *, rate: float, connections: int = 50) -> Iterator[Customers]:
        """Customers who stay as long as the block lasts."""
        ledger = self.commands.service("ledger")["url"]
        errors = self.stage.folder / "customers.log"
        customers = Customers(
            self.stage.url,
            ledger,
            rate=rate,
            connections=connections,
            errors=errors,
            expect_errors_of="no version",  # an empty one would excuse the proxy's own errors, which name none
        )
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
        with shop.up():
            shop.type("deploy", *(services or ("api", "ledger", "web", "worker")), "--to", "local")
            yield shop
    finally:
        stage.remove()
