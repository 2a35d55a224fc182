"""The console put together, and put before the world."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import cast

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

import opsbook.deployment.pages as deployment_pages
import opsbook.monitoring.pages as monitoring_pages
from opsbook.deployment.pages.source import Source
from opsbook.deployment.pages.watching import DeploymentWatch
from opsbook.errors import NotFound
from opsbook.journal import Event, Journal
from opsbook.monitoring.pages.source import Source as Watched
from opsbook.monitoring.pages.watching import MonitoringWatch
from opsbook.response.pages.source import Source as Responded
from opsbook.response.pages.watching import ResponseWatch
from opsbook.security.model import Identity, NotSignedIn
from opsbook.security.plan import may_somewhere
from opsbook.security.room import Security
from opsbook.security.sessions import COOKIE
from opsbook.server.console import handbook_pages, journal_pages, now, routes, sign_in
from opsbook.server.console.assets import Assets
from opsbook.server.console.live import Live, Watch
from opsbook.server.console.shell import Shell
from opsbook.server.console.trouble import pages, trouble

ROOMS = ("opsbook.deployment", "opsbook.monitoring", "opsbook.response")
"""The rooms that bring templates of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the composition root hands in.

    Args:
        watched: None: there are no pages about what is watched.
        responded: what is open; None: nobody responds.
        watches: make the further pages live.
        further: makers of further pages; each is handed the shell and the kind of its routes.
    """

    source: Source
    journal: Journal
    handbook: handbook_pages.Handbook
    security: Security
    stopping: threading.Event
    watched: Watched | None = None
    responded: Responded | None = None
    watches: tuple[Watch, ...] = ()
    further: tuple[Callable[[Shell, type[APIRoute]], APIRouter], ...] = ()


class Console:
    """All pages of one opsbook."""

    def __init__(self, parts: Parts) -> None:
        assets = Assets()
        watched = parts.watched
        watches: tuple[Watch, ...] = (
            DeploymentWatch(parts.source),
            ShellWatch(),
            *([MonitoringWatch(watched)] if watched is not None else []),
            *([ResponseWatch(parts.responded)] if parts.responded is not None else []),
            *parts.watches,
        )
        self.live = Live(parts.journal, watches, parts.stopping)
        self._shell = Shell(
            ROOMS,
            assets,
            self.live,
            lambda: parts.handbook.current().name,
            watched is not None,
            parts.responded is not None,
        )
        route_class = pages(self._shell)
        self._routers = (
            now.router(parts.source, parts.journal, self._shell, watched, parts.responded),
            *deployment_pages.routers(parts.source, self._shell, route_class),
            *(monitoring_pages.routers(watched, self._shell, route_class) if watched is not None else ()),
            *(make(self._shell, route_class) for make in parts.further),
            journal_pages.router(parts.journal, self._shell, parts.source.now),
            handbook_pages.router(parts.handbook, parts.source, self._shell),
            sign_in.router(self._shell, parts.security),
            routes.router(self._shell, assets, self.live, admitted(parts.security)),
        )

    def install(self, app: FastAPI) -> None:
        """Add the pages to `app`; unknown addresses below none of the API's become pages too."""
        app.state.at_end.append(self.live.close)
        for router in self._routers:
            app.include_router(router)
        before = cast(
            "Callable[[Request, Exception], Response | Awaitable[Response]]",
            app.exception_handlers[HTTPException],
        )

        async def refused(request: Request, error: Exception) -> Response:
            reads = "text/html" in request.headers.get("accept", "")
            if reads and not request.url.path.startswith("/api/"):
                return trouble(
                    self._shell, request, NotFound("there is no such page", where=request.url.path)
                )
            answer = before(request, error)
            return answer if isinstance(answer, Response) else await answer

        app.add_exception_handler(HTTPException, refused)


class ShellWatch:
    """The topics that belong to no room."""

    def topics(self, event: Event) -> Iterable[str]:
        yield "journal"
        if event.kind.startswith("book."):
            yield "handbook"

    def may_follow(self, identity: Identity, topic: str) -> bool | None:
        if topic in ("journal", "handbook"):
            return may_somewhere(identity, "view").allowed
        return None

    def fingerprint(self, topic: str) -> str | None:
        return "" if topic in ("journal", "handbook") else None  # all of it is in the journal

    def points(self, topic: str) -> tuple[()]:
        del topic
        return ()


def admitted(security: Security) -> routes.Admitted:
    """Whether whoever opened a stream still is who they were: a session may have ended since."""

    def ask(request: Request, identity: Identity) -> bool:
        if identity.via != "session":
            return True
        try:
            return security.by_cookie(request.cookies.get(COOKIE, ""))[0] == identity
        except NotSignedIn:
            return False

    return ask
