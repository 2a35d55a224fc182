"""Parts that are right by themselves and cannot be so together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from opsbook.book.document import Document, Loc
from opsbook.book.draft import Draft, environment_file, service_file
from opsbook.book.effective import HTTP_PORTS, EffectiveService
from opsbook.book.environment import Environment, Placement
from opsbook.book.problems import Problem
from opsbook.book.service import Health, Metrics, PortKind, RouteSpec
from opsbook.book.templates import placeholders

Finding = tuple[tuple[str | int, ...], str, str]


def conflicts(draft: Draft) -> Iterator[Problem]:
    """Everything that contradicts something else."""
    for name, service in draft.services.items():
        document = draft.document(service_file(name))
        port = service.run.port
        for loc, message, hint in _against_port(port, service.health, service.metrics, service.route):
            yield document.problem(loc, message, hint)
    for name, environment in draft.environments.items():
        document = draft.document(environment_file(name))
        placed = draft.placed[name]
        for service_name, place in environment.services.items():
            if service_name in placed:
                yield from _placement(draft, document, place, placed[service_name])
        yield from _same_requests(document, placed.values())
    yield from _same_ports(draft)


def _against_port(
    port: PortKind | None, health: Health | None, metrics: Metrics | None, route: RouteSpec | None
) -> Iterator[Finding]:
    if port is None:
        hint = "port: http under run"
        if health is not None and health.kind in {"http", "tcp"}:
            key = "path" if health.kind == "http" else "tcp"
            yield ("health", key), "the service has no port that could be asked", hint
        if metrics is not None:
            yield ("metrics",), "the service has no port that could be asked", hint
        if route is not None:
            yield ("route",), "the service has no port that requests could come to", hint
    elif route is not None and port == "tcp":
        for key in ("host", "path", "strip_prefix"):
            if key in route.model_fields_set:
                yield (
                    ("route", key),
                    f"{key} belongs to HTTP, and the service speaks tcp",
                    "port: 5432 under route",
                )
    elif route is not None and route.port is not None:
        yield ("route", "port"), "HTTP comes in at the environment's entry port", "remove it"


def _placement(
    draft: Draft, document: Document, place: Placement, service: EffectiveService
) -> Iterator[Problem]:
    here: Loc = ("services", service.name)
    for loc, message, hint in _against_port(service.port, place.health, None, place.route):
        yield document.problem((*here, *loc), message, hint)
    if service.runtime == "process" and not service.command:
        yield document.problem(
            here, f"{service.name} has no command, and here it runs as a process", "run: {command: [...]}"
        )
    if service.runtime != "process" and service.image is None:
        yield document.problem(here, f"{service.name} has no image, and here it runs on {service.runtime}",
                               "run: {image: ...}")  # fmt: skip
    for key in ("sticky", "pin", "probe_load"):
        if getattr(service.strategy, key) and service.port not in HTTP_PORTS:
            yield document.problem(
                (*here, "strategy"),
                f"{key} of the strategy {service.strategy.name} belongs to HTTP, which {service.name} does not speak",
                f"give {service.name} a strategy without {key}",
            )
    for needed in service.depends_on:
        if needed in draft.service_names and needed not in _listed(draft, service.environment):
            yield document.problem(
                here, f"{service.name} depends on {needed}, which is not in this environment",
                f"add {needed}: {{}} under services",
            )  # fmt: skip
    yield from _override_templates(draft, document, here, place, service)
    urls = sorted({placeholder.name for placeholder in service.placeholders() if placeholder.kind == "url"})
    for name in urls:
        if name in draft.services and name not in _listed(draft, service.environment):
            yield document.problem(
                here, f"{service.name} uses {{url:{name}}}, and {name} is not in this environment",
                f"add {name}: {{}} under services",
            )  # fmt: skip


def _listed(draft: Draft, environment: str) -> Collection[str]:
    return draft.environments[environment].services.keys()


def _override_templates(
    draft: Draft, document: Document, here: Loc, place: Placement, service: EffectiveService
) -> Iterator[Problem]:
    written: list[tuple[Loc, str]] = [(("env", key), value) for key, value in place.env.items()]
    if place.run is not None:
        written += [(("run", "env", key), value) for key, value in place.run.env.items()]
        written += [(("run", "command", index), word) for index, word in enumerate(place.run.command or ())]
    if place.health is not None:
        written += [
            (("health", "command", index), word) for index, word in enumerate(place.health.command or ())
        ]
    for loc, text in written:
        for placeholder in placeholders(text):
            if placeholder.kind == "port" and service.port is None:
                yield document.problem((*here, *loc), "{port} is used, and the service has no port")
            if placeholder.kind == "url" and placeholder.name not in draft.service_names:
                yield document.problem((*here, *loc), f'no service is called "{placeholder.name}"')
            target = draft.services.get(placeholder.name) if placeholder.kind == "url" else None
            if target is not None and target.run.port is None:
                yield document.problem((*here, *loc), f"{placeholder.name} has no port, so it has no URL")


def _same_requests(document: Document, services: Iterable[EffectiveService]) -> Iterator[Problem]:
    taken: dict[tuple[str | None, str], str] = {}
    for service in services:
        route = service.route
        if route is None or service.port not in HTTP_PORTS:
            continue
        first = taken.setdefault((route.host, route.path), service.name)
        if first != service.name:
            place = f"{route.host or 'any host'} at {route.path}"
            yield document.problem(
                ("services", service.name),
                f"{service.name} and {first} both take the requests of {place}",
                f"give one of them a route: {{path: /{service.name}}}",
            )


def _same_ports(draft: Draft) -> Iterator[Problem]:
    """Two listeners on one port of one address; on Kubernetes each environment has addresses of its own."""
    taken: dict[int, list[tuple[str, str]]] = {}
    for name, environment in draft.environments.items():
        if environment.runtime == "kubernetes":
            continue
        for loc, port, what in _listeners(draft, name, environment):
            others = taken.setdefault(port, [])
            for host, other in others:
                if host == environment.entry.host or {host, environment.entry.host} & {"0.0.0.0", "::"}:  # noqa: S104
                    yield draft.document(environment_file(name)).problem(
                        loc, f"port {port} is already taken by {other}", "choose another port"
                    )
                    break
            else:
                others.append((environment.entry.host, what))


def _listeners(draft: Draft, name: str, environment: Environment) -> Iterator[tuple[Loc, int, str]]:
    yield ("entry", "port"), environment.entry.port, f"the entry of {name}"
    document = draft.document(environment_file(name))
    for service in draft.placed[name].values():
        if service.port == "tcp" and service.route is not None and service.route.port is not None:
            override: Loc = ("services", service.name, "route", "port")
            loc = override if document.node(override) else ("services", service.name)
            yield loc, service.route.port, f"{service.name} in {name}"
