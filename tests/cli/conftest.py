"""A real server shell with canned deployments, and two ways to call the command line: in process, and as users do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opsbook.cli.client import Address, Client
from opsbook.cli.main import run

CANNED = Path(__file__).with_name("canned_server.py")
PATIENCE = 60.0


def until(condition: Callable[[], Any], what: str) -> Any:
    """What `condition` gives once it is true."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {PATIENCE} s in vain for {what}")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@dataclass
class Place:
    """A handbook, and perhaps a server for it."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    until = staticmethod(until)

    @property
    def book(self) -> Path:
        return self.folder / "ops"

    @property
    def state(self) -> Path:
        return self.folder / ".opsbook"

    @property
    def api(self) -> Client:
        running = json.loads((self.state / "server.json").read_text())
        return Client(lambda: Address(socket=running["socket"]))

    def environ(self, **more: str) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("OPSBOOK_", "CLICOLOR"))
        }
        return {
            **kept,
            "OPSBOOK_STATE": str(self.state),
            "OPSBOOK_BOOK": str(self.book),
            "TERM": "xterm",
            **more,
        }

    def serve(self, port: int = 0) -> Place:
        command = [sys.executable, str(CANNED), str(self.book), str(self.state), str(port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.environ()
        )
        described = self.state / "server.json"
        until(lambda: described.exists() or self.process.poll() is not None, "the server to answer")
        assert self.process.poll() is None, self.process.communicate()[1].decode()
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode

    def opsbook(self, *arguments: str, feed: str = "", **environ: str) -> Result:
        """A process of its own, with pipes."""
        ended = subprocess.run(
            [sys.executable, "-m", "opsbook", *arguments],
            env=self.environ(**environ), cwd=self.folder, input=feed, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        return Result(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def place() -> Iterator[Place]:
    """A handbook without a server; its path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="faces-") as folder:
        yield from _places(Path(folder))


@pytest.fixture(scope="module")
def served() -> Iterator[Place]:
    """A handbook with a server that the tests of a module share."""
    with tempfile.TemporaryDirectory(prefix="faces-") as folder:
        for place in _places(Path(folder)):
            yield place.serve()


def _places(folder: Path) -> Iterator[Place]:
    place = Place(folder)
    for name in (
        "services/web",
        "services/api",
        "environments/production",
        "environments/staging",
        "opsbook",
    ):
        file = place.book / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    (place.book / "opsbook.yaml").write_text(
        "name: shop\nowner: ana\ncontacts: {ana: {email: ana@example.com}}\n"
    )
    try:
        yield place
    finally:
        if place.process is not None and place.process.poll() is None:
            place.end(signal.SIGKILL)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """``call(place, "status")``: in this process, which is faster."""

    def calling(place: Place | None, *arguments: str) -> Result:
        for name in [*os.environ]:
            if name.startswith(("OPSBOOK_", "CLICOLOR", "NO_COLOR")):
                monkeypatch.delenv(name)
        if place is not None:
            monkeypatch.chdir(place.folder)
        capsys.readouterr()
        code = run(list(arguments))
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return calling
