"""Routes of probes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from opsbook.monitoring.probes.room import Probes
from opsbook.security.api import Visible, requires, requires_somewhere


def router(probes: Probes) -> APIRouter:
    """``/api/monitoring/probes``."""
    routes = APIRouter(prefix="/api/monitoring/probes", tags=["probes"])

    @routes.get("", dependencies=[requires_somewhere("view")])
    def listed(visible: Visible) -> dict[str, Any]:
        """What is looked at, those that are down first; cut to environments that one may look at."""
        rows = probes.listed()
        return {
            "probes": [
                row
                for row in rows
                if visible is None or row["environment"] is None or row["environment"] in visible
            ]
        }

    @routes.post("/{name}/run", dependencies=[requires("view")])
    def run(name: str) -> dict[str, Any]:
        """Look once, now."""
        return probes.run(name)

    return routes
