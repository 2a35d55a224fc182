"""The shop's customers: the load generator in its own process, and what it has counted."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opsbook.errors import Failed


class Customers:
    """A steady load on the shop: pages, streams, WebSockets and TCP connections."""

    def __init__(
        self,
        url: str,
        ledger: str,
        *,
        rate: float,
        connections: int,
        errors: Path,
        expect_errors_of: Sequence[str],
    ) -> None:
        self._report: dict[str, Any] = {}
        self._new = threading.Condition()
        self._errors = errors.open("w")
        load = {
            "--url": f"{url}/",
            "--rate": str(rate),
            "--connections": str(connections),
            "--stream-url": f"{url}/api/stream?events=10&every=0.1",
            "--websocket-url": f"{url.replace('http:', 'ws:')}/api/ws",
            "--lines-url": ledger,
            "--report": "0.25",
        }
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "opsbook.demo.load",
                "--control",
                *(word for pair in load.items() for word in pair),
                *(word for version in expect_errors_of for word in ("--expect-errors-of", version)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, answers: int, *, seconds: float = 20.0) -> Mapping[str, Any]:
        """The first report with so many more answers than now: that much has gone on. Raises Failed."""
        wanted = self.now.get("ok", 0) + answers
        return self._wait(lambda report: report.get("ok", 0) >= wanted, seconds)

    def wait_for_version(self, version: str, *, after: float, seconds: float = 20.0) -> Mapping[str, Any]:
        """The first report that has seen `version` answer after the wall-clock time `after`. Raises Failed."""

        def seen(report: Mapping[str, Any]) -> bool:
            return bool(report.get("versions", {}).get(version, {}).get("last_at", 0) > after)

        return self._wait(seen, seconds)

    @property
    def now(self) -> Mapping[str, Any]:
        """The last report: a quarter of a second old at most."""
        with self._new:
            return self._report

    def stop(self) -> Mapping[str, Any]:
        """Let them finish and leave; the final report. Raises Failed."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self._wait(lambda report: bool(report.get("final")), 5.0)

    def send_away(self) -> None:
        """End them at once."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _wait(self, enough: Any, seconds: float) -> Mapping[str, Any]:
        deadline = time.monotonic() + seconds
        with self._new:
            while not enough(self._report):
                left = deadline - time.monotonic()
                if left <= 0 or not self._new.wait(left):
                    raise Failed(
                        f"the load generator did not report what was expected within {seconds:.0f} s",
                        hint=f"its messages: {self._errors.name}",
                        details={"report": dict(self._report)},
                    )
            return self._report

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._new:
                self._report = json.loads(line)
                self._new.notify_all()
