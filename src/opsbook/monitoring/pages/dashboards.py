"""``/dashboards``: what everything does at a glance, and each dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.errors import NotFound, OpsbookError
from opsbook.monitoring.dashboards.api import PLACE
from opsbook.monitoring.dashboards.model import Dashboard, Panel
from opsbook.monitoring.dashboards.plan import LOCAL_HOST
from opsbook.monitoring.dashboards.top import Line
from opsbook.monitoring.pages.figures import figure, table_of
from opsbook.monitoring.pages.source import Shell, Source
from opsbook.monitoring.pages.spans import Spans, spans_of
from opsbook.monitoring.pages.states import Condition, shown_alerts
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may, visible

TABLE_WIDTH = 50  # pixels, as it were: a table has few rows
_LOOKS: Mapping[str, Condition] = {
    "critical": Condition("critical", "critical"),
    "warning": Condition("warning", "warning"),
    "info": Condition("running", "info"),
}


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The pages under ``/dashboards``."""
    routes = APIRouter(prefix="/dashboards", include_in_schema=False, route_class=route_class)

    @routes.get("")
    def listed(request: Request) -> Response:
        identity = signed_in(request)
        return shell.page(
            request, "monitoring/dashboards.html", lambda: _listed(source, identity), topics=("figures",)
        )

    @routes.get("/{name:path}")
    def one(request: Request, name: str) -> Response:
        identity = signed_in(request)
        dashboard = source.dashboards.find(name)
        if not may(identity, "view", dashboard.environment or None).allowed:
            raise NotFound(f"there is no dashboard {name} that you may look at", where=name)
        return shell.page(
            request,
            "monitoring/dashboard.html",
            lambda: _one(source, identity, request, dashboard),
            topics=("alerts",),
        )

    return routes


# --- all of them


def _listed(source: Source, identity: Identity) -> dict[str, Any]:
    mine = visible(identity)
    lines = source.top.lines(mine)
    dashboards = source.dashboards.listed(mine)
    return {
        "title": "Dashboards",
        "written": [one for one in dashboards if one.kind == "handbook"],
        "environments": [one for one in dashboards if one.kind == "environment"],
        "services": [_row(one) for one in lines if one.kind == "service"],
        "hosts": [_row(one) for one in lines if one.kind == "host"],
    }


def _row(line: Line) -> dict[str, Any]:
    known = any(one is not None for one in (line.rate, line.cpu, line.memory))
    condition = _LOOKS.get(line.worst) or (
        Condition("ok", "well") if known else Condition("unknown", "no data")
    )
    word = f"{line.alerts} {condition.word}" if line.alerts else condition.word
    return {
        "line": line,
        "name": f"services/{line.environment}/{line.name}"
        if line.kind == "service"
        else f"hosts/{line.name}",
        "title": "This host" if line.kind == "host" and line.name == LOCAL_HOST else line.name,
        "condition": Condition(condition.state, word),
        "rate": figure(line.rate, "1/s"),
        "errors": figure(line.errors, "ratio"),
        "p95": figure(line.p95, "seconds"),
        "cpu": figure(line.cpu, "ratio"),
        "memory": figure(line.memory, "bytes")
        if line.memory is not None
        else figure(line.memory_ratio, "ratio"),
    }


# --- one of them


def _one(source: Source, identity: Identity, request: Request, dashboard: Dashboard) -> dict[str, Any]:
    query = dict(request.query_params)
    spans = spans_of(source.dashboards.now(), request.url.path, query)
    given = {name: value for name, value in query.items() if name not in PLACE}
    chosen = source.dashboards.chosen(dashboard, given)
    return {
        "title": dashboard.title,
        "dashboard": dashboard,
        "spans": spans,
        "chosen": chosen,
        "choices": {
            one.name: _with(source.dashboards.choices(one), chosen[one.name]) for one in dashboard.variables
        },
        "kept": {
            name: value for name, value in query.items() if name in ("range", "from", "to", "compare", "view")
        },
        "tables": _tables(source, dashboard, spans, given) if spans.tabled else {},
        "firing": _firing(source, identity, dashboard),
        "service": dashboard.subjects[0].partition("/")[2] if dashboard.kind == "service" else "",
        "may_explore": may(identity, "view").allowed,
    }


def _with(choices: tuple[str, ...], chosen: str) -> tuple[str, ...]:
    """What may be chosen; what is chosen too, though it is not there now."""
    return choices if chosen in choices or not chosen else (chosen, *choices)


def _tables(source: Source, dashboard: Dashboard, spans: Spans, given: Mapping[str, str]) -> dict[str, Any]:
    return {panel.id: _table(source, dashboard, panel, spans, given) for panel in dashboard.panels}


def _table(
    source: Source, dashboard: Dashboard, panel: Panel, spans: Spans, given: Mapping[str, str]
) -> dict[str, Any]:
    try:
        chart = source.dashboards.chart(
            dashboard, panel.id, spans.span, width=TABLE_WIDTH, given=given, compare=spans.compare.chosen
        )
    except OpsbookError as error:  # one query that fails does not take the others away
        return {"error": error.message, "table": None}
    return {"error": "", "table": table_of(chart)}


def _firing(source: Source, identity: Identity, dashboard: Dashboard) -> list[Any]:
    """What fires about the things that it shows."""
    mine = visible(identity)
    found = shown_alerts(source.rules.alerts(visible=mine, pending=False), source.alerting.alerts())
    alerts = [one for one in found if one.state == "firing" and not one.pushed]
    subjects = dashboard.subjects
    if dashboard.kind == "host":
        host = dashboard.name.partition("/")[2]
        return [
            one
            for one in alerts
            if one.labels.get("host", LOCAL_HOST) == host and not (one.service or "probe" in one.labels)
        ]
    if dashboard.kind == "probe":
        return [one for one in alerts if one.labels.get("probe") == dashboard.name.partition("/")[2]]
    return [
        one
        for one in alerts
        if not subjects
        or any(one.place == subject or one.place.startswith(f"{subject}/") for subject in subjects)
    ]
