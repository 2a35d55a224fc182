"""Debian's prometheus with its prometheus-alertmanager, as a pair that can be killed and started again."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROGRAMS = ("prometheus", "prometheus-alertmanager")


def missing() -> str:
    """Why the pair cannot be measured; empty: it can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else ""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


class Pair:
    """Both programs, with their data in `folder`.

    Args:
        scrape, evaluate, group_wait: as Prometheus writes durations.
        targets: addresses that are scraped. rules: of one group.
        webhook: where alerts are sent to, each by itself.
    """

    def __init__(
        self,
        folder: Path,
        *,
        scrape: str,
        evaluate: str,
        group_wait: str,
        targets: Sequence[str],
        rules: Sequence[Mapping[str, Any]],
        webhook: str,
    ) -> None:
        self.folder = folder
        self.port, self._manager_port = free_ports(2)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._write("rules.yml", {"groups": [{"name": "bench", "rules": list(rules)}]})
        manager = {"static_configs": [{"targets": [f"127.0.0.1:{self._manager_port}"]}]}
        self._write(
            "prometheus.yml",
            {
                "global": {
                    "scrape_interval": scrape, "scrape_timeout": scrape, "evaluation_interval": evaluate,
                },
                "rule_files": ["rules.yml"],
                "alerting": {"alertmanagers": [manager]},
                "scrape_configs": [{"job_name": "bench", "static_configs": [{"targets": list(targets)}]}],
            },
        )  # fmt: skip
        route = {
            "receiver": "hook", "group_by": ["..."], "group_wait": group_wait, "group_interval": "1s",
            "repeat_interval": "4h",
        }  # fmt: skip
        hook = {"name": "hook", "webhook_configs": [{"url": webhook}]}
        self._write("alertmanager.yml", {"route": route, "receivers": [hook]})

    def _write(self, name: str, content: object) -> None:
        (self.folder / name).write_text(json.dumps(content))  # which is YAML, too

    def start(self, *, wait: bool = True) -> None:
        """Start both; with `wait` return when both answer."""
        commands = (
            [
                "prometheus-alertmanager", f"--config.file={self.folder}/alertmanager.yml",
                f"--storage.path={self.folder}/manager", f"--web.listen-address=127.0.0.1:{self._manager_port}",
                "--cluster.listen-address=", "--log.level=error",
            ],
            [
                "prometheus", f"--config.file={self.folder}/prometheus.yml",
                f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=error",
            ],
        )  # fmt: skip
        with (self.folder / "output").open("ab") as output:
            self._processes = [subprocess.Popen(one, stdout=output, stderr=output) for one in commands]
        deadline = time.monotonic() + 60
        while wait and not (self._ready(self.port) and self._ready(self._manager_port)):
            if time.monotonic() > deadline:
                sys.exit(f"the peer did not start: {(self.folder / 'output').read_text()[-2000:]}")
            time.sleep(0.05)

    def _ready(self, port: int) -> bool:
        return self._ask(port, "/-/ready")[0] == 200

    def firing(self) -> int:
        """How many alerts fire, by Prometheus; 0 while it does not answer."""
        status, body = self._ask(self.port, "/api/v1/alerts")
        if status != 200:
            return 0
        return sum(one["state"] == "firing" for one in json.loads(body)["data"]["alerts"])

    @staticmethod
    def _ask(port: int, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def kill(self) -> None:
        """SIGKILL to both."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def stop(self) -> None:
        """End both."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
