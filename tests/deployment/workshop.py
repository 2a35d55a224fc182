"""A whole opsbook in this process: real journal, real proxy, real processes, a handbook that tests write."""

from __future__ import annotations

import http.client
import shutil
import socket
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opsbook.deployment.alarms import FiringAlert
from opsbook.deployment.requests import DeployRequest
from opsbook.deployment.room import Deployments
from opsbook.deployment.site import Site
from opsbook.journal import Durable, Journal
from opsbook.server.handbook import Handbook
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.hosts.ports import port_is_free
from opsbook.world.hosts.tokens import new_token
from opsbook.world.releases.folder import FolderReleases
from opsbook.world.runtimes.process import ProcessRuntime
from opsbook.world.secrets.age import AgeSecrets
from opsbook.world.telemetry.engine import EmbeddedTelemetry
from opsbook.world.traffic.envoy import EnvoyTraffic
from opsbook.world.traffic.synthetic import SyntheticLoad
from opsbook.world.words import Target

APP = textwrap.dedent(
    '''
    """Answers with its version; behaves as behaviour.txt says."""
    import http.server, os, random, signal, sys, threading, time

    behaviour = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "behaviour.txt")).read().strip()
    if behaviour == "exits":
        print("no database here", flush=True)
        sys.exit(3)
    started = time.monotonic()
    if behaviour.startswith("crashes"):
        # Healthy for a moment, then gone, again and again.
        threading.Timer(float(behaviour.split()[1]), lambda: os._exit(7)).start()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one piece: who dies between its head and its body leaves what nobody can mend

        def do_GET(self):
            ill = behaviour == "never-healthy" and self.path == "/healthz"
            if self.path == "/slow":
                time.sleep(1.5)
            if behaviour.startswith("latency") and self.path != "/healthz":
                time.sleep(float(behaviour.split()[1]))
            if behaviour.startswith("errors") and self.path != "/healthz":
                ill = random.random() < float(behaviour.split()[1])
            if behaviour.startswith("one-path") and self.path == "/cart":
                ill = True
            body = (os.environ["OPSBOOK_VERSION"] + " " + os.environ.get("GREETING", "")).encode()
            self.send_response(503 if ill else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            print(self.path, flush=True)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = False
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("serving", os.environ["OPSBOOK_VERSION"], flush=True)
    server.serve_forever()
    '''
)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """Poll until `condition` is truthy; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what or condition}")


class Workshop:
    """One opsbook. `book` writes handbook files; `open` and `close` are a start and an end of opsbook."""

    def __init__(self, database: str | None = None) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="workshop-"))
        self.alerts: list[FiringAlert] = []  # that fire, for every service
        self.database = database
        self.port = free_port()
        self.state = self.root / ".opsbook"
        self.state.mkdir(mode=0o700)
        (self.root / "web").mkdir()
        (self.root / "web" / "app.py").write_text(APP)
        self.behave("healthy")
        self.book("opsbook.yaml", "name: test\nowner: team\ncontacts: {team: {email: team@example.com}}\n")
        self.service()
        self.environment()

    # --- the handbook

    def book(self, path: str, text: str) -> None:
        target = self.root / "ops" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def service(
        self, name: str = "web", extra: str = "", run: str = "", source: str = "{path: ../web}"
    ) -> None:
        self.book(
            f"services/{name}.yaml",
            f"service: {name}\ndescription: test\n"
            f'run: {{command: ["python", "app.py", "{{port}}"], port: http{run}}}\n'
            f"source: {source}\nhealth: {{path: /healthz, interval: 200ms, start_timeout: 3s}}\n{extra}",
        )

    def environment(self, services: str = "  web: {replicas: 2}\n", extra: str = "") -> None:
        self.book(
            "environments/local.yaml",
            f"environment: local\nentry: {{port: {self.port}}}\n{extra}services:\n{services}",
        )

    def behave(self, how: str, source: str = "web") -> None:
        """What the next release of the app does."""
        (self.root / source / "behaviour.txt").write_text(how)

    # --- opsbook

    def open(self) -> Workshop:
        self.stopping = threading.Event()
        self.clock = SystemClock()
        secrets = AgeSecrets(self.root / "ops" / "security" / "secrets", self.state)
        self.journal = Journal.open(
            self.database or self.state / "journal.sqlite",
            keys=self.state / "keys",
            clock=self.clock,
            mask=secrets.mask,
        )
        self.durable = Durable(self.database or self.state / "durable.sqlite")
        self.runtime = ProcessRuntime(self.state, secrets, self.clock)
        self.traffic = EnvoyTraffic(self.state / "proxy", self.clock, concurrency=1)
        self.handbook = Handbook(self.root / "ops", self.journal, self.clock, {})
        self.releases = FolderReleases(self.state / "releases", self.clock)
        self.telemetry = EmbeddedTelemetry(self.clock, envoy_stats=self.traffic.stats_text)
        self.synthetic = SyntheticLoad(self.clock)
        self.site = Site(
            book=self.handbook.current,
            journal=self.journal,
            durable=self.durable,
            runtime=self.runtime,
            traffic=self.traffic,
            releases=self.releases,
            secrets=secrets,
            telemetry=self.telemetry,
            synthetic=self.synthetic,
            new_token=new_token,
            clock=self.clock,
            root=self.root / "ops",
            free_port=port_is_free,
            write_version=self.handbook.write_version,
            alerts=lambda environment, service: tuple(self.alerts),
        )
        self.said: list[str] = []
        self.room = Deployments(self.site, self.stopping, self.said.append)
        self.room.start()
        self.telemetry.targets([Target("envoy", {})])
        self.telemetry.interval(0.5)
        return self

    def close(self, *, services: bool = False) -> None:
        self.stopping.set()
        self.durable.close(timeout=5.0)
        if services:
            self.room.stop_services()
        self.synthetic.close()
        self.telemetry.close()
        self.runtime.close()
        self.traffic.close()
        self.journal.close()

    def end(self) -> None:
        self.close(services=True)
        for folder in [self.root, *self.root.rglob("*")]:  # snapshots are read-only
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o700)
        for _ in range(50):  # what is just ending may still write a last file
            shutil.rmtree(self.root, ignore_errors=True)
            if not self.root.exists():
                return
            time.sleep(0.1)
        raise AssertionError(f"{self.root} cannot be removed: {list(self.root.rglob('*'))[:5]}")

    # --- the verbs, waited for

    def deploy(
        self, version: str | None = None, *services: str, wait: bool = True, **options: Any
    ) -> dict[str, Any]:
        self.handbook.refresh()
        request = DeployRequest(
            services=services or ("web",), environment="local", version=version, **options
        )
        rollout = self.room.requests.deploy(request, "ana")
        if not wait:
            return self.room.view(rollout.deployments[-1])
        return [self.ended(name) for name in rollout.deployments][-1]

    def rollback(self, to: str | None = None, service: str = "web") -> dict[str, Any]:
        return self.ended(self.room.requests.rollback(service, "local", to, "ana").deployments[0])

    def ended(self, name: str, seconds: float = 90.0) -> dict[str, Any]:
        until(lambda: self.room.view(name)["outcome"], seconds, f"{name} to end")
        return self.room.view(name)

    def in_phase(self, name: str, *phases: str) -> None:
        until(lambda: self.room.view(name)["phase"] in phases, what=f"{name} to be in {phases}")

    def get(self, path: str = "/", port: int | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode().strip()
        finally:
            connection.close()

    def placement(self, service: str = "web") -> Any:
        return self.site.records.placement("local", service)


class Customers:
    """Requests without a pause from a few keep-alive connections; every failure is kept."""

    def __init__(self, workshop: Workshop, connections: int = 4, path: str = "/") -> None:
        self.workshop = workshop
        self.path = path
        self.sent = 0
        self.failures: list[str] = []
        self.versions: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(connections)]

    def __enter__(self) -> Customers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.workshop.port, timeout=10)
        while not self._stop.is_set():
            self.sent += 1
            try:
                connection.request("GET", self.path)
                answer = connection.getresponse()
                body = answer.read().decode().strip()
                if answer.status != 200:
                    self.failures.append(f"{answer.status} {body}")
                elif not self.versions or self.versions[-1] != body:
                    self.versions.append(body)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            time.sleep(0.005)
        connection.close()
