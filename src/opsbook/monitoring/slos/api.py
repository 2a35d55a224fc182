"""Routes of objectives."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from opsbook.errors import NotFound
from opsbook.monitoring.slos.room import Slos
from opsbook.security.api import Visible, requires_somewhere


def router(slos: Slos) -> APIRouter:
    """``/api/monitoring/slos``."""
    routes = APIRouter(prefix="/api/monitoring/slos", tags=["slos"])

    @routes.get("", dependencies=[requires_somewhere("view")])
    def listed(visible: Visible) -> dict[str, Any]:
        """All objectives, the least budget first; cut to environments that one may look at."""
        return {"slos": slos.listed(visible)}

    @routes.get("/{name:path}", dependencies=[requires_somewhere("view")])
    def show(name: str, visible: Visible) -> dict[str, Any]:
        """One, with burn rates and burn-down; by its id (``ENVIRONMENT/NAME``), or by a name that only one has."""
        found = slos.show(name)
        if visible is not None and found["environment"] is not None and found["environment"] not in visible:
            raise NotFound(f"there is no SLO {name}")
        return found

    return routes
