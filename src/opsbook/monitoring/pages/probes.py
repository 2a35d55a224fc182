"""``/probes``: what opsbook does not run, and whether it is well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.errors import NotAllowed, NotFound, OpsbookError
from opsbook.journal import Event
from opsbook.monitoring.pages.source import Shell, Source
from opsbook.monitoring.pages.spans import spans_of
from opsbook.monitoring.pages.states import Condition
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may, may_somewhere, visible

HISTORY = 30


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The pages under ``/probes``."""
    routes = APIRouter(prefix="/probes", include_in_schema=False, route_class=route_class)

    @routes.get("")
    def listed(request: Request) -> Response:
        identity = signed_in(request)
        decision = may_somewhere(identity, "view")
        if not decision.allowed:
            raise NotAllowed(decision.why)
        return shell.page(
            request,
            "monitoring/probes.html",
            lambda: {"title": "Probes", "rows": _rows(source, identity)},
            topics=("probes",),
        )

    @routes.get("/{name}")
    def one(request: Request, name: str) -> Response:
        identity = signed_in(request)
        row = _row_of(source, identity, name)
        return shell.page(
            request,
            "monitoring/probe.html",
            lambda: _page(source, request, identity, row, None, None),
            topics=("probes",),
        )

    @routes.post("/{name}")
    def look(request: Request, name: str) -> Response:
        """Look once, now, and show what was seen."""
        identity = signed_in(request)
        row = _row_of(source, identity, name)
        decision = may(identity, "view")
        found, error = None, None
        try:
            if not decision.allowed:
                raise NotAllowed(decision.why)
            assert source.probes is not None
            found = source.probes.run(name)
        except OpsbookError as failed:
            error = failed
        return shell.page(
            request,
            "monitoring/probe.html",
            lambda: _page(source, request, identity, row, found, error),
            status=200 if error is None else error.http_status,
        )

    return routes


def _rows(source: Source, identity: Identity) -> list[dict[str, Any]]:
    mine = visible(identity)
    listed = source.probes.listed() if source.probes is not None else []
    return [
        {**row, "condition": condition_of(row)}
        for row in listed
        if mine is None or row["environment"] is None or row["environment"] in mine
    ]


def _row_of(source: Source, identity: Identity, name: str) -> dict[str, Any]:
    row = next((row for row in _rows(source, identity) if row["name"] == name), None)
    if row is None:
        raise NotFound(f"there is no probe {name}", hint="opsbook probes", where=name)
    return row


def condition_of(row: Mapping[str, Any]) -> Condition:
    """How what is looked at is."""
    if row["problem"]:
        return Condition("warning", "cannot look")
    if row["up"] is None:
        return Condition("unknown", "not known")
    if row["up"] and row["failures"]:
        return Condition("warning", f"up, failed {row['failures']}×")
    return Condition("ok", "up") if row["up"] else Condition("critical", "down")


def _page(
    source: Source,
    request: Request,
    identity: Identity,
    row: Mapping[str, Any],
    found: Mapping[str, Any] | None,
    error: OpsbookError | None,
) -> dict[str, Any]:
    name = str(row["name"])
    dashboard = source.dashboards.find(f"probes/{name}")
    events = source.journal.events(
        kinds=("probe.down", "probe.up"), subject=f"probe/{name}", newest=True, limit=HISTORY
    )
    decision = may(identity, "view")
    return {
        "title": name,
        "row": _row_of(source, identity, name),
        "dashboard": dashboard,
        "spans": spans_of(source.dashboards.now(), f"/probes/{name}", request.query_params, default="6h"),
        "changes": [_change(event) for event in events],
        "found": found,
        "error": error,
        "why": "" if decision.allowed else decision.why,
        "now": source.now(),
    }


def _change(event: Event) -> dict[str, Any]:
    down = event.kind == "probe.down"
    return {
        "id": event.id,
        "at": event.at,
        "condition": Condition("critical", "down") if down else Condition("ok", "up"),
        "detail": str(event.data.get("detail", "")),
        "seconds": event.data.get("seconds"),
    }
