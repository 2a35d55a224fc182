"""What the acts of the tour share: the stage, the customers, the promises kept and broken, the figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opsbook.demo.commands import Commands, Ended
from opsbook.demo.customers import Customers
from opsbook.demo.narration import Narrator
from opsbook.demo.phone import Phone
from opsbook.demo.stage import Stage
from opsbook.errors import Failed

ERRING = "4.1"
"""The version of web that answers with errors of its own: they are counted apart, what else fails is not."""
LATE = "5.0"
"""Another one, whose errors begin when it has been deployed for a while."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A deployment of the tour, for the summary."""

    what: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Trial:
    """A canary of the tour: how many requests it hurt, and for how long it got any."""

    version: str
    answered: int
    hurt: int
    how: str  # they were hurt: errors or slow
    seconds: float | None  # from its first weight to weight 0 again; None when it kept its weight


class Play:
    """The state of the tour."""

    def __init__(self, stage: Stage, narrator: Narrator, *, rate: float, connections: int) -> None:
        self.stage = stage
        self.narrator = narrator
        self.commands = Commands(stage.folder, narrator.output)
        self.scenes: list[Scene] = []
        self.trials: list[Trial] = []
        self.switches: list[float] = []  # seconds in which traffic changed over
        self.rollback_seconds: float | None = None
        self.chain = ""
        self.broken = 0
        self.started = False
        self._rate, self._connections = rate, connections
        self._customers: Customers | None = None
        self._phone: Phone | None = None

    # --- promises

    def type(self, *words: str, expect: tuple[int, ...] = (0,)) -> Ended:
        """Run a command as a user would type it; its exit code is a promise."""
        self.narrator.command(words)
        ended = self.commands.run(*words)
        if ended.code not in expect:
            wanted = " or ".join(map(str, expect))
            self.broke(f"`opsbook {words[0]}` ends with {wanted}", f"it ended with {ended.code}")
        return ended

    def promise(self, what: str, kept: object, otherwise: str = "it is not so") -> None:
        """Say whether a promise was kept."""
        if kept:
            self.narrator.kept(what)
        else:
            self.broke(what, otherwise)

    def broke(self, promise: str, what_happened: str) -> None:
        self.broken += 1
        self.narrator.broken(promise, what_happened)

    # --- customers

    def open_shop(self, ledger: str) -> None:
        """Let the customers in."""
        self._customers = Customers(
            self.stage.url,
            ledger,
            rate=self._rate,
            connections=self._connections,
            errors=self.stage.folder / "customers.log",
            expect_errors_of=(ERRING, LATE),
        )

    @property
    def customers(self) -> Customers:
        if self._customers is None:
            raise Failed("the shop is not open yet")
        return self._customers

    def answer_phone(self) -> Phone:
        """The phone of who is on call; it takes pages from now on."""
        if self._phone is None:
            self._phone = Phone(self.stage.phone_port)
        return self._phone

    def hang_up(self) -> None:
        """It takes no more."""
        if self._phone is not None:
            self._phone.close()

    def nothing_lost(self) -> None:
        """Let a hundred more answers come, then promise that none has failed since the shop opened."""
        report = self.customers.wait_for(100)
        causes = ", ".join(f"{count} × {cause}" for cause, count in report["causes"].items())
        self.promise(f"{report['ok']:,} requests answered, none failed", report["failed"] == 0, causes)

    def close_shop(self) -> Mapping[str, Any]:
        """Let the customers finish; all that they counted, empty when there were none. Raises Failed."""
        if self._customers is None:
            return {}
        try:
            figures = self._customers.stop()
            (self.stage.folder / "customers.json").write_text(json.dumps(figures, indent=2))
            return figures
        finally:
            self._customers.send_away()
