"""The routes of the handbook: ``/api/book/...``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from opsbook.book import differences
from opsbook.security.api import in_query, requires, requires_somewhere
from opsbook.server.handbook import Handbook


def router(handbook: Handbook) -> APIRouter:
    """What the server thinks of its handbook."""
    routes = APIRouter(prefix="/api/book", tags=["book"])

    @routes.get("/check", dependencies=[requires_somewhere("view")])
    def check() -> dict[str, Any]:
        """Errors and warnings of the handbook as last read."""
        return {**handbook.to_json(), "problems": handbook.problems()}

    @routes.get(
        "/differences", dependencies=[requires("view", in_query("from")), requires("view", in_query("to"))]
    )
    def environment_differences(
        one: Annotated[str, Query(alias="from")], other: Annotated[str, Query(alias="to")]
    ) -> dict[str, Any]:
        """What differs between two environments, field by field."""
        found = differences(handbook.current(), one, other)
        return {
            "from": one,
            "to": other,
            "differences": [difference.to_json() for difference in found],
        }

    return routes
