"""Routes of incidents: ``/api/response/incidents``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from opsbook.errors import NotFound
from opsbook.response.incidents.figures import figures
from opsbook.response.incidents.model import Incident
from opsbook.response.incidents.room import Incidents
from opsbook.security.api import Visible, Where, Who, allowing, in_body, requires, requires_somewhere
from opsbook.security.model import Action
from opsbook.security.plan import sees

Allow = Annotated[Callable[[Action, str | None], None], Depends(allowing)]

TYPES = {"text": "text/plain; charset=utf-8", "json": "application/json", "svg": "image/svg+xml"}
QUIET = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}
"""For what others wrote: whatever is in it, nothing of it runs, and nothing is fetched."""


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DeclareBody(Body):
    """What is wrong, where, and how badly."""

    title: str = Field(min_length=1, max_length=1000)
    severity: str = Field("SEV2", max_length=10)
    environment: str = Field("", max_length=100)
    services: tuple[str, ...] = Field((), max_length=50)


class NoteBody(Body):
    """What somebody saw, tried or decided."""

    text: str = Field(min_length=1, max_length=8000)


class RoleBody(Body):
    """Who does what. An empty person: nobody does."""

    role: str = Field(max_length=20, description="commander, scribe, liaison or responder")
    person: str = Field("", max_length=100)


class SeverityBody(Body):
    """How bad it is."""

    severity: str = Field(max_length=10)
    reason: str = Field("", max_length=2000)


class ReasonBody(Body):
    """Why."""

    reason: str = Field("", max_length=2000)


class MergeBody(Body):
    """The incident that takes it over."""

    into: str = Field(max_length=100)


class UpdateBody(Body):
    """What others are told; customers too when it is public."""

    text: str = Field(min_length=1, max_length=4000)
    public: bool = False


class ActionBody(Body):
    """What somebody promises to do."""

    text: str = Field(min_length=1, max_length=1000)
    owner: str = Field("", max_length=100)
    due: str = Field("", max_length=10, description="a day such as 2026-12-01")


def of_incident(room: Incidents) -> Where:
    """The environment of the incident that the path names. Raises NotFound."""

    async def find(request: Request) -> str | None:
        incident = await asyncio.to_thread(room.get, str(request.path_params["name"]))
        return incident.environment or None

    return find


async def _declared(request: Request) -> str | None:
    found = in_body("environment")(request)
    return (await found if inspect.isawaitable(found) else found) or None


def router(room: Incidents) -> APIRouter:
    """All routes; an incident without an environment needs a role that is granted everywhere."""
    routes = APIRouter(prefix="/api/response/incidents", tags=["incidents"])
    looking, acting = requires("view", of_incident(room)), requires("run", of_incident(room))

    @routes.get("", dependencies=[requires_somewhere("view")])
    def listed(
        visible: Visible,
        state: str = "",
        environment: str = "",
        service: str = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> dict[str, Any]:
        """The newest first. `state`: one of them, or ``open`` for those that are not over."""
        found = [
            one
            for one in room.listed()
            if sees(visible, one.environment)
            and (not state or one.state == state or (state == "open" and one.open))
            and environment in ("", one.environment)
            and (not service or service in one.services)
        ]
        return {"incidents": [one.to_json() for one in found[:limit]], "total": len(found)}

    @routes.get("/figures", dependencies=[requires_somewhere("view")])
    def how_long(visible: Visible, since: float = 0.0) -> dict[str, Any]:
        """How long it took to detect, to acknowledge and to resolve: median and p90, in seconds."""
        return figures((one for one in room.every() if sees(visible, one.environment)), since)

    @routes.post("", status_code=201, dependencies=[requires("run", _declared)])
    def declare(body: DeclareBody, who: Who) -> dict[str, Any]:
        """Say that something is wrong."""
        return shown(room.declare(body.title, body.severity, body.environment, body.services, who.actor))

    @routes.get("/{name}", dependencies=[looking])
    def show(name: str) -> dict[str, Any]:
        """One of them."""
        return shown(room.get(name))

    @routes.get("/{name}/timeline", dependencies=[looking])
    def timeline(name: str) -> dict[str, Any]:
        """What happened, the oldest first."""
        return {"incident": name, "timeline": [one.to_json() for one in room.timeline(name)]}

    @routes.get("/{name}/attachments/{attachment}", dependencies=[looking])
    def attachment(name: str, attachment: str) -> Response:
        """The body of an attachment."""
        found = next((one for one in room.get(name).attachments if one.id == attachment), None)
        if found is None:
            raise NotFound(f"{name} has no attachment {attachment}", where=name)
        media = TYPES.get(found.kind, TYPES["text"])
        return Response(room.attachment(name, attachment), media_type=media, headers=QUIET)

    @routes.post("/{name}/acknowledge", dependencies=[acting])
    def acknowledge(name: str, who: Who) -> dict[str, Any]:
        """Somebody has it."""
        return shown(room.acknowledge(name, who.actor))

    @routes.post("/{name}/notes", dependencies=[acting])
    def note(name: str, body: NoteBody, who: Who) -> dict[str, Any]:
        """Write something into the timeline."""
        return shown(room.note(name, body.text, who.actor))

    @routes.post("/{name}/role", dependencies=[acting])
    def role(name: str, body: RoleBody, who: Who) -> dict[str, Any]:
        """Give a role to somebody."""
        return shown(room.set_role(name, body.role, body.person, who.actor))

    @routes.post("/{name}/severity", dependencies=[acting])
    def severity(name: str, body: SeverityBody, who: Who) -> dict[str, Any]:
        """It is worse, or not so bad."""
        return shown(room.set_severity(name, body.severity, who.actor, reason=body.reason))

    @routes.post("/{name}/mitigate", dependencies=[acting])
    def mitigate(name: str, body: ReasonBody, who: Who) -> dict[str, Any]:
        """Users notice it no more; the cause may still be there."""
        return shown(room.mitigate(name, who.actor, reason=body.reason))

    @routes.post("/{name}/resolve", dependencies=[acting])
    def resolve(name: str, body: ReasonBody, who: Who) -> dict[str, Any]:
        """It is over."""
        return shown(room.resolve(name, who.actor, reason=body.reason))

    @routes.post("/{name}/reopen", dependencies=[acting])
    def reopen(name: str, body: ReasonBody, who: Who) -> dict[str, Any]:
        """It was not over."""
        return shown(room.reopen(name, body.reason, who.actor))

    @routes.post("/{name}/merge", dependencies=[acting])
    def merge(name: str, body: MergeBody, who: Who, allow: Allow) -> dict[str, Any]:
        """It is a part of another one."""
        allow("run", room.get(body.into).environment or None)
        return shown(room.merge(name, body.into, who.actor))

    @routes.post("/{name}/close", dependencies=[acting])
    def close(name: str, body: ReasonBody, who: Who) -> dict[str, Any]:
        """Nothing is left to be done about it."""
        return shown(room.close(name, who.actor, reason=body.reason))

    @routes.post("/{name}/updates", dependencies=[acting])
    def update(name: str, body: UpdateBody, who: Who) -> dict[str, Any]:
        """Tell others how it goes."""
        return shown(room.update(name, body.text, body.public, who.actor))

    @routes.post("/{name}/actions", dependencies=[acting])
    def action(name: str, body: ActionBody, who: Who) -> dict[str, Any]:
        """Promise to do something."""
        return shown(room.add_action(name, body.text, body.owner, body.due, who.actor))

    @routes.post("/{name}/actions/{action}/done", dependencies=[acting])
    def done(name: str, action: str, who: Who) -> dict[str, Any]:
        """What was promised is done."""
        return shown(room.done_action(name, action, who.actor))

    return routes


def shown(incident: Incident) -> dict[str, Any]:
    """An incident as the API tells it."""
    return incident.to_json()
