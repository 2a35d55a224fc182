"""What the room works with: the three foundations, handed in by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from opsbook.book import Book
from opsbook.deployment.alarms import FiringAlert
from opsbook.deployment.budgets import Budget, Unlimited
from opsbook.deployment.records import Records
from opsbook.journal import Durable, Journal
from opsbook.world.hosts.faults import Boundary, no_fault
from opsbook.world.words import Address, Clock, Releases, Runtime, Secrets, Telemetry, Traffic

WriteVersion = Callable[[str, str, str, str], None]


class Synthetic(Protocol):
    """Requests that opsbook itself sends, a few a second."""

    def start(
        self, key: str, address: Address, host: str, path: str, rate: float, headers: Mapping[str, str]
    ) -> None: ...

    def stop(self, key: str) -> None: ...


class PinningSecrets(Secrets, Protocol):
    """Secrets that can keep the versions a release was made with, so that a rollback gets the same values."""

    def pin(self, names: Sequence[str]) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One opsbook: its book, its world, its journal."""

    book: Callable[[], Book]
    journal: Journal
    durable: Durable
    runtime: Runtime
    traffic: Traffic
    releases: Releases
    secrets: PinningSecrets
    telemetry: Telemetry
    synthetic: Synthetic
    clock: Clock
    root: Path  # the handbook's folder: relative sources start there
    free_port: Callable[[int], bool]
    new_token: Callable[[], str]  # that nobody can guess
    write_version: WriteVersion  # (environment, service, version, actor): into the handbook
    alerts: Callable[[str, str], Sequence[FiringAlert]] = lambda environment, service: ()
    budget: Callable[[str, str], Budget] = lambda environment, service: Unlimited()
    incident_open: Callable[[str], bool] = lambda name: False
    boundary: Boundary = no_fault  # told each place of a deployment where a crash matters; tests die there

    @property
    def records(self) -> Records:
        return Records(self.journal)
