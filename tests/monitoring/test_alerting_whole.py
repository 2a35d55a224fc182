"""All of opsbook as it is started: what it does not run goes down, and people hear of that, once."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alerting_house import Got, Receiver, until

SERVICES = {"api": [], "web": ["api"], "worker": ["api"]}
RULES = """
groups:
  - name: symptoms
    rules:
      - {alert: Failing, expr: 'sum(probe_success) == 0', labels: {service: api, severity: critical}}
      - {alert: Failing, expr: 'sum(probe_success) == 0', labels: {service: web, severity: critical}}
      - {alert: Failing, expr: 'sum(probe_success) == 0', labels: {service: worker, severity: critical}}
      - {alert: Unrelated, expr: 'sum(probe_success) == 0', labels: {service: other, severity: critical}}
"""


class Backing:
    """A TCP service that opsbook does not run, and that can be stopped."""

    def __init__(self, port: int = 0) -> None:
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.close()

    def stop(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@contextmanager
def opsbook(folder: Path) -> Iterator[None]:
    """`opsbook up`, until the end of the block."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("OPSBOOK_", "DBOS"))}
    environ = kept | {"OPSBOOK_STATE": str(folder / "state"), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "opsbook", "--book", str(folder / "ops")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "up", "--port", "0"], env=environ, cwd="/", stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield
        assert process.poll() is None, (folder / "log").read_text()
    finally:
        # The proxy would outlive it, as it is meant to.
        subprocess.run(
            [*command, "down", "--services"], env=environ, cwd="/", check=False, capture_output=True, timeout=60
        )  # fmt: skip
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: a socket's path lies in it."""
    made = Path(tempfile.mkdtemp(prefix="opsbook-whole-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def written(folder: Path, backing: Backing, receiver: Receiver) -> None:
    """A storefront and a worker above an API, which needs a database that others run."""
    files = {
        "opsbook.yaml": f'name: shop\nchannels: {{hook: {{webhook: "{receiver.url}"}}}}\n',
        "environments/local.yaml": "environment: local\nentry: {port: 1}\n",
        "monitoring/symptoms.rules.yaml": RULES,
        "monitoring/notifications.yaml": "group_interval: 1s\n",
        "monitoring/probes.yaml": f"probes: [{{name: postgres, tcp: '127.0.0.1:{backing.port}', interval: 2s,"
        " timeout: 1s, failures: 3, environment: local, service: api}]\n",
    }
    for name, needs in SERVICES.items():
        files[f"services/{name}.yaml"] = (
            f"service: {name}\nrun: {{command: [serve], port: http}}\ndepends_on: [{', '.join(needs)}]\n"
        )
    for path, text in files.items():
        target = folder / "ops" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # The alerts of services are of their environment, as all that opsbook measures.
        target.write_text(text.replace("severity: critical}", "severity: critical, environment: local}"))


def names(got: list[Got]) -> list[tuple[str, str, str]]:
    """Status, name and service of what was told about services; machines of tests have alerts of their own."""
    told = [alert for one in got for alert in one.body["alerts"] if "service" in alert["labels"]]
    return sorted((one["status"], one["labels"]["alertname"], one["labels"]["service"]) for one in told)


@pytest.mark.timeout(120)
def test_a_backing_service_that_stops_pages_once_about_the_cause(folder: Path) -> None:
    """Not about who needs it and those above, although their alerts fire before; all else is told."""
    receiver, backing = Receiver(), Backing()
    written(folder, backing, receiver)
    with opsbook(folder):
        until((folder / "state" / "server.json").exists, 60)
        until(lambda: b"ready" in (folder / "log").read_bytes(), 60)
        backing.stop()
        until(lambda: any(name == "ProbeDown" for _, name, _ in names(receiver.got)), 60)
        again = Backing(backing.port)
        until(lambda: ("resolved", "ProbeDown", "api") in names(receiver.got), 60)
        again.stop()
    receiver.close()

    assert [
        ("firing", "ProbeDown", "api"),
        ("firing", "Unrelated", "other"),
        ("resolved", "ProbeDown", "api"),
        ("resolved", "Unrelated", "other"),
    ] == names(receiver.got)
