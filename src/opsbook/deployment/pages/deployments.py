"""``/deployments``: the history, and each deployment live."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute

from opsbook.deployment.model import Deployment
from opsbook.deployment.pages.permits import deployment_buttons, go_on_action, refusals
from opsbook.deployment.pages.sentences import (
    KINDS,
    Condition,
    condition_of,
    figure,
    sentence,
    verdict_of,
)
from opsbook.deployment.pages.source import Shell, Source
from opsbook.deployment.pages.stages import stages
from opsbook.errors import NotFound, OpsbookError
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may, sees, visible

LISTED = 100
SEARCHED = 2000
STAGES = {"pre": "Before", "during": "During", "post": "After"}
TABLED = 30  # points of the chart that its table shows


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The pages under ``/deployments``."""
    routes = APIRouter(include_in_schema=False, route_class=route_class)
    places = Places(source)

    @routes.get("/deployments")
    def history(
        request: Request, environment: str = "", service: str = "", outcome: str = "", by: str = ""
    ) -> Response:
        wanted = {"environment": environment, "service": service, "outcome": outcome, "by": by}
        identity = signed_in(request)
        return shell.page(
            request,
            "deployment/deployments.html",
            lambda: _history(source, identity, wanted),
            topics=("deployments",),
        )

    @routes.get("/deployments/{name}")
    def deployment(request: Request, name: str) -> Response:
        identity = signed_in(request)
        may_look(identity, places.of(name), name)
        return shell.page(
            request,
            "deployment/deployment.html",
            lambda: _deployment(source, identity, name),
            topics=(f"deployment/{name}",),
        )

    @routes.get("/deployments/{name}/analysis")
    def analysis(request: Request, name: str, after: Annotated[float, Query(ge=0)] = 0.0) -> dict[str, Any]:
        found_for(source, request, name)
        points = source.room.analysis(name).get("points") or ()
        return {"points": [point for point in points if point["at"] > after]}

    return routes


def found_for(source: Source, request: Request, name: str) -> Deployment:
    """The deployment, for somebody who may look at its environment. Raises NotFound."""
    deployment = source.records.deployment(name)
    may_look(signed_in(request), deployment.environment, name)
    return deployment


def may_look(identity: Identity, environment: str, name: str) -> None:
    """Raises NotFound when the deployment `name` is not for the eyes of `identity`."""
    if not may(identity, "view", environment).allowed:
        raise NotFound(f"there is no deployment {name} that you may look at", where=name)


class Places:
    """The environments of deployments, which never change: many pages that look at one ask the journal once."""

    def __init__(self, source: Source) -> None:
        self.of = lru_cache(maxsize=1024)(lambda name: source.records.deployment(name).environment)


# --- the history


def _history(source: Source, identity: Identity, wanted: Mapping[str, str]) -> dict[str, Any]:
    mine = visible(identity)
    known = source.records.deployments(wanted["environment"] or None, wanted["service"] or None, SEARCHED)
    found = [one for one in known if sees(mine, one.environment) and _matches(one, wanted)]
    book = source.book()
    return {
        "title": "Deployments",
        "wanted": wanted,
        "rows": [row(one) for one in found[:LISTED]],
        "more": max(0, len(found) - LISTED),
        "environments": [name for name in book.environments if sees(mine, name)],
        "services": sorted(book.services),
    }


def _matches(deployment: Deployment, wanted: Mapping[str, str]) -> bool:
    outcome = deployment.outcome or "running"
    return wanted["outcome"] in ("", outcome) and wanted["by"].lower() in deployment.requested_by.lower()


def row(deployment: Deployment) -> dict[str, Any]:
    """A deployment as a line of a table."""
    took = None
    if deployment.finished_at is not None:
        took = deployment.finished_at - (deployment.started_at or deployment.requested_at)
    return {
        "id": deployment.id,
        "condition": condition_of(deployment),
        "kind": KINDS[deployment.kind],
        "service": deployment.service,
        "environment": deployment.environment,
        "version": deployment.version,
        "previous": deployment.before.version,
        "strategy": deployment.strategy.name if deployment.kind == "deploy" else "",
        "by": deployment.requested_by,
        "automatic": deployment.automatic,
        "at": deployment.requested_at,
        "took": took,
        "reason": deployment.reason,
    }


# --- one of them


def _deployment(source: Source, identity: Identity, name: str) -> dict[str, Any]:
    view, deployment = source.room.view(name), source.records.deployment(name)
    analysis = source.room.analysis(name) if deployment.strategy.analysis else {}
    if analysis.get("verdict") and not view["analysis"]:
        view["analysis"] = analysis  # it was judged before opsbook was last started
    going_on = go_on_action(source, deployment.environment)
    buttons = deployment_buttons(identity, view, deployment.requested_by, going_on)
    return {
        "title": f"{KINDS[deployment.kind]} {deployment.service} {deployment.version} → {deployment.environment}",
        "view": view,
        "deployment": deployment,
        "condition": condition_of(view),
        "sentence": sentence(view),
        "stages": stages(deployment, view["waiting_for"]),
        "shares": _shares(view),
        "release": _release(source, deployment),
        "buttons": buttons,
        "refused": refusals(buttons),
        "gates": view["gates"],
        "checklist": _checklist(source, identity, deployment),
        "charted": bool(deployment.strategy.analysis),
        "compared": deployment.strategy.type == "canary",
        "verdict": verdict_of(analysis.get("verdict")),
        "judged": analysis.get("reason", ""),
        "rules": _rules(deployment, analysis),
        "points": list(analysis.get("points") or ())[-TABLED:],
        "transitions": list(reversed(view["transitions"])),
    }


def _rules(deployment: Deployment, analysis: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rules it is judged by, before the first look as they were written."""
    judged = analysis.get("rules") or ()
    if judged:
        return [
            {
                **rule,
                "condition": verdict_of(rule["verdict"]),
                "value": figure(rule["name"], rule["value"]),
                "threshold": figure(rule["name"], rule["threshold"]),
            }
            for rule in judged
        ]
    return [
        {
            "name": rule.name,
            "detail": "",
            "condition": verdict_of(None),
            "value": "–",
            "threshold": "–",
            "samples": None,
        }
        for rule in deployment.strategy.analysis
    ]


def _shares(view: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Who gets which part of the requests, as bars; empty when there is nothing to divide."""
    weights: Mapping[str, int] = view.get("weights") or {}
    members: Iterable[Mapping[str, Any]] = view.get("members") or ()
    found, start = [], 0
    for version, share in weights.items():
        mine = [one for one in members if _side(one, weights) == version]
        role = mine[0]["role"] if mine else ("canary" if version == view["version"] else "stable")
        found.append({
            "version": version, "share": share, "start": start, "role": role, "instances": len(mine),
            "healthy": sum(1 for one in mine if one["healthy"]),
        })  # fmt: skip
        start += share
    return found


def _side(member: Mapping[str, Any], weights: Mapping[str, int]) -> str:
    both = f"{member['version']} {member['role']}"
    return both if both in weights else str(member["version"])


def _release(source: Source, deployment: Deployment) -> dict[str, Any] | None:
    if not deployment.release:
        return None
    try:
        release = source.records.release(deployment.environment, deployment.service, deployment.release)
    except NotFound:
        return None
    return {
        "id": release.id,
        "commit": release.commit,
        "author": release.author,
        "message": release.message,
        "handbook": release.handbook_commit,
    }


def _checklist(
    source: Source, identity: Identity, deployment: Deployment
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Its items by stage, each with whether, and if not why not, it may be signed now."""
    try:
        items = source.gates.checklists.show(deployment.id)["items"]
    except OpsbookError:
        return []  # the handbook has lost its checklist since; the gates say what counts
    decision = may(identity, "sign", deployment.environment)
    own = "you asked for it yourself" if identity.name == deployment.requested_by else ""
    over = "it has ended" if deployment.finished else ""
    why = over or own or ("" if decision.allowed else decision.why)
    shown = [{**item, "condition": _item(str(item["status"])), "why": why} for item in items]
    grouped = ((word, [item for item in shown if item["stage"] == stage]) for stage, word in STAGES.items())
    return [(word, found) for word, found in grouped if found]


def _item(status: str) -> Condition:
    words = {
        "passed": Condition("ok", "passed"),
        "signed": Condition("ok", "signed"),
        "failed": Condition("critical", "failed"),
        "unknown": Condition("unknown", "cannot be told"),
    }
    return words.get(status, Condition("paused", "open"))
