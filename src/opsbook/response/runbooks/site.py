"""What the room works with, handed in by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from opsbook.book import Book
from opsbook.journal import Durable, Journal
from opsbook.promql.model import Result
from opsbook.world.commands.words import Runner
from opsbook.world.hosts.faults import Boundary, no_fault
from opsbook.world.words import Clock, Instance


class Queries(Protocol):
    """What answers PromQL."""

    def instant(self, query: str, at_ms: int) -> Result: ...


class Places(Protocol):
    """Where scripts run."""

    def here(self) -> Runner: ...

    def on(self, host: str) -> Runner: ...

    def beside(self, pid: int) -> Runner:
        """In the environment and the folder of a process. Raises Failed."""

    def end_all(self, token: str) -> int:
        """End what a crash left of a step; returns how many processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One opsbook, as runs see it.

    Args:
        book: fresh: as the files are now.
        instances: of a service in an environment, those that run.
        url_of: the address of a service in an environment; raises OpsbookError.
        status_of: the status that a request is answered with; see `world.hosts.web`.
        secret_values: every secret that output must not show.
        incident_runs: of each incident that is kept, by its id, its runs: they are kept too.
        log: is told what went wrong in the background, a line each.
    """

    book: Callable[[], Book]
    journal: Journal
    durable: Durable
    clock: Clock
    places: Places
    queries: Queries | None = None
    moment: Callable[[], float] | None = None
    instances: Callable[[str, str], Collection[Instance]] = lambda environment, service: ()
    url_of: Callable[[str, str], str] | None = None
    status_of: Callable[..., int] | None = None
    secret_values: Callable[[], Collection[str]] = lambda: ()
    incident_runs: Callable[[], Mapping[str, Collection[str]]] = dict
    log: Callable[[str], None] = lambda line: None
    boundary: Boundary = no_fault
