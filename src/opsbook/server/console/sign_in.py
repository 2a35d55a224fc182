"""Signing in: with a personal token, or a link that works once; and out."""

from __future__ import annotations

import contextlib
import time
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from opsbook.errors import NotFound
from opsbook.security.model import NotSignedIn
from opsbook.security.room import Security
from opsbook.security.sessions import COOKIE
from opsbook.server.console.shell import HEADERS, Shell, who
from opsbook.server.console.trouble import pages


def router(shell: Shell, security: Security) -> APIRouter:
    """``/sign-in`` and ``/sign-out``."""
    routes = APIRouter(include_in_schema=False, route_class=pages(shell))

    @routes.get("/sign-in")
    def ask(request: Request, next: str = "/") -> Response:  # noqa: A002 - as it stands in the address
        if request.headers.get("sec-fetch-site") == "cross-site":
            return _once_more(_inside(next))
        return shell.page(
            request,
            "sign_in.html",
            lambda: {"title": "Sign in", "next": _inside(next), "link": "", "why": ""},
        )

    @routes.get("/sign-in/{secret}")
    def ask_with_link(request: Request, secret: str) -> Response:
        """Only asks: what looks at links before people do (chats, mail scanners) must not use it up."""
        return shell.page(
            request, "sign_in.html", lambda: {"title": "Sign in", "next": "/", "link": secret, "why": ""}
        )

    @routes.post("/sign-in")
    def sign_in(
        request: Request,
        given: Annotated[str, Form(max_length=200)],
        next: Annotated[str, Form(max_length=1000)] = "/",  # noqa: A002 - as it stands in the address
    ) -> Response:
        try:
            session, secret = security.sign_in(given)
        except NotSignedIn as error:
            context = {"title": "Sign in", "next": _inside(next), "link": "", "why": f"{error.message}."}
            return shell.page(request, "sign_in.html", lambda: context, status=401)
        answer = shell.see_other(_inside(next))
        answer.set_cookie(
            COOKIE,
            secret,
            max_age=max(1, int(session.expires_at - time.time())),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @routes.post("/sign-out")
    def sign_out(request: Request) -> Response:
        with contextlib.suppress(NotFound):  # it is over already, which is what was wanted
            identity = who(request)
            security.sessions.close(identity.credential, identity.actor)
        answer = shell.see_other("/sign-in")
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        answer.headers["Clear-Site-Data"] = '"cache"'
        return answer

    return routes


def _inside(path: str) -> str:
    """A path of this site; anything else becomes the first page."""
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if ours and "\\" not in path else "/"


def _once_more(path: str) -> Response:
    """After a link from elsewhere (a chat, a mail) a browser keeps our cookie back; asked by this page, it sends it."""
    page = Markup('<!doctype html><meta http-equiv="refresh" content="0; url={}"><title>opsbook</title>')
    return HTMLResponse(page.format(path), headers={**HEADERS, "Cache-Control": "no-store"})
