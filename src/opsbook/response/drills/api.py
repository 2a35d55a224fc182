"""Routes of drills: ``/api/response/drills``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from opsbook.response.drills.model import Result
from opsbook.response.drills.room import Drills
from opsbook.security.api import Who, requires_somewhere


def router(room: Drills) -> APIRouter:
    """See the module."""
    routes = APIRouter(prefix="/api/response/drills", tags=["drills"])

    @routes.get("", dependencies=[requires_somewhere("view")])
    def every() -> dict[str, Any]:
        """The last drill of each page."""
        return {"drills": room.evidence()}

    @routes.get("/{page}", dependencies=[requires_somewhere("view")])
    def of(page: str) -> dict[str, Any]:
        """The drills of a page, the newest first."""
        return {"results": [one.to_json() for one in room.of(page)]}

    @routes.post("", status_code=201, dependencies=[requires_somewhere("run")])
    def record(body: Result, who: Who) -> dict[str, Any]:
        """Write down how a drill went."""
        return room.record(body, who.actor).to_json()

    return routes
