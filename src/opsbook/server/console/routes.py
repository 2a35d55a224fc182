"""What pages load and follow: the static files, and the stream that tells what changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from opsbook.errors import NotFound
from opsbook.security.model import Identity
from opsbook.server.console.assets import Assets
from opsbook.server.console.live import Live
from opsbook.server.console.shell import HEADERS, Shell, who
from opsbook.server.console.trouble import pages

FOREVER = "public, max-age=31536000, immutable"
TOPICS = 20  # as many as any page has

Admitted = Callable[[Request, Identity], bool]
"""Whether whoever opened a stream may still have it."""


def router(shell: Shell, assets: Assets, live: Live, admitted: Admitted) -> APIRouter:
    """``/static`` and ``/live``."""
    routes = APIRouter(include_in_schema=False, route_class=pages(shell))

    @routes.get("/static/{stamp}/{name:path}")
    async def static(stamp: str, name: str, accept_encoding: Annotated[str, Header()] = "") -> Response:
        found = assets.find(name, stamp)
        if found is None:
            raise NotFound("there is no such file, or it has changed", where=name)
        headers = {
            "Cache-Control": FOREVER,
            "X-Content-Type-Options": "nosniff",
            "Vary": "Accept-Encoding",
        }
        packed = "gzip" in accept_encoding
        if packed:
            headers["Content-Encoding"] = "gzip"
        return Response(found.packed if packed else found.content, headers=headers, media_type=found.kind)

    @routes.get("/favicon.ico")
    async def icon() -> Response:
        return shell.see_other(assets.url("icon.svg"))

    @routes.get("/live")
    async def follow(
        request: Request,
        topics: Annotated[list[str] | None, Query()] = None,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        identity = who(request)
        wanted = frozenset(t for t in (topics or [])[:TOPICS] if live.may_follow(identity, t))
        return StreamingResponse(
            live.follow(wanted, last_event_id, lambda: admitted(request, identity)),
            media_type="text/event-stream",
            headers={**HEADERS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return routes
