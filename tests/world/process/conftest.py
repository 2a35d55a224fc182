"""Real runtimes over real processes, all of which are gone after each test."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opsbook.world.hosts import processes
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.runtimes.process import ProcessRuntime
from opsbook.world.runtimes.process_environment import RUNTIME
from opsbook.world.secrets.age import AgeSecrets
from opsbook.world.words import HealthCheck, Instance, Workload

SERVER = """
import os, socket
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
print("ready", os.getpid(), flush=True)
while True:
    connection, _ = server.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
    connection.close()
"""


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Ask again and again until `condition` says something true; what it said."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return found


class World:
    """A state folder, its runtimes, and short words for what tests do with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.secrets = AgeSecrets(folder / "secrets", self.state, environ={})
        self.opened: list[ProcessRuntime] = []
        self.until = until

    def runtime(self, **more: Any) -> ProcessRuntime:
        secrets = AgeSecrets(self.folder / "secrets", self.state, environ={})
        runtime = ProcessRuntime(self.state, secrets, SystemClock(), **more)
        self.opened.append(runtime)
        return runtime

    def supervised(self, **more: Any) -> tuple[ProcessRuntime, list[Instance]]:
        runtime = self.runtime(**more)
        changes: list[Instance] = []
        runtime.adopt()
        runtime.supervise(changes.append)
        return runtime, changes

    def work(self, program: str = SERVER, **more: Any) -> Workload:
        values: dict[str, Any] = {
            "service": "web",
            "environment": "test",
            "release": "web-1",
            "version": "1",
            "command": (sys.executable, "-c", program),
            "folder": None,
            "health": HealthCheck("tcp"),
            "stop_grace": 5.0,
        }
        return Workload(**{**values, **more})

    def family(self) -> list[int]:
        """Every process that carries this state folder's mark."""
        return sorted(processes.carriers(RUNTIME, (self.state / "instances" / ".token").read_text()))

    def log(self, instance: str) -> str:
        return (self.state / "logs" / "test" / "web" / f"{instance}.log").read_text()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    for runtime in world.opened:
        runtime.close()
    last = ProcessRuntime(world.state, world.secrets, SystemClock())
    last.adopt()
    for instance in last.instances():
        last.stop(instance.id, grace=0)
    last.close()
    assert world.family() == []
