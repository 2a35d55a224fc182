"""Failures as pages: the plain chain, and the way out."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from opsbook.errors import Invalid, OpsbookError
from opsbook.server.console.shell import Shell

log = logging.getLogger("opsbook.server")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def pages(shell: Shell) -> type[APIRoute]:
    """The kind of route whose failures are pages, not JSON."""

    class Page(APIRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def handled(request: Request) -> Response:
                try:
                    return await handle(request)
                except RequestValidationError as error:
                    said = "; ".join(str(problem["msg"]) for problem in error.errors())
                    return trouble(shell, request, Invalid(said, where=request.url.path))
                except OpsbookError as error:
                    return trouble(shell, request, error)
                except (
                    Exception
                ) as error:  # its text may hold anything, a secret too: it goes to the private log
                    reference = secrets.token_hex(4)
                    log.exception("%s %s failed [%s]", request.method, _route(request), reference)
                    hint = f"its cause is in opsbook.log of the state folder: search for {reference}"
                    del error
                    return trouble(shell, request, OpsbookError("an error inside opsbook", hint=hint))

            return handled

    return Page


def trouble(shell: Shell, request: Request, error: OpsbookError) -> Response:
    """The page about `error`."""
    if error.http_status >= 500:
        log.warning("%s %s: %s", request.method, _route(request), error)
    context = {"title": "Not done", "error": error}
    return shell.page(request, "trouble.html", lambda: context, status=error.http_status, whole=True)


def _route(request: Request) -> str:
    """The route's own path: what was asked for may be a sign-in link."""
    return str(getattr(request.scope.get("route"), "path", "?"))
