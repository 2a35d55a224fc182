"""The web application: the rooms' routes and the server's own, in one shape of errors.

It asks nobody who they are: `opsbook.server.access.Access` stands in front of it on every listener.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, Query
from fastapi.responses import JSONResponse

import opsbook
from opsbook.security.api import Visible, requires, requires_somewhere
from opsbook.server import events, failures, journal_api
from opsbook.server.rooms import Rooms


class Ending:
    """How the application asks the process to end; `run` puts in what does it."""

    def __init__(self) -> None:
        self.services_ended = False  # `rooms.stop(True)` has been done
        self.request: Callable[[], None] = lambda: None
        self.lock = asyncio.Lock()


def create_app(rooms: Rooms, *, documentation: bool = False) -> FastAPI:
    """The API of one running opsbook.

    Args:
        documentation: serve the Swagger page too; off by default because it loads scripts from a foreign
            host.
    """
    app = FastAPI(
        title="opsbook",
        version=opsbook.__version__,
        openapi_url="/api/openapi.json",
        docs_url="/api/docs" if documentation else None,
        redoc_url=None,
    )
    failures.install(app)
    app.state.streams = events.Streams(rooms.events)
    app.state.at_end = [app.state.streams.close]  # each ends streams that would hold the server
    app.state.ending = Ending()
    app.include_router(_server_routes(rooms, app.state.ending))
    app.include_router(events.router(rooms.events, app.state.streams))
    app.include_router(journal_api.router(rooms.events))
    for routes in rooms.routers:
        app.include_router(routes)
    if rooms.install_pages is not None:
        rooms.install_pages(app)
    return app


def _server_routes(rooms: Rooms, ending: Ending) -> APIRouter:
    routes = APIRouter(prefix="/api", tags=["server"])
    started_at = time.time()

    @routes.get("/health")
    def health() -> JSONResponse:
        """Whether opsbook can work; needs no token."""
        found = {"ok": True, "version": opsbook.__version__, **rooms.health()}
        return JSONResponse(found, status_code=200 if found["ok"] else 503)

    @routes.get("/status", dependencies=[requires_somewhere("view")])
    def status(visible: Visible, environment: Annotated[str | None, Query()] = None) -> dict[str, Any]:
        """What runs, in one environment or in all that one may look at."""
        found = rooms.status(environment)
        if visible is not None:
            mine = {name: one for name, one in found["environments"].items() if name in visible}
            found = {**found, "environments": mine}
        server = {"pid": os.getpid(), "version": opsbook.__version__, "started_at": started_at}
        return {**found, "server": {**server, **found.get("server", {})}}

    @routes.post("/server/stop", status_code=202, dependencies=[requires("stop")])
    async def stop(services: Annotated[bool, Body(embed=True)] = False) -> dict[str, Any]:
        """End opsbook; with `services` also all that it runs, which must succeed first."""
        async with ending.lock:
            if services and not ending.services_ended:
                await asyncio.to_thread(rooms.stop, True)
                ending.services_ended = True
        ending.request()
        return {"stopping": True, "services": ending.services_ended, "pid": os.getpid()}

    return routes
