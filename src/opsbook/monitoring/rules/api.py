"""Routes of rules: ``/api/monitoring/alerts`` and ``/api/monitoring/rules``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from opsbook.monitoring.rules.views import RulesView
from opsbook.security.api import Visible, requires, requires_somewhere


def router(view: RulesView) -> APIRouter:
    """The routes.

    Args:
        view: of the rules that run.
    """
    routes = APIRouter(tags=["monitoring"])

    @routes.get("/api/monitoring/alerts", dependencies=[requires_somewhere("view")])
    def alerts(
        visible: Visible,
        *,
        pending: Annotated[bool, Query(description="those that do not fire yet, too")] = False,
    ) -> dict[str, Any]:
        """What fires, worst first; cut to the environments that whoever is asking may see."""
        return {"alerts": view.alerts(visible=visible, pending=pending)}

    @routes.get("/api/monitoring/rules", dependencies=[requires("view")])
    def rules() -> dict[str, Any]:
        """Every group of rules with its health, in Prometheus' shape."""
        return view.rules_json()

    return routes
