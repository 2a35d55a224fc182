"""Start the examples' programs as their handbooks say, without opsbook: they must be sound by themselves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass
class Program:
    """A program of an example that runs."""

    process: subprocess.Popen[str]
    port: int

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str = "/") -> str:
        with urllib.request.urlopen(self.url(path), timeout=10) as answer:
            return answer.read().decode()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        return self.process.wait(timeout=20)


class Programs:
    """Starts programs and ends them after the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[str]] = []

    def start(self, handbook: str, service: str, *, wait: bool = True, **env: str) -> Program:
        """Start `service` of the handbook `examples/HANDBOOK` on a free port, in the folder of its source."""
        root = EXAMPLES / handbook / "ops"
        definition: dict[str, Any] = yaml.safe_load((root / "services" / f"{service}.yaml").read_text())
        port = free_port()
        command = [word.replace("{port}", str(port)) for word in definition["run"]["command"]]
        command[0] = sys.executable if command[0] == "python" else command[0]
        cwd = root / definition["source"]["path"] if "source" in definition else self._folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "PATH": path, "PORT": str(port), "PYTHONDONTWRITEBYTECODE": "1", **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._running.append(process)
        if wait and definition["run"].get("port"):
            wait_for_port(port, process)
        return Program(process, port)

    def stop_all(self) -> None:
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(
                f"it ended with {process.returncode}: {process.stdout.read() if process.stdout else ''}"
            )
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"nothing listens on port {port} after 20 s")


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Programs of the examples, ended when the test is over."""
    running = Programs(tmp_path)
    yield running
    running.stop_all()
