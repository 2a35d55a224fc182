"""Routes of post-mortems and the status page. ``/api/response/postmortems``, ``/api/response/status-page``."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from opsbook.response.postmortems.room import LARGEST, Postmortems
from opsbook.security.api import Visible, Who, requires, requires_somewhere
from opsbook.security.plan import sees


class EditBody(BaseModel):
    """A person's text of a page. `base` is the digest of the text that they began from."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=LARGEST)
    base: str


def router(room: Postmortems) -> APIRouter:
    """All routes."""
    routes = APIRouter(prefix="/api/response", tags=["post-mortems"])
    _reading(routes, room)
    _writing(routes, room)
    _status_page(routes, room)
    return routes


def _of_incident(room: Postmortems) -> Any:
    """The environment of the incident that the path names. Raises NotFound."""

    async def find(request: Request) -> str | None:
        name = str(request.path_params["name"])
        return await asyncio.to_thread(room.environment_of, name)

    return find


def _reading(routes: APIRouter, room: Postmortems) -> None:
    looking = requires("view", _of_incident(room))

    @routes.get("/postmortems", dependencies=[requires_somewhere("view")])
    def listed(visible: Visible) -> dict[str, Any]:
        """Every post-mortem, the newest first."""
        return {"postmortems": [one for one in room.listed() if _seen(one.get("environment", ""), visible)]}

    @routes.get("/postmortem-actions", dependencies=[requires_somewhere("view")])
    def actions(visible: Visible, owner: str = "", every: bool = False) -> dict[str, Any]:
        """What was promised and is not done (`every`: also what is), what is overdue first."""
        found = room.actions(owner=owner, open_only=not every)
        return {"actions": [one.to_json() for one in found if _seen(one.environment, visible)]}

    @routes.get("/postmortems/{name}", dependencies=[looking])
    def show(name: str) -> dict[str, Any]:
        """The page's text, its digest, and what opsbook knows of it."""
        return room.show(name)

    @routes.get("/postmortems/{name}/plot.svg", dependencies=[looking])
    def plot(name: str) -> Response:
        """What was measured."""
        headers = {
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(room.plot(name), media_type="image/svg+xml", headers=headers)

    @routes.get("/postmortems/{name}/lesson", dependencies=[looking])
    def lesson(name: str) -> dict[str, Any]:
        """The change to a runbook that was proposed; null: none was."""
        record = room.record(name)
        return {"lesson": record.lesson.to_json() if record is not None and record.lesson else None}


def _writing(routes: APIRouter, room: Postmortems) -> None:
    deciding = requires("run", _of_incident(room))

    @routes.post("/postmortems/{name}", dependencies=[deciding])
    def write(name: str, who: Who) -> dict[str, Any]:
        """Write it now, or anew in the parts that nobody has changed."""
        return room.write(name, who.actor).to_json()

    @routes.post("/postmortems/{name}/text", dependencies=[deciding])
    def edit(name: str, body: EditBody, who: Who) -> dict[str, Any]:
        """Put a person's text in its place; 409 when somebody else was faster."""
        return room.edit(name, body.text, body.base, who.actor)

    @routes.post("/postmortems/{name}/final", dependencies=[deciding])
    def finish(name: str, who: Who) -> dict[str, Any]:
        """Say that it is complete."""
        return room.finish(name, who.actor)

    @routes.post("/postmortems/{name}/lesson", dependencies=[deciding])
    def propose(name: str, who: Who) -> dict[str, Any]:
        """Propose the change to a runbook anew."""
        found = room.lesson(name, who.actor)
        return {"lesson": found.to_json() if found is not None else None}


def _status_page(routes: APIRouter, room: Postmortems) -> None:
    @routes.get("/status-page", dependencies=[requires_somewhere("view")])
    def status_page(files: bool = False) -> dict[str, Any]:
        """What customers are told, and where it is written; with `files` the page's files by name."""
        publishing = room.publishing
        answer = {"page": publishing.page().to_json(), **publishing.to_json()}
        return answer | ({"files": publishing.files()} if files else {})

    @routes.post("/status-page", dependencies=[requires("run")])
    def build() -> dict[str, Any]:
        """Write it into the policy's folder now."""
        return {"to": str(room.publishing.build())}


def _seen(environment: str | None, visible: frozenset[str] | None) -> bool:
    return sees(visible, environment or "opsbook")
