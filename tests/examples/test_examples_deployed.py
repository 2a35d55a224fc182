"""opsbook deploys, upgrades and rolls back programs that were never made for it, typed as a new user would."""

from __future__ import annotations

import json
import shutil
import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsbook.demo.commands import Commands, Ended
from opsbook.demo.stage import free_ports

EXAMPLES = Path(__file__).parents[2] / "examples"


class Place:
    """A copy of an example with opsbook running in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output: list[str] = []
        self.commands = Commands(folder, self.output.append)

    def type(self, *words: str) -> Ended:
        ended = self.commands.run(*words)
        assert ended.code == 0, f"opsbook {' '.join(words)} ended with {ended.code}:\n{ended.output}"
        return ended

    def url(self, service: str) -> str:
        url: str = self.commands.service(service)["url"]
        return url

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[[str], Place]]:
    """Brings up opsbook in a copy of an example; everything ends with the test."""
    places: list[Place] = []

    def make(example: str) -> Place:
        folder = tmp_path / "x"
        shutil.copytree(EXAMPLES / example, folder)
        made = Place(folder)
        entry, api = free_ports(2)
        made.replace("ops/environments/local.yaml", "8080", str(entry))
        places.append(made)
        made.type("check")
        made.type("up", "--detach", "--port", str(api))
        return made

    yield make
    for made in places:
        made.commands.run("down", "--services")


def answer(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


@pytest.mark.parametrize(
    ("example", "service", "program", "file", "old", "new"),
    [
        ("hello", "hello", "", "hello/app.py", "Hello from", "Good morning from"),
        ("foreign/flask", "flask", "", "app/app.py", "Flask version 1", "Flask version 2"),
        ("foreign/node", "node", "node", "app/server.js", "Node version 1", "Node version 2"),
        ("foreign/static", "static", "", "pages/index.html", "Static version 1", "Static version 2"),
    ],
)
def test_a_web_program_is_deployed_upgraded_and_rolled_back(
    place: Callable[[str], Place], example: str, service: str, program: str, file: str, old: str, new: str
) -> None:
    """From a handbook of under 20 lines, without a line in the program."""
    if program and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    here = place(example)
    here.type("deploy", service, "--to", "local")
    url = here.url(service)
    assert old in answer(url)
    here.replace(file, old, new)
    here.type("deploy", service, "--to", "local", "--version", "2.0")
    assert new in answer(url)
    here.type("rollback", service, "--in", "local")
    assert old in answer(url)


def test_redis_is_deployed_upgraded_and_rolled_back(place: Callable[[str], Place]) -> None:
    """A TCP service whose upgrade is a change of its command."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    here = place("foreign/redis")
    here.type("deploy", "redis", "--to", "local")
    url = here.url("redis")
    assert ask_redis(url, "PING") == "+PONG"
    assert "maxmemory 0" in ask_redis(url, "CONFIG GET maxmemory")
    here.replace("ops/services/redis.yaml", '"--save"', '"--maxmemory", "9000000", "--save"')
    here.type("deploy", "redis", "--to", "local", "--version", "2.0")
    assert "maxmemory 9000000" in ask_redis(url, "CONFIG GET maxmemory")
    here.type("rollback", "redis", "--in", "local")
    assert "maxmemory 0" in ask_redis(url, "CONFIG GET maxmemory")


def ask_redis(url: str, command: str) -> str:
    """The answer in one line, without the lengths of its parts."""
    host, _, port = url.removeprefix("tcp://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(command.encode() + b"\r\n")
        data = connection.recv(4096)
    return " ".join(line for line in data.decode().split("\r\n") if line and line[0] not in "*$")


def test_the_quick_start_works_as_typed(tmp_path: Path) -> None:
    """The lines of the README, one after the other."""
    outside = Commands(tmp_path, lambda line: None)
    assert outside.run("init", "x").code == 0
    here = Place(tmp_path / "x")
    entry, api = free_ports(2)
    here.replace("ops/environments/local.yaml", "port: 8080", f"port: {entry}")
    here.type("check")
    try:
        here.type("up", "--detach", "--port", str(api))
        here.type("deploy", "hello", "--to", "local")
        status = json.loads(here.commands.run("status", "--json").output)
        service = status["environments"]["local"]["services"]["hello"]
        assert {"release", "version", "instances", "healthy", "weights", "url"} <= service.keys()
        assert answer(service["url"])
    finally:
        assert here.commands.run("down", "--services").code == 0
    with pytest.raises(OSError, match="refused"):
        answer(service["url"])
