"""``/slos``: objectives, and what is left of their budgets."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.errors import NotAllowed
from opsbook.monitoring.pages.source import Shell, Source
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may_somewhere


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The pages under ``/slos``."""
    routes = APIRouter(prefix="/slos", include_in_schema=False, route_class=route_class)

    @routes.get("")
    def listed(request: Request) -> Response:
        identity = signed_in(request)
        decision = may_somewhere(identity, "view")
        if not decision.allowed:
            raise NotAllowed(decision.why)
        return shell.page(
            request,
            "monitoring/slos.html",
            lambda: {"title": "Objectives", "rows": _rows(source, identity)},
            topics=("slos",),
        )

    return routes


def _rows(source: Source, identity: Identity) -> list[dict[str, Any]]:
    if source.objectives is None:
        return []
    return []
