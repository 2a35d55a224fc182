"""What a service is in an environment: the service's own values, and over them the environment's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from opsbook.book.environment import Environment, Placement, Runtime
from opsbook.book.fields import merged
from opsbook.book.service import (
    Health,
    Metrics,
    PortKind,
    Resources,
    RouteSpec,
    Run,
    RunOverride,
    Service,
    Source,
)
from opsbook.book.strategy import BUILT_IN, Strategy, StrategySpec
from opsbook.book.templates import Placeholder, placeholders

HTTP_PORTS = frozenset({"http", "grpc"})


@dataclass(frozen=True, slots=True)
class Route:
    """Which requests come to a service, decided. `timeout` in seconds, None for no limit."""

    host: str | None
    path: str
    strip_prefix: bool
    port: int | None  # tcp: the entry port; None when opsbook is to assign one
    timeout: float | None


@dataclass(frozen=True, slots=True)
class EffectiveService:
    """One service in one environment with everything resolved. Durations are seconds, sizes bytes."""

    name: str
    environment: str
    runtime: Runtime
    owner: str | None
    description: str | None
    run: Run
    source: Source | None
    health: Health
    metrics: Metrics | None
    resources: Resources
    depends_on: tuple[str, ...]
    route: Route | None  # None: a worker without a port
    stateful: bool
    links: Mapping[str, str]
    version: str | None
    replicas: int
    strategy: Strategy

    @property
    def command(self) -> tuple[str, ...]:
        return self.run.command or ()

    @property
    def image(self) -> str | None:
        return self.run.image

    @property
    def port(self) -> PortKind | None:
        return self.run.port

    @property
    def env(self) -> Mapping[str, str]:
        return self.run.env

    @property
    def user(self) -> str | None:
        return self.run.user

    @property
    def stop_grace(self) -> float:
        return self.run.stop_grace

    def placeholders(self) -> Iterator[Placeholder]:
        """Every placeholder of its command and variables."""
        for text in (*self.command, *self.env.values()):
            yield from placeholders(text)

    def rendered(self) -> dict[str, Any]:
        """What an instance is started with, as JSON: what goes into a release's hash.

        Secrets stay names. Version, replicas, route and strategy are not in it: they do not change an instance.
        """
        return {
            "service": self.name,
            "command": list(self.command),
            "image": None if self.runtime == "process" else self.image,
            "env": dict(sorted(self.env.items())),
            "port": self.port,
            "health": {"kind": self.health.kind, **self.health.model_dump(mode="json", exclude={"tcp"})},
            "resources": self.resources.model_dump(mode="json"),
            "user": self.user,
        }


def resolve(
    environment: Environment,
    services: Mapping[str, Service],
    strategies: Mapping[str, Strategy],
    usual: str | None = None,
) -> Mapping[str, EffectiveService]:
    """Every service that runs in `environment`, by name, in the order of its file; unknown ones are left out.

    `usual` is the strategy of services whose placement names none, where two copies may stand side by side.
    """
    placed = {name: place for name, place in environment.services.items() if name in services}
    http = sum(1 for name in placed if services[name].run.port in HTTP_PORTS)
    return MappingProxyType(
        {
            name: _resolved(environment, services[name], place, strategies, usual, alone=http == 1)
            for name, place in placed.items()
        }
    )


def _resolved(
    environment: Environment,
    service: Service,
    place: Placement,
    strategies: Mapping[str, Strategy],
    usual: str | None,
    *,
    alone: bool,
) -> EffectiveService:
    run = _run(service.run, place.run, place.env)
    health = service.health.overridden(place.health).for_port(run.port)
    return EffectiveService(
        name=service.service,
        environment=environment.environment,
        runtime=environment.runtime,
        owner=service.owner,
        description=service.description,
        run=run,
        source=service.source,
        health=health,
        metrics=service.metrics,
        resources=merged(service.resources, place.resources),
        depends_on=service.depends_on,
        route=_route(service, place, alone=alone),
        stateful=service.stateful,
        links=service.links,
        version=place.version,
        replicas=place.replicas,
        strategy=_strategy(service, place, strategies, usual),
    )


def _strategy(
    service: Service, place: Placement, strategies: Mapping[str, Strategy], usual: str | None
) -> Strategy:
    """The one that is written in place, the named one, the pipeline's, or the built-in one."""
    if isinstance(place.strategy, StrategySpec):
        return place.strategy.resolved("")
    default = default_strategy(service)
    named = place.strategy or (usual if usual is not None and default != "recreate" else default)
    return strategies.get(named, BUILT_IN[default])


def default_strategy(service: Service) -> str:
    """Blue-green where two copies may stand side by side; recreate for workers and for what keeps data."""
    return "blue-green" if service.run.port and not service.stateful else "recreate"


def _run(run: Run, override: RunOverride | None, env: Mapping[str, str]) -> Run:
    if override is None and not env:
        return run
    keys = {"command", "image", "user", "stop_grace"} & (override.model_fields_set if override else set())
    values = {key: value for key in keys if (value := getattr(override, key)) is not None}
    added = override.env if override else {}
    return run.model_copy(update={**values, "env": {**run.env, **added, **env}})


def _route(service: Service, place: Placement, *, alone: bool) -> Route | None:
    if service.run.port is None:
        return None
    spec = merged(service.route or RouteSpec(), place.route)
    path, strip = spec.path, spec.strip_prefix
    if path is None:
        own_prefix = spec.host is None and not alone and service.run.port in HTTP_PORTS
        path, strip = (f"/{service.service}", True) if own_prefix else ("/", strip)
    return Route(spec.host, path.rstrip("/") or "/", strip, spec.port, spec.timeout)
