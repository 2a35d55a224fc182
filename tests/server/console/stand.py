"""A console on a real journal, a real handbook, real gates, sessions and roles; only the machines are pretended.

`Scene` plays the part of the workflow: it moves deployments from phase to phase as the real one records them, and the
real judge says what it thinks of simulated requests.
"""

from __future__ import annotations

import random
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn

from opsbook.deployment.analysis import AnalysisState, Counts, Reading, Settings, judge
from opsbook.deployment.keeping import point, points_key
from opsbook.deployment.model import (
    CanaryStep,
    Deployment,
    Entry,
    Group,
    Hold,
    Member,
    Outcome,
    Phase,
    Placement,
    Release,
    Rule,
    Strategy,
    Transition,
    Warm,
)
from opsbook.deployment.pages.source import Source
from opsbook.deployment.records import COUNTER, deployment_key, open_key, placement_key, release_key
from opsbook.deployment.room import Deployments
from opsbook.deployment.site import Site
from opsbook.journal import Journal
from opsbook.security.room import Security
from opsbook.server import listening
from opsbook.server.access import Access
from opsbook.server.app import create_app
from opsbook.server.console.console import Console, Parts
from opsbook.server.handbook import Handbook
from opsbook.server.rooms import Rooms
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.words import (
    Address,
    BackendState,
    EndpointState,
    Exit,
    Instance,
    InstanceState,
    TrafficState,
)

BOOK = {
    "opsbook.yaml": """name: shop
owner: team-shop
contacts:
  ana: {name: Ana, email: ana@shop.example}
  ben: {name: Ben, email: ben@shop.example}
  dora: {name: Dora, email: dora@shop.example}
  team-shop: {members: [ana, ben]}
""",
    "security/roles.yaml": """roles:
  ana: [operator]
  ben: [approver, operator]
  dora: [viewer]
""",
    "deployment/strategies.yaml": """strategies:
  careful:
    type: canary
    steps: [{weight: 10%, hold: 5m}, {weight: 50%, hold: 5m}]
    analysis:
      - {metric: error_rate, max: 2%}
      - {metric: error_rate, compare: stable}
    keep_previous: 10m
""",
    "deployment/checklist.md": """---
environments: [production]
---
## Pre-Deployment

- [ ] Customer service knows what will change

## Post-Deployment

- [ ] The storefront has been looked at
""",
    "deployment/freezes.yaml": """freezes:
  - name: year-end
    reason: Half of the team is away
    environments: [production]
    from: 2090-12-20T18:00
    until: 2091-01-04T08:00
""",
}
SERVICES = {
    "api": ("Products and prices", "/api"),
    "checkout": ("Baskets and payments", "/checkout"),
    "search": ("Finds products", "/search"),
    "web": ("The storefront", "/"),
}
RULES = (Rule(metric="error_rate", max=0.02), Rule(metric="error_rate", compare="stable"))
CAREFUL = Strategy(
    name="careful",
    type="canary",
    steps=(CanaryStep(weight=10, hold=300.0), CanaryStep(weight=50, hold=300.0)),
    analysis=RULES,
)


def write_book(folder: Path, services: Mapping[str, tuple[str, str]] = SERVICES) -> None:
    """The handbook; production is protected."""
    for name, text in BOOK.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for kind in ("services", "environments"):
        (folder / kind).mkdir(exist_ok=True)
    (folder.parent / "source").mkdir(exist_ok=True)
    (folder.parent / "source" / "app.py").write_text("print('hello')\n")
    for name, (what, path) in services.items():
        (folder / "services" / f"{name}.yaml").write_text(
            f"service: {name}\nowner: team-shop\ndescription: {what}\n"
            f'run: {{command: ["python", "app.py"], port: http, env: {{LEVEL: info}}}}\n'
            f"source: {{path: ../source}}\nroute: {{path: {path}}}\n"
        )
    for number, name in enumerate(("staging", "production")):
        extra = (
            "promote_from: staging\nrequire_promotion: false\nprotect: {approvals: 1, approvers: [team-shop]}\n"
            if name == "production"
            else ""
        )
        replicas = 3 if name == "production" else 1
        lines = "".join(
            f'  {service}: {{version: "2.0", replicas: {replicas}, strategy: careful}}\n'
            for service in services
        )
        (folder / "environments" / f"{name}.yaml").write_text(
            f"environment: {name}\nentry: {{port: {18080 + number}}}\n{extra}services:\n{lines}"
        )


class World:
    """Instances and a proxy, as they are set."""

    def __init__(self) -> None:
        self.running: dict[str, Instance] = {}
        self.healthy: dict[str, bool] = {}

    def runtime(self) -> Any:
        def instances(environment: str | None = None, service: str | None = None) -> tuple[Instance, ...]:
            found = self.running.values()
            return tuple(
                i for i in found if environment in (None, i.environment) and service in (None, i.service)
            )

        return SimpleNamespace(instances=instances, log_tail=lambda name, lines=20: ())

    def traffic(self) -> Any:
        def observe() -> TrafficState:
            endpoints = tuple(
                EndpointState(i.address, self.healthy.get(i.id, True), 0)
                for i in self.running.values()
                if i.address
            )
            return TrafficState(True, 7, {"all": BackendState("all", endpoints, 0)}, 1, "1.40")

        return SimpleNamespace(observe=observe)


class Stand:
    """The whole, served on a free port of this machine."""

    def __init__(self, services: Mapping[str, tuple[str, str]] = SERVICES) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="console-"))
        write_book(self.root / "ops", services)
        self.clock = SystemClock()
        self.stopping = threading.Event()
        self.world = World()
        self.journal = Journal.open(
            self.root / "journal.sqlite", keys=self.root / "keys", clock=self.clock, mask=None
        )
        self.handbook = Handbook(self.root / "ops", self.journal, self.clock, {"OPSBOOK_WORKING_TREE": "1"})
        self.handbook.fresh()
        nothing: Any = lambda *args, **named: None  # noqa: E731 - what nobody asks here
        self.site = Site(
            book=self.handbook.fresh,
            journal=self.journal,
            durable=SimpleNamespace(workflow=nothing, start=nothing),  # type: ignore[arg-type]
            runtime=self.world.runtime(),
            traffic=self.world.traffic(),
            releases=SimpleNamespace(resolve=lambda source, name, version: "sha256:0"),  # type: ignore[arg-type]
            secrets=SimpleNamespace(version=nothing, mask=lambda text: text),  # type: ignore[arg-type]
            telemetry=SimpleNamespace(named=nothing),  # type: ignore[arg-type]
            synthetic=SimpleNamespace(stop=nothing),  # type: ignore[arg-type]
            clock=self.clock,
            root=self.root / "ops",
            free_port=lambda port: True,
            new_token=lambda: secrets.token_urlsafe(16),
            write_version=nothing,
        )
        self.room = Deployments(self.site, self.stopping, nothing)
        self.security = Security(
            self.handbook.current, self.journal, self.clock.now, lambda: secrets.token_urlsafe(32)
        )
        self.source = Source(
            room=self.room,
            verbs=self.room.requests,
            records=self.site.records,
            gates=self.room.gatekeeper,
            book=self.handbook.fresh,
            now=self.clock.now,
        )
        self._build()
        self.address = ""
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def _build(self) -> None:
        """What answers."""
        self.console = Console(
            Parts(
                source=self.source,
                journal=self.journal,
                handbook=self.handbook,
                security=self.security,
                stopping=self.stopping,
            )
        )
        rooms = Rooms(
            routers=(),
            events=self.journal,
            status=self.room.status,
            health=dict,
            stop=lambda services: None,
            security=self.security,
        )
        self.app = create_app(rooms)
        self.console.install(self.app)
        self.access = Access(self.app, token="server-token", security=self.security)

    def serve(self) -> str:
        """Begin to answer; the address."""
        with listening.bind_tcp("127.0.0.1", 0) as door:
            return self._serve(door.dup())

    def _serve(self, door: socket.socket) -> str:
        config = uvicorn.Config(
            self.access,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            http="h11",  # type: ignore[arg-type]
        )
        config.timeout_graceful_shutdown = 1
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [door]}, daemon=True)
        self._thread.start()
        self.port = door.getsockname()[1]
        deadline = time.monotonic() + 20
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        return f"http://127.0.0.1:{self.port}"

    def serve_again(self) -> None:
        """Answer on the same port as before, as another start of opsbook does."""
        self._build()
        with listening.bind_tcp("127.0.0.1", self.port) as door:
            self._serve(door.dup())

    def hang_up(self) -> None:
        """Answer nobody any more."""
        if self._server is not None and self._thread is not None:
            self.console.live.close()
            self._server.should_exit = True
            self._thread.join(10)
            self._server = None

    def end(self) -> None:
        self.stopping.set()
        self.console.live.close()
        self.hang_up()
        self.journal.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def token(self, person: str) -> str:
        """A personal token."""
        return self.security.tokens.create(person, "root")[1]

    def cookie(self, person: str) -> str:
        """The cookie of a session."""
        return self.security.sign_in(self.token(person))[1]

    # --- scenes

    def place(
        self,
        environment: str,
        service: str,
        version: str = "2.0",
        *,
        replicas: int = 3,
        healthy: int | None = None,
    ) -> Placement:
        """A service that runs."""
        release = f"{service}-{version.replace('.', '')}"
        names = [f"{service}-{environment}-{version.replace('.', '')}{n}" for n in range(replicas)]
        self.release(environment, service, version)
        self.start(environment, service, release, version, names)
        for name in names[replicas if healthy is None else healthy :]:
            self.world.healthy[name] = False
        placement = Placement(
            environment=environment,
            service=service,
            release=release,
            version=version,
            strategy="careful",
            replicas=replicas,
            groups=(Group(release=release, members=tuple(Member(instance=name) for name in names)),),
            weights={release: 100},
            entry=Entry(
                listener="e",
                kind="http",
                address="127.0.0.1",
                port=18081,
                path=SERVICES.get(service, ("", "/"))[1],
            ),
        )
        self.put(placement)
        return placement

    def release(self, environment: str, service: str, version: str, **more: Any) -> Release:
        found = Release(
            id=f"{service}-{version.replace('.', '')}", service=service, environment=environment, version=version,
            digest="sha256:0", folder="", created_at=time.time(),
            config={"command": ["python", "app.py"], "env": {"LEVEL": "info"}, "port": "http"},
            **more,
        )  # fmt: skip
        self.journal.state.put(release_key(environment, service, found.id), found.to_json())
        return found

    def start(self, environment: str, service: str, release: str, version: str, names: list[str]) -> None:
        for name in names:
            self.world.running[name] = Instance(
                id=name, service=service, environment=environment, release=release, version=version,
                state=InstanceState.RUNNING, address=Address("127.0.0.1", 20000 + len(self.world.running)),
                pid=4000, started_at=time.time() - 4000,
            )  # fmt: skip
            self.world.healthy[name] = True

    def fail(self, name: str, reason: str) -> None:
        """An instance that dies."""
        found = self.world.running[name]
        exit_ = Exit(1, None, time.time(), reason)
        self.world.running[name] = Instance(
            id=name, service=found.service, environment=found.environment, release=found.release,
            version=found.version, state=InstanceState.BACKOFF, address=found.address, restarts=4, last_exit=exit_,
        )  # fmt: skip
        self.world.healthy[name] = False

    def put(self, placement: Placement) -> None:
        key = placement_key(placement.environment, placement.service)
        self.journal.state.put(key, placement.to_json())

    def finished(
        self, name: str, service: str, version: str, outcome: Outcome, *, before: str = "2.0", by: str = "ana",
        environment: str = "production", kind: str = "deploy", reason: str = "", hours: float = 1.0,
    ) -> Deployment:  # fmt: skip
        """A deployment of the past."""
        at = time.time() - hours * 3600
        phases = [Phase.PENDING, Phase.GATED, Phase.STARTING, Phase.READY, Phase.SHIFTING, Phase.ANALYSING]
        good = outcome is Outcome.SUCCEEDED
        phases += (
            [Phase.PROMOTING, Phase.DRAINING, Phase.DONE] if good else [Phase.ABORTING, Phase.ROLLED_BACK]
        )
        transitions = tuple(
            Transition(at=at + 3 * n, phase=phase, message=reason if phase is Phase.ABORTING else phase.value)
            for n, phase in enumerate(phases)
        )
        deployment = Deployment(
            id=name, kind=kind,  # type: ignore[arg-type]
            service=service, environment=environment, version=version, strategy=CAREFUL,
            replicas=3, release=f"{service}-{version.replace('.', '')}", requested_by=by, requested_at=at,
            started_at=at,
            before=Placement(environment=environment, service=service, version=before, release=f"{service}-old"),
            finished_at=at + 3 * len(phases), outcome=outcome, phase=phases[-1], reason=reason, transitions=transitions,
        )  # fmt: skip
        self.journal.append(
            f"deployment.{outcome}",
            deployment.subject,
            {"id": name, "version": version, "kind": kind, "reason": reason, "seconds": 30.0},
            actor=by,
            put={deployment_key(name): deployment.to_json(), COUNTER: 99},
        )
        return deployment

    def hold(self, environment: str, service: str, version: str, reason: str, deployment: str) -> None:
        placement = self.site.records.placement(environment, service)
        hold = Hold(
            release=f"{service}-{version.replace('.', '')}", version=version, reason=reason, at=time.time(),
            deployment=deployment,
        )  # fmt: skip
        self.put(placement.but(holds=(hold,), previous=None))

    def warm(self, environment: str, service: str, version: str) -> None:
        placement = self.site.records.placement(environment, service)
        self.release(environment, service, version)
        warm = Warm(release=f"{service}-{version.replace('.', '')}", version=version, until=time.time() + 500)
        self.put(placement.but(previous=warm))


class Scene:
    """A canary of `service` under way, moved on by the test."""

    def __init__(
        self, stand: Stand, name: str = "d-91", service: str = "api", *, version: str = "2.1", by: str = "ana",
        environment: str = "production", bad: float = 0.002,
    ) -> None:  # fmt: skip
        self.stand, self.name, self.bad = stand, name, bad
        before = stand.site.records.placement(environment, service)
        self.state = AnalysisState()
        self.random = random.Random(7)
        self.counts = {"canary": [0, 0], "stable": [0, 0]}
        self.points: list[dict[str, Any]] = []
        now = time.time()
        self.canaries = [f"{service}-{environment}-new{n}" for n in range(3)]
        stand.release(
            environment, service, version, commit="9f2c1ab07d3e", author="Ana <ana@shop.example>",
            message="Show prices with tax", handbook_commit="77aa0c1d2e3f",
        )  # fmt: skip
        self.deployment = Deployment(
            id=name, kind="deploy", service=service, environment=environment, version=version, strategy=CAREFUL,
            replicas=3, release=f"{service}-{version.replace('.', '')}", instances=tuple(self.canaries), before=before,
            requested_by=by, requested_at=now, started_at=now, phase_at=now,
        )  # fmt: skip
        put = {deployment_key(name): self.deployment.to_json(), open_key(name): {}, COUNTER: 99}
        self._append("deployment.requested", {"kind": "deploy"}, put)

    @property
    def subject(self) -> str:
        return self.deployment.subject

    def to(self, phase: Phase, message: str = "", *, step: int | None = None, **changes: Any) -> None:
        """Into a phase."""
        now = time.time()
        transition = Transition(at=now, phase=phase, message=message or phase.value)
        self.deployment = self.stand.site.records.deployment(self.name).but(
            phase=phase,
            phase_at=now,
            step=self.deployment.step if step is None else step,
            transitions=(*self.deployment.transitions, transition),
            **changes,
        )
        put = {deployment_key(self.name): self.deployment.to_json()}
        self._append("deployment.phase", {"phase": str(phase), "message": transition.message}, put)

    def start(self) -> None:
        """Up to the first step of the canary."""
        one = self.deployment
        self.to(Phase.STARTING, "starting 3 instances of 2.1")
        self.stand.start(one.environment, one.service, one.release, one.version, self.canaries)
        self.to(Phase.READY, "3 instances healthy")
        self.weigh(0)

    def weigh(self, step: int) -> None:
        """The canary gets its share of `step`."""
        share = CAREFUL.steps[step].weight
        one = self.deployment
        self.to(Phase.SHIFTING, f"{share} % of requests to {one.version}", step=step)
        placement = self.stand.site.records.placement(one.environment, one.service)
        placement = placement.with_members(one.release, dict.fromkeys(self.canaries, False))
        self.stand.put(placement.but(weights={one.release: share, one.before.release: 100 - share}))
        self.counts = {"canary": [0, 0], "stable": [0, 0]}
        self.state = self.state.counting_anew()
        self.to(Phase.ANALYSING, "watching for 300 s")

    def look(self, seconds: float = 1.0, at: float | None = None) -> str:
        """Requests for so long, and what the judge says; the verdict."""
        share = CAREFUL.steps[self.deployment.step].weight / 100
        for side, part, rate in (("canary", share, self.bad), ("stable", 1 - share, 0.002)):
            requests = round(200 * part * seconds)
            self.counts[side][0] += requests
            self.counts[side][1] += sum(self.random.random() < rate for _ in range(requests))
        canary, stable = (Counts(*self.counts[side]) for side in ("canary", "stable"))
        own = canary.errors / max(1, canary.requests)
        reading = Reading(
            at=time.time() if at is None else at, canary=canary, stable=stable, metrics={RULES[0].name: own},
            stable_metrics={RULES[0].name: stable.errors / max(1, stable.requests)},
        )  # fmt: skip
        self.state, judgement = judge(self.state, RULES, reading, Settings())
        self.points.append(point(reading, judgement, self.deployment.step))
        self.stand.journal.state.put(points_key(self.name), {"points": self.points, **judgement.to_json()})
        return judgement.verdict

    def looked(self, times: int, *, seconds: float = 1.0) -> str:
        """Many looks at once, as if they had come one a second until now."""
        verdict, now = "", time.time()
        for number in range(times):
            verdict = self.look(seconds, at=now - times + number)
        return verdict

    def take_back(self, reason: str, outcome: Outcome = Outcome.ROLLED_BACK) -> None:
        """All the way back."""
        one = self.deployment
        self.to(Phase.ABORTING, reason, reason=reason)
        placement = self.stand.site.records.placement(one.environment, one.service)
        placement = placement.without(set(self.canaries)).but(weights={one.before.release: 100})
        self.stand.put(placement)
        for name in self.canaries:
            self.stand.world.running.pop(name, None)
        tail = ("GET /prices 500 in 3 ms", "KeyError: 'tax'", "GET /prices 500 in 2 ms")
        now = time.time()
        done = self.stand.site.records.deployment(one.id).but(
            phase=Phase.ROLLED_BACK, outcome=outcome, reason=reason, finished_at=now, log_tail=tail,
            transitions=(*self.deployment.transitions,
                         Transition(at=now, phase=Phase.ROLLED_BACK, message=f"{one.before.version} serves again")),
        )  # fmt: skip
        self.deployment = done
        put = {deployment_key(one.id): done.to_json(), open_key(one.id): None}
        self._append(f"deployment.{outcome}", {"kind": "deploy", "reason": reason, "seconds": 20.0}, put)

    def _append(self, kind: str, data: dict[str, Any], put: dict[str, Any]) -> None:
        data = {"id": self.name, "version": self.deployment.version, **data}
        self.stand.journal.append(kind, self.subject, data, actor=self.deployment.requested_by, put=put)
