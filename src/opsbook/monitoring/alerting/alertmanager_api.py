"""Alertmanager's API v2 below ``/alertmanager``: for Prometheus, amtool, Grafana and Karma as they are.

Its clients read errors as Alertmanager writes them, a text or ``{code, message}``; so these routes do not answer in
opsbook's own shape.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

import opsbook
from opsbook.book import Book
from opsbook.book.matchers import LabelMatcher, matcher_of
from opsbook.errors import Invalid, NotFound, OpsbookError
from opsbook.monitoring.alerting.intake import (
    alert_to_json,
    alerts_of,
    fits_silence,
    silence_to_am,
    wanted_of,
)  # fmt: skip
from opsbook.monitoring.alerting.room import Alerting, AlertView
from opsbook.monitoring.alerting.routing import matchers_from
from opsbook.monitoring.notifications.payload import rfc3339
from opsbook.promql.series import Matcher, compile_anchored
from opsbook.security.api import Who, requires
from opsbook.world.words import Clock

LARGEST_BODY = 16 * 1024 * 1024
_ORDER = {"active": 0, "pending": 1, "expired": 2}


def router(alerting: Alerting, book: Callable[[], Book], clock: Clock) -> APIRouter:
    """``/alertmanager/api/v2/...``."""
    routes = APIRouter(prefix="/alertmanager/api/v2", tags=["alertmanager"])
    view, change = [requires("view")], [requires("silence")]

    def shown(one: AlertView) -> dict[str, Any]:
        return alert_to_json(one, now=clock.now(), resolve_timeout=book().notifications.resolve_timeout)

    def chosen(choice: _Choice) -> list[AlertView]:
        return [one for one in alerting.alerts() if one.state != "resolved" and choice.fits(one)]

    @routes.get("/alerts", dependencies=view)
    def alerts(
        *,
        active: bool = True,
        silenced: bool = True,
        inhibited: bool = True,
        filters: Annotated[list[str], Query(alias="filter")] = [],  # noqa: B006 # FastAPI copies it
        receiver: str = "",
    ) -> Response:
        """The alerts that fire."""
        try:
            choice = _Choice(filters, receiver, active=active, silenced=silenced, inhibited=inhibited)
        except Invalid as error:
            return JSONResponse(error.message, status_code=400)
        found = sorted(chosen(choice), key=lambda one: one.alert.fingerprint)
        return JSONResponse([shown(one) for one in found])

    @routes.post("/alerts", dependencies=change)
    async def push(request: Request) -> Response:
        """Take alerts that somebody else's rules found."""
        try:
            found = alerts_of(await _body(request))
            await run_in_threadpool(alerting.receive, found)
        except Invalid as error:
            return JSONResponse(str(error), status_code=400)
        except OpsbookError as error:
            return JSONResponse(str(error), status_code=500)
        return Response()

    @routes.get("/alerts/groups", dependencies=view)
    def groups(
        *,
        active: bool = True,
        silenced: bool = True,
        inhibited: bool = True,
        filters: Annotated[list[str], Query(alias="filter")] = [],  # noqa: B006 # FastAPI copies it
        receiver: str = "",
    ) -> Response:
        """The alerts that fire, as they are told together."""
        try:
            choice = _Choice(filters, receiver, active=active, silenced=silenced, inhibited=inhibited)
        except Invalid as error:
            return JSONResponse(error.message, status_code=400)
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for one in chosen(choice):
            for way in alerting.destinations(one.alert):
                group = found.setdefault(
                    (way.key, way.channel),
                    {"alerts": [], "labels": dict(way.labels), "receiver": {"name": way.channel}},
                )
                group["alerts"].append(shown(one))
        return JSONResponse([found[key] for key in sorted(found)])

    _silence_routes(routes, alerting, clock)
    _status_routes(routes, book, clock)
    return routes


def _silence_routes(routes: APIRouter, alerting: Alerting, clock: Clock) -> None:
    view, change = [requires("view")], [requires("silence")]

    @routes.get("/silences", dependencies=view)
    def silences(
        filters: Annotated[list[str], Query(alias="filter")] = [],  # noqa: B006 # FastAPI copies it
    ) -> Response:
        """All silences, the handbook's too."""
        try:
            wanted = [matcher_of(one) for one in filters]
        except Invalid as error:
            return JSONResponse(error.message, status_code=400)
        now = clock.now()
        found = [silence_to_am(one, now) for one in alerting.silences() if fits_silence(one, wanted)]
        found.sort(key=lambda one: (_ORDER[one["status"]["state"]], one["endsAt"], one["id"]))
        return JSONResponse(found)

    @routes.post("/silences", dependencies=change)
    async def silence(request: Request, who: Who) -> Response:
        """Add a silence, or change the one whose id it has."""
        try:
            wanted = wanted_of(await _body(request))
            made = await run_in_threadpool(alerting.silence, wanted, actor=who.actor)
        except NotFound as error:
            return JSONResponse(error.message, status_code=404)
        except OpsbookError as error:
            return JSONResponse(str(error), status_code=400)
        return JSONResponse({"silenceID": made.id})

    @routes.get("/silence/{name}", dependencies=view)
    def one_silence(name: str) -> Response:
        """One silence."""
        found = next((one for one in alerting.silences() if one.id == name), None)
        if found is None:
            return JSONResponse({"code": 404, "message": f"silence {name} not found"}, status_code=404)
        return JSONResponse(silence_to_am(found, clock.now()))

    @routes.delete("/silence/{name}", dependencies=change)
    def expire(name: str, who: Who) -> Response:
        """End a silence."""
        try:
            alerting.expire(name, actor=who.actor)
        except NotFound:
            return Response(status_code=404)
        except OpsbookError as error:
            return JSONResponse(str(error), status_code=500)
        return Response()


def _status_routes(routes: APIRouter, book: Callable[[], Book], clock: Clock) -> None:
    started_at, view = clock.now(), [requires("view")]

    @routes.get("/receivers", dependencies=view)
    def receivers() -> Response:
        """The channels."""
        return JSONResponse([{"name": name} for name in book().channels])

    @routes.get("/status", dependencies=view)
    def status() -> Response:
        """What answers here."""
        version = opsbook.__version__
        return JSONResponse({
            "cluster": {"status": "disabled", "peers": []},
            "config": {"original": _configuration(book())},
            "uptime": rfc3339(started_at),
            "versionInfo": {
                "branch": "", "buildDate": "", "buildUser": "", "goVersion": "", "revision": version,
                "version": version,
            },
        })  # fmt: skip


class _Choice:
    """Which alerts are asked for."""

    def __init__(
        self, filters: list[str], receiver: str, *, active: bool, silenced: bool, inhibited: bool
    ) -> None:
        wanted: tuple[LabelMatcher, ...] = tuple(matcher_of(one) for one in filters)
        self._matchers: tuple[Matcher, ...] = matchers_from(wanted)
        self._receiver = compile_anchored(receiver, where="receiver") if receiver else None
        self._active = active
        self._silenced = silenced
        self._inhibited = inhibited

    def fits(self, one: AlertView) -> bool:
        kinds = {suppression.kind for suppression in one.suppressions}
        if not kinds and not self._active:
            return False
        if "silence" in kinds and not self._silenced:
            return False
        if kinds - {"silence"} and not self._inhibited:
            return False
        if self._receiver is not None and not any(self._receiver.fullmatch(name) for name in one.channels):
            return False
        return all(matcher.matches(one.alert.labels) for matcher in self._matchers)


async def _body(request: Request) -> Any:
    """The JSON of a request, as much as one may send.

    Raises:
        Invalid: it is too much, or no JSON.
    """
    found = b""
    async for chunk in request.stream():
        found += chunk
        if len(found) > LARGEST_BODY:
            raise Invalid(f"more than {LARGEST_BODY} bytes at once")
    try:
        return json.loads(found)
    except ValueError:
        raise Invalid("the body is no JSON") from None


def _configuration(book: Book) -> str:
    """Who receives, as a configuration that Alertmanager's clients can read: routes are the handbook's."""
    names = list(book.channels) or ["nobody"]
    said: Mapping[str, Any] = {
        "route": {"receiver": names[0]},
        "receivers": [{"name": name} for name in names],
    }
    return json.dumps(said)
