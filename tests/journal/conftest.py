"""The journal's tests run on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsbook.journal import Journal, register

HAPPENED = register("test.happened", "Something happened in a test", {"n": "which one"}).name
OTHER = register("test.other", "Something else happened in a test").name


class StoppedClock:
    """A clock that stands where it is put."""

    def __init__(self, at: float = 1_800_000_000.0) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own: a path, then a PostgreSQL URL."""
    if request.param == "sqlite":
        yield str(tmp_path / "journal.sqlite")
        return
    yield request.getfixturevalue("postgresql_database")


@pytest.fixture
def open_journal(url: str, tmp_path: Path, clock: StoppedClock) -> Iterator[Callable[..., Journal]]:
    """Opens the test's database, any number of times; closes all at the end."""
    opened: list[Journal] = []

    def open_(**options: Any) -> Journal:
        journal = Journal.open(url, **({"keys": tmp_path / "keys", "clock": clock} | options))
        opened.append(journal)
        return journal

    yield open_
    for journal in opened:
        journal.close()


@pytest.fixture
def journal(open_journal: Callable[..., Journal]) -> Journal:
    return open_journal()


@pytest.fixture
def tamper(url: str) -> Callable[..., int]:
    """Runs a statement behind the journal's back, with the guards off; returns how many rows it changed."""

    def change(statement: str, *values: Any) -> int:
        if "://" in url:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("SET search_path TO opsbook")
                connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
                return connection.execute(statement.replace("?", "%s"), values).rowcount
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(url, isolation_level=None)) as connection:
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            ).fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            return connection.execute(statement, values).rowcount

    return change
