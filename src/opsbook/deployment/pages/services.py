"""``/environments``: each environment, each service in it, and what differs between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.book import Book, differences
from opsbook.deployment.model import Hold, Placement
from opsbook.deployment.pages.deployments import row
from opsbook.deployment.pages.permits import button, refusals, service_buttons
from opsbook.deployment.pages.sentences import RANK, Condition, overall, service_condition, serving
from opsbook.deployment.pages.source import Shell, Source
from opsbook.errors import NotFound
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may, sees, visible

HISTORY = 20


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The pages under ``/environments``."""
    routes = APIRouter(prefix="/environments", include_in_schema=False, route_class=route_class)

    @routes.get("/differences")
    def compared(request: Request, left: str = "", right: str = "") -> Response:
        identity = signed_in(request)
        # `from` and `to` stand in the address: `from` is no name for an argument
        left, right = request.query_params.get("from", left), request.query_params.get("to", right)
        return shell.page(
            request,
            "deployment/differences.html",
            lambda: _differences(source, identity, left, right),
            topics=("handbook",),
        )

    @routes.get("/{environment}")
    def environment(request: Request, environment: str) -> Response:
        known(source, request, environment)
        return shell.page(
            request,
            "deployment/environment.html",
            lambda: _environment(source, environment),
            topics=(f"environment/{environment}",),
        )

    @routes.get("/{environment}/{service}")
    def service(request: Request, environment: str, service: str) -> Response:
        known(source, request, environment, service)
        identity = signed_in(request)
        return shell.page(
            request,
            "deployment/service.html",
            lambda: _service(source, identity, environment, service),
            topics=(f"service/{environment}/{service}",),
        )

    return routes


def known(source: Source, request: Request, environment: str, service: str | None = None) -> None:
    """Raises NotFound when there is no such place, or it is not for the eyes of who is asking."""
    if not may(signed_in(request), "view", environment).allowed:
        raise NotFound(f"there is no environment {environment} that you may look at", where=environment)
    book = source.book()
    found = book.environment(environment)
    if service is None or service in found.services:
        return
    if not source.records.placement(environment, service).release:
        book.effective(environment, service)  # says what is wrong, and the nearest name


def service_rows(environment: str, services: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The services of an environment as lines of a table, the worst first."""
    found = [
        {
            "environment": environment,
            "name": name,
            "condition": service_condition(service),
            "of": serving(service)[1],
            **service,
        }
        for name, service in services.items()
    ]
    return sorted(found, key=lambda one: (RANK[one["condition"].state], one["name"]))


def summary(rows: list[dict[str, Any]], environments: int) -> Condition:
    """One sentence over all lines."""
    ranked = sorted(rows, key=lambda one: RANK[one["condition"].state])
    return overall(
        [(f"{one['environment']}/{one['name']}", one["condition"]) for one in ranked], environments
    )


# --- an environment


def _environment(source: Source, name: str) -> dict[str, Any]:
    book = source.book()
    described = book.environments[name]
    status = source.room.status(name)["environments"][name]
    rows = service_rows(name, status["services"])
    plan = source.room.plans(name, frozenset())[0]
    return {
        "title": name,
        "name": name,
        "rows": rows,
        "summary": summary(rows, 1),
        "entry": status["entry"],
        "proxy": status["proxy"],
        "protect": described.protect,
        "promote_from": described.promote_from,
        "others": [other for other in book.environments if other != name],
        "changes": plan["changes"],
        "check_index": plan["check_index"],
    }


# --- a service


def _service(source: Source, identity: Identity, environment: str, name: str) -> dict[str, Any]:
    book = source.book()
    status = source.room.status(environment)["environments"][environment]["services"][name]
    placement = source.records.placement(environment, name)
    promotes = book.environments[environment].promote_from or ""
    buttons = service_buttons(identity, environment, name, status, promotes)
    return {
        "title": f"{environment}/{name}",
        "environment": environment,
        "name": name,
        "status": status,
        "condition": service_condition(status),
        "described": book.services.get(name),
        "compared": list(_compared(book, source, environment, name, placement)),
        "holds": [_hold(identity, placement, hold) for hold in placement.holds],
        "buttons": buttons,
        "refused": refusals(buttons),
        "history": [row(one) for one in source.records.deployments(environment, name, HISTORY)],
        "weights": _weights(status),
    }


def _hold(identity: Identity, placement: Placement, hold: Hold) -> dict[str, Any]:
    path = f"/environments/{placement.subject}/release-hold?release={hold.release}"
    release = button(
        identity,
        "release_hold",
        placement.environment,
        name=f"release-{hold.release}",
        label="Release…",
        href=path,
    )
    return {**hold.to_json(), "button": release, "refused": refusals([release])}


def _weights(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    total = sum(status["weights"].values())
    found, start = [], 0.0
    for version, weight in sorted(status["weights"].items(), key=lambda one: -one[1]):
        share = weight * 100 / total
        role = "stable" if version == status["version"] else "canary"
        found.append({"version": version, "share": round(share), "start": round(start), "role": role})
        start += share
    return found


def _compared(
    book: Book, source: Source, environment: str, name: str, placement: Placement
) -> Iterator[dict[str, Any]]:
    """What the handbook says beside what is, line by line."""
    if name not in book.environments[environment].services:
        yield {
            "what": "service",
            "should": "not in the handbook any more",
            "is": placement.version,
            "same": False,
        }
        return
    wanted = book.effective(environment, name)
    entry = f"{wanted.route.host or ''}{wanted.route.path}" if wanted.route is not None else "no port"
    is_entry = f"{placement.entry.host or ''}{placement.entry.path}" if placement.entry else "no port"
    lines: list[tuple[str, str, str]] = [
        ("version", wanted.version or "the newest source", placement.version),
        ("instances", str(wanted.replicas), str(placement.replicas)),
        ("strategy", wanted.strategy.name or "written in place", placement.strategy),
        ("requests from", entry, is_entry),
    ]
    lines += _command(source, wanted.rendered(), placement)
    for what, should, found in lines:
        same = should == found or (what == "version" and wanted.version is None)
        yield {"what": what, "should": should, "is": found if placement.release else "", "same": same}


def _command(
    source: Source, rendered: Mapping[str, Any], placement: Placement
) -> Iterator[tuple[str, str, str]]:
    """Command and variables; the room's plan says more, in its own words."""
    if not placement.release:
        yield "command", " ".join(rendered["command"]), ""
        return
    try:
        release = source.records.release(placement.environment, placement.service, placement.release)
    except NotFound:
        return
    config = release.config
    yield "command", " ".join(rendered["command"]), " ".join(config.get("command") or ())
    should, present = rendered["env"], dict(config.get("env") or {})
    for key in sorted(should.keys() | present.keys()):
        if should.get(key) != present.get(key) and "{url:" not in str(should.get(key)):
            yield f"env {key}", str(should.get(key, "not set")), str(present.get(key, "not set"))


# --- what differs


def _differences(source: Source, identity: Identity, left: str, right: str) -> dict[str, Any]:
    book = source.book()
    names = [name for name in book.environments if sees(visible(identity), name)]
    left = left or (names[0] if names else "")
    right = right or (names[1] if len(names) > 1 else left)
    for name in (left, right):
        if name and name not in names:
            book.environment(name)
            raise NotFound(f"there is no environment {name} that you may look at", where=name)
    grouped: dict[str, list[Any]] = {}
    for one in differences(book, left, right) if left else ():
        grouped.setdefault(one.service, []).append(one)
    return {
        "title": "Differences",
        "names": names,
        "left": left,
        "right": right,
        "grouped": grouped,
        "same": len(book.placed.get(left, {}).keys() - grouped.keys()) if left else 0,
    }
