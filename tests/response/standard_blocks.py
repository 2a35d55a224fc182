"""Blocks of the standard pages, run as opsbook runs them, against real servers of their own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from opsbook.book.runbook_pages import read_runbook
from opsbook.book.runbook_parameters import spelled
from opsbook.response.standard import standard_pages
from opsbook.world.commands.local import LocalRunner
from opsbook.world.commands.words import Script


def run(page: str, block: str, given: Mapping[str, str]) -> tuple[bool, str]:
    """Whether the block went well, and what it said. `given`: variables beside the defaults of the parameters."""
    runbook, _, problems = read_runbook(page, standard_pages()[page].runbook.encode())
    assert runbook is not None, problems
    found = runbook.block(block)
    assert found is not None, block
    defaults = {
        name.upper(): spelled(spec.default)
        for name, spec in runbook.head.params.items()
        if spec.default is not None
    }
    script = Script("bash", found.script, {**defaults, **given}, found.timeout, "")
    outcome = LocalRunner().run(script, lambda chunk: None, lambda: False)
    return outcome.ok, outcome.output


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server that only its owner reaches, by a socket in `folder`."""

    folder: Path

    @property
    def where(self) -> dict[str, str]:
        """How programs find it, as the superuser."""
        return {"PGHOST": str(self.folder), "PGUSER": "postgres", "PGDATABASE": "postgres"}

    def ask(self, *statements: str, user: str = "postgres") -> str:
        """The answer, one row a line."""
        command = [
            "psql",
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            *(part for one in statements for part in ("-c", one)),
        ]
        environment = {**os.environ, **self.where, "PGUSER": user}
        return subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    def begin(self, statements: str, *, user: str, application: str) -> subprocess.Popen[str]:
        """A session that stays open after the statements until its input is closed."""
        session = subprocess.Popen(
            ["psql", "-XAtq"],
            env={**os.environ, **self.where, "PGUSER": user, "PGAPPNAME": application},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert session.stdin is not None
        session.stdin.write(statements)
        session.stdin.flush()
        return session


@contextmanager
def postgres(*settings: str) -> Iterator[Postgres]:
    """A PostgreSQL for a while; skips where there is none."""
    if not (programs := sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))) or not shutil.which(
        "psql"
    ):
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # short, for the socket's sake
    as_owner: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        owner = next((user for user in pwd.getpwall() if user.pw_name == "postgres"), pwd.getpwnam("nobody"))
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        as_owner = ["setpriv", "--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups"]
    bin_folder = programs[-1].parent

    def act(*command: str) -> None:
        subprocess.run([*as_owner, *command], check=True, cwd="/", stdout=subprocess.DEVNULL)

    try:
        act(
            str(bin_folder / "initdb"),
            "-D",
            f"{folder}/data",
            "-U",
            "postgres",
            "-A",
            "trust",
            "-N",
            "--no-instructions",
        )
        options = ["listen_addresses=''", f"unix_socket_directories='{folder}'", "fsync=off", *settings]
        started = " ".join(f"-c {option}" for option in options)
        act(
            str(bin_folder / "pg_ctl"),
            "-D",
            f"{folder}/data",
            "-l",
            f"{folder}/log",
            "-w",
            "-o",
            started,
            "start",
        )
        try:
            yield Postgres(folder)
        finally:
            act(str(bin_folder / "pg_ctl"), "-D", f"{folder}/data", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
