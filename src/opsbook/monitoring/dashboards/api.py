"""Routes of dashboards: what there is, the points of charts, their marks, and Grafana's JSON.

Who may look at an environment sees its dashboards and those of its services; all others, and free queries, are for who
may look at everything, for a query can ask for anything.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from opsbook.monitoring.dashboards.grafana import to_grafana
from opsbook.monitoring.dashboards.model import Dashboard
from opsbook.monitoring.dashboards.room import Dashboards, dashboard_json
from opsbook.monitoring.dashboards.span import Span, span_of
from opsbook.monitoring.dashboards.top import Top
from opsbook.security.api import Visible, Who, allowing, requires, requires_somewhere

Preset = Annotated[str, Query(alias="range", description="the last so long: 6h")]
Since = Annotated[str, Query(alias="from", description="epoch seconds or ISO 8601; before range")]
Until = Annotated[str, Query(alias="to", description="epoch seconds or ISO 8601")]
Width = Annotated[int, Query(ge=1, description="pixels: at most two points for each are told")]
PLACE = frozenset({"panel", "width", "range", "from", "to", "compare", "view", "region"})
"""What addresses of dashboards say besides the values of variables."""


def router(dashboards: Dashboards, top: Top) -> APIRouter:
    """``/api/monitoring/dashboards``, ``/charts``, ``/marks``, ``/explore`` and ``/top``."""
    routes = APIRouter(prefix="/api/monitoring", tags=["monitoring"])

    def found(request: Request, who: Who, name: str) -> Dashboard:
        dashboard = dashboards.find(name)
        allowing(request, who)("view", dashboard.environment or None)
        return dashboard

    def span(preset: str, since: str, until: str) -> Span:
        return span_of(dashboards.now(), preset, since, until)

    @routes.get("/dashboards", dependencies=[requires_somewhere("view")])
    def listed(visible: Visible) -> dict[str, Any]:
        """Every dashboard, without its panels."""
        return {
            "dashboards": [
                {
                    "name": one.name,
                    "title": one.title,
                    "kind": one.kind,
                    "description": one.description,
                    "panels": sum(1 for _ in one.panels),
                    "source": one.source,
                }
                for one in dashboards.listed(visible)
            ]
        }

    @routes.get("/dashboards/{name:path}", dependencies=[requires_somewhere("view")])
    def dashboard(
        request: Request,
        who: Who,
        name: str,
        *,
        form: Annotated[str, Query(alias="format", pattern="^(opsbook|grafana)$")] = "opsbook",
    ) -> dict[str, Any]:
        """One dashboard: its panels and their expressions, or the JSON that Grafana imports."""
        one = found(request, who, name)
        return to_grafana(one) if form == "grafana" else dashboard_json(one)

    @routes.get("/charts/{name:path}", dependencies=[requires_somewhere("view")])
    def chart(
        request: Request,
        who: Who,
        name: str,
        *,
        panel: str,
        width: Width = 600,
        preset: Preset = "",
        since: Since = "",
        until: Until = "",
        compare: Annotated[bool, Query(description="with the same a week ago")] = False,
    ) -> dict[str, Any]:
        """The points of one panel. Other parameters are values of the dashboard's variables."""
        one = found(request, who, name)
        given = {key: value for key, value in request.query_params.items() if key not in PLACE}
        drawn = dashboards.chart(
            one, panel, span(preset, since, until), width=width, given=given, compare=compare
        )
        return drawn.to_json()

    @routes.get("/marks/{name:path}", dependencies=[requires_somewhere("view")])
    def marks(
        request: Request, who: Who, name: str, *, preset: Preset = "", since: Since = "", until: Until = ""
    ) -> dict[str, Any]:
        """Deployments and alerts to mark in its charts."""
        one = found(request, who, name)
        return {"marks": [asdict(mark) for mark in dashboards.marks(one, span(preset, since, until))]}

    @routes.get("/explore", dependencies=[requires("view")])
    def explore(
        *, expr: str, width: Width = 600, preset: Preset = "", since: Since = "", until: Until = ""
    ) -> dict[str, Any]:
        """The points of any expression, as charts have them."""
        return dashboards.explored(expr, span(preset, since, until), width=width).to_json()

    @routes.get("/top", dependencies=[requires_somewhere("view")])
    def lines(visible: Visible) -> dict[str, Any]:
        """Every service and host with its figures, worst first."""
        return {"at": dashboards.now(), "lines": [line.to_json() for line in top.lines(visible)]}

    return routes
