"""A real journal, a real handbook in memory, and a clock that is told the time."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from opsbook.book import Book, TextFiles, load
from opsbook.journal import Journal
from opsbook.security.room import Security

ROLES = """
roles:
  alice: [admin]
  ben: [{role: operator, environments: [staging]}]
  carol: [approver]
  dora: [{role: viewer, environments: [staging]}, {role: responder, environments: [production]}]
  otto: [auditor]
"""
CONTACTS = ", ".join(
    f"{name}: {{email: {name}@x.example}}" for name in ["alice", "ben", "carol", "dora", "erik", "otto"]
)


def handbook(roles: str = ROLES) -> Book:
    """Two environments, six people and a team; `erik` has no role."""
    files = {
        "opsbook.yaml": f"name: shop\nowner: alice\ncontacts: {{{CONTACTS}, team: {{members: [alice, ben]}}}}\n",
        "services/web.yaml": 'service: web\nrun: {command: ["true"]}\nsource: {path: .}\n',
        "environments/staging.yaml": "environment: staging\nentry: {port: 8081}\nservices: {web: {}}\n",
        "environments/production.yaml": "environment: production\nentry: {port: 8080}\nservices: {web: {}}\n",
        "security/roles.yaml": roles,
    }
    return load(TextFiles.of(files))


class TellableClock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at


@dataclass
class Vault:
    """A security room and what it stands on; `book` may be replaced at any time."""

    security: Security
    journal: Journal
    clock: TellableClock
    books: list[Book]

    def said(self) -> str:
        """Everything that was journaled and that is in the state, as text."""
        events = [event.to_json() for event in self.journal.events()]
        return f"{events} {self.journal.state.items()}"


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """A room of its own for each test."""
    clock, books = TellableClock(), [handbook()]
    with Journal.open(tmp_path / "journal.sqlite", keys=tmp_path / "keys", clock=clock) as journal:
        security = Security(lambda: books[-1], journal, clock.now, lambda: secrets.token_urlsafe(32))
        yield Vault(security, journal, clock, books)
