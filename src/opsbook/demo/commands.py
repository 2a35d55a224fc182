"""Typing opsbook's commands as a user would, and reading what they answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsbook.errors import Failed

_LONGEST = 120.0  # seconds; every command of the tour ends by itself long before


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    words: tuple[str, ...]
    code: int
    output: str
    seconds: float


class Commands:
    """Runs `opsbook ...` in the tour's folder.

    Args:
        folder: where the user stands. show: called with each line of output as it comes.
    """

    def __init__(self, folder: Path, show: Callable[[str], None]) -> None:
        self._folder = folder
        self._show = show
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OPSBOOK_")}
        self._env: Mapping[str, str] = {**inherited, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}

    def run(self, *words: str) -> Ended:
        """Run a command to its end and show what it prints."""
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "opsbook", *words],
            cwd=self._folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is the tour's business: it tidies up
        )
        watchdog = threading.Timer(_LONGEST, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        lines = []
        try:
            assert process.stdout is not None
            # The detached server keeps no copy of this pipe, so its end is the command's end.
            with process.stdout:
                for line in process.stdout:
                    lines.append(line)
                    self._show(line.rstrip("\n"))
            code = process.wait()
        finally:
            watchdog.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
        return Ended(words, code, "".join(lines), time.monotonic() - started)

    def read(self, *words: str, expect: tuple[int, ...] = (0,)) -> Any:
        """What a command that reads prints as JSON.

        Raises:
            Failed: it ended with another code than expected.
        """
        return json.loads(self._printed(*words, expect=expect))

    def traffic(self, name: str) -> list[dict[str, Any]]:
        """The journal's entries about where requests to a service go, oldest first. Raises Failed."""
        printed = self._printed("journal", "show", "--kind", "traffic.serving", "--in", f"local/{name}")
        return [json.loads(line) for line in printed.splitlines()]

    def _printed(self, *words: str, expect: tuple[int, ...] = (0,)) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "opsbook", *words, "--json"],
            cwd=self._folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONGEST,
            check=False,
        )
        if ended.returncode not in expect:
            raise Failed(f"opsbook {' '.join(words)} ended with {ended.returncode}: {ended.stderr.strip()}")
        return ended.stdout

    def service(self, name: str) -> dict[str, Any]:
        """The service as `opsbook status` has it now. Raises Failed."""
        found: dict[str, Any] = self.read("status", "local")["environments"]["local"]["services"][name]
        return found

    def last_deployment(self, name: str) -> dict[str, Any]:
        """The newest deployment of a service, as `opsbook deployments show` has it. Raises Failed."""
        listed = self.read("deployments", "list")
        newest = next(one for one in listed["deployments"] if one["service"] == name)
        found: dict[str, Any] = self.read("deployments", "show", str(newest["id"]))
        return found
