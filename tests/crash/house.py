"""An opsbook as people run it: a process of its own, which can be killed at a given place and started again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workshop import APP, free_port, until

from opsbook.cli.client import Address, Client
from opsbook.errors import OpsbookError, Unreachable

STRATEGIES = """
strategies:
  switch: {type: blue-green, keep_previous: 0s, drain_timeout: 5s, watch: 0s, crash_loop: {restarts: 2, within: 60s}}
  warm: {type: blue-green, keep_previous: 2s, drain_timeout: 5s, watch: 0s, crash_loop: {restarts: 2, within: 60s}}
  roll: {type: rolling, drain_timeout: 5s, watch: 0s, crash_loop: {restarts: 2, within: 60s}}
  recreate: {type: recreate, drain_timeout: 5s, watch: 0s, crash_loop: {restarts: 2, within: 60s}}
  canary:
    type: canary
    steps: [{weight: 25%, hold: 2s}, {weight: 50%, hold: 2s}]
    min_samples: 20
    analysis: [{metric: error_rate, max: 5%}, {metric: error_rate, compare: stable}]
    keep_previous: 0s
    drain_timeout: 5s
    watch: 0s
    crash_loop: {restarts: 2, within: 60s}
"""


class House:
    """A handbook of one service on two instances, and the opsbook process for it."""

    def __init__(self, database: str | None = None, *, replicas: int = 2) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="opsbook-crash-"))  # short: a socket's path lies in it
        self.state = self.root / "state"
        self.port = free_port()
        self.database = database
        self.process: subprocess.Popen[bytes] | None = None
        self._newest = 0  # number of the last deployment
        self._write("ops/opsbook.yaml", "name: test\nowner: team\ncontacts: {team: {email: t@example.com}}\n")
        self._write(
            "ops/services/web.yaml",
            'service: web\nrun: {command: ["python", "app.py", "{port}"], port: http}\nsource: {path: ../web}\n'
            "health: {path: /healthz, interval: 200ms, start_timeout: 20s}\n",
        )
        self._write(
            "ops/environments/local.yaml",
            f"environment: local\nentry: {{port: {self.port}}}\nservices:\n  web: {{replicas: {replicas}}}\n",
        )
        self._write("ops/deployment/strategies.yaml", STRATEGIES)
        self._write("web/app.py", APP)
        self.behave("healthy")

    def _write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def behave(self, how: str) -> None:
        """What the next release of the app does."""
        self._write("web/behaviour.txt", how)

    # --- the process

    def start(self, crash_at: str = "", *, wait: bool = True) -> House:
        """``opsbook up``; `crash_at` as in OPSBOOK_CRASH_AT. Returns when it answers, or at once without `wait`."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("OPSBOOK_", "DBOS"))
        }
        environ = kept | {"OPSBOOK_STATE": str(self.state), "OPSBOOK_CRASH_AT": crash_at, "NO_COLOR": "1"}
        if self.database is not None:
            environ["OPSBOOK_DATABASE"] = self.database
        with (self.root / "opsbook.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "opsbook", "--book", str(self.root / "ops"), "up", "--port", "0"],
                env=environ,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            until(self.answers, 60, "opsbook to answer")
        return self

    def answers(self) -> bool:
        """Whether this very process answers; fails the test when it has ended."""
        assert self.process is not None
        assert self.process.poll() is None, f"opsbook ended by itself: {self.log()}"
        try:
            running = json.loads((self.state / "server.json").read_text())
            return running["pid"] == self.process.pid and bool(self.api.get("/api/health")["ok"])
        except (OSError, ValueError, OpsbookError):
            return False

    def log(self) -> str:
        return (self.root / "opsbook.log").read_text()[-3000:]

    @property
    def api(self) -> Client:
        running = json.loads((self.state / "server.json").read_text())
        return Client(lambda: Address(socket=running["socket"]))

    def kill(self) -> None:
        """SIGKILL to opsbook alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def died(self) -> None:
        """Wait until it has killed itself."""
        assert self.process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(40)
        assert -signal.SIGKILL == self.process.returncode, f"it did not pass the place: {self.last()}"

    def held(self) -> None:
        """Wait until it has stopped itself (STOP@...)."""
        assert self.process is not None
        stat = Path(f"/proc/{self.process.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 40, "opsbook to hold itself")

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def power_cut(self) -> None:
        """Everything at once: opsbook, the proxy, every instance."""
        assert self.process is not None
        for pid in (self.process.pid, *self.proxies(), *self.running()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        until(lambda: not self.proxies() and not self.running(), what="everybody to be gone")

    def end(self) -> None:
        """Nothing of it is left."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for _ in range(3):  # a parent may have made a child meanwhile
            for pid in (*self.proxies(), *self.running()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for folder in [self.root, *self.root.rglob("*")]:  # snapshots are read-only
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o700)
        shutil.rmtree(self.root, ignore_errors=True)

    # --- the verbs

    def deploy(self, version: str, strategy: str = "switch", *, when_busy: str | None = None) -> str:
        """Ask for `version`, which has content of its own; returns the deployment's id. opsbook may die of it."""
        self._write("web/note.txt", version)
        body = {"services": ["web"], "environment": "local", "version": version, "strategy": strategy}
        body |= {"when_busy": when_busy} if when_busy else {}
        try:
            name = str(self.api.post("/api/deployment/deployments", body)["deployments"][0]["id"])
        except Unreachable:  # it died of it before it had answered
            name = f"d-{self._newest + 1}"
        self._newest = int(name.removeprefix("d-"))
        return name

    def deployed(self, version: str, strategy: str = "switch") -> dict[str, Any]:
        return self.ended(self.deploy(version, strategy))

    def ended(self, name: str, seconds: float = 60.0) -> dict[str, Any]:
        """The deployment, once it has ended."""
        try:
            until(lambda: self.view(name)["outcome"], seconds)
        except AssertionError:
            raise AssertionError(f"{name} never ended: {self.last()} {self.log()}") from None
        return self.view(name)

    def view(self, name: str) -> dict[str, Any]:
        return dict(self.api.get(f"/api/deployment/deployments/{name}"))

    def web(self) -> dict[str, Any]:
        return dict(self.api.get("/api/status")["environments"]["local"]["services"]["web"])

    def last(self) -> str:
        """What is known of the newest deployment, for a failed test."""
        try:
            view = self.api.get("/api/deployment/deployments")["deployments"][0]
        except (OpsbookError, OSError, ValueError, IndexError) as error:
            return f"(no answer: {error}) {self.log()}"
        told = [f"{t['phase']}: {t['message']}" for t in view["transitions"]]
        return f"{view['id']} {view['phase']} {view['outcome']} waiting for {view['waiting_for']!r}; {told}"

    # --- the world, asked without opsbook

    def running(self) -> dict[int, str]:
        """Pid to instance of every process that carries the name of an instance of this state folder."""
        token = self._token("instances/.token")
        return {
            pid: variables[b"OPSBOOK_INSTANCE"].decode()
            for pid, variables in _environments()
            if token and variables.get(b"OPSBOOK_RUNTIME") == token
        }

    def proxies(self) -> list[int]:
        token = self._token("proxy/token")
        return [
            pid for pid, variables in _environments() if token and variables.get(b"OPSBOOK_PROXY") == token
        ]

    def _token(self, path: str) -> bytes:
        try:
            return (self.state / path).read_bytes().strip()
        except OSError:
            return b""


def _environments() -> Iterator[tuple[int, dict[bytes, bytes]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "environ").read_bytes()
            except OSError:
                continue  # it has ended, or is another user's
            yield int(entry.name), dict(p.partition(b"=")[::2] for p in text.split(b"\0") if b"=" in p)


def settled(house: House, version: str) -> None:
    """Everything is as it should be after `version` has won: routes, instances, proxy, lock, journal."""
    web = house.web()
    assert version == web["version"]
    assert {version: 100} == web["weights"]
    until(lambda: house.api.get("/api/deployment/locks")["locks"] == [], 5, "the lock to be given back")
    assert house.api.get("/api/journal/verify")["ok"]
    assert 1 == len(house.proxies())
    assert f'version: "{version}"' in (house.root / "ops/environments/local.yaml").read_text()
    wanted = {row["id"] for row in web["instances"]}
    serving = {row["id"] for row in web["instances"] if row["version"] == version}
    assert web["replicas"] == len(serving), web["instances"]
    assert not any(row["draining"] for row in web["instances"]), web["instances"]
    running = house.running()
    assert wanted == set(running.values()), f"wanted {wanted}, running {running}"
    assert len(wanted) == len(running), f"twice: {running}"


def answered(house: House, version: str) -> None:
    """Every new request is answered by `version`."""
    import http.client

    for _ in range(20):
        connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=10)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert (200, version) == (answer.status, answer.read().decode().strip())
        connection.close()


def moment(seconds: float = 0.2) -> None:
    """Let customers ask while opsbook is away."""
    time.sleep(seconds)
