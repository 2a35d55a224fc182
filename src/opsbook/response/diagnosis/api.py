"""Routes of diagnoses: ``/api/response/diagnoses``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from opsbook.errors import Conflict
from opsbook.response.diagnosis.model import Diagnosis
from opsbook.response.diagnosis.rendering import markdown
from opsbook.response.diagnosis.room import BUDGET, Diagnoses
from opsbook.response.following import news
from opsbook.security.api import Visible, Where, Who, allowing, in_body, requires, requires_somewhere
from opsbook.security.model import Action
from opsbook.security.plan import may, sees

LONGEST_BUDGET = 120.0
Allow = Annotated[Callable[[Action, str | None], None], Depends(allowing)]


class DiagnosisBody(BaseModel):
    """What is to be looked at. `runbooks`: run the diagnose blocks of pages, which needs the right to run."""

    model_config = ConfigDict(extra="forbid")

    environment: str = Field("", max_length=100)
    service: str = Field(
        "", max_length=100, description="left out: the machines, and what belongs to no service"
    )
    incident: str = Field("", max_length=100)
    budget: float = Field(BUDGET, ge=0.5, le=LONGEST_BUDGET, description="seconds that it may take at most")
    runbooks: bool = True


def of_diagnosis(room: Diagnoses) -> Where:
    """The environment of the diagnosis that the path names. Raises NotFound."""

    async def find(request: Request) -> str | None:
        return await asyncio.to_thread(room.environment_of, str(request.path_params["name"]))

    return find


def router(
    room: Diagnoses,
    stopping: Callable[[], bool] = lambda: False,
    incident_in: Callable[[str], str | None] | None = None,
) -> APIRouter:
    """All routes.

    Args:
        stopping: whether the server ends; streams end then.
        incident_in: the environment of an incident, of whose record it becomes a part. Raises NotFound.
    """
    routes = APIRouter(prefix="/api/response/diagnoses", tags=["diagnosis"])
    looking = requires("view", of_diagnosis(room))

    @routes.get("", dependencies=[requires_somewhere("view")])
    def listed(
        visible: Visible, environment: str | None = None, service: str | None = None
    ) -> dict[str, Any]:
        """The last one of each service, the newest first."""
        found = [
            one
            for one in room.listed()
            if sees(visible, one.environment)
            and environment in (None, one.environment)
            and service in (None, one.service)
        ]
        return {"diagnoses": [one.to_json() for one in found]}

    @routes.post("", status_code=202, dependencies=[requires("view", in_body("environment"))])
    def begin(body: DiagnosisBody, who: Who, allow: Allow) -> dict[str, Any]:
        """Begin to look; what comes is told by ``/live``."""
        if body.incident and incident_in is not None:
            allow("run", incident_in(body.incident))
        pages = body.runbooks and may(who, "run", body.environment).allowed
        name = room.begin(
            body.environment,
            body.service,
            who.actor,
            incident=body.incident,
            budget=body.budget,
            run_pages=pages,
        )
        return {"id": name, "runbooks": pages}

    @routes.get("/{name}", dependencies=[looking])
    def one(name: str) -> dict[str, Any]:
        """A diagnosis; one that is under way as far as it has come."""
        return room.view(name)

    @routes.get("/{name}/markdown", dependencies=[looking])
    def as_markdown(name: str) -> PlainTextResponse:
        """The same for people, as Markdown."""
        found = room.view(name)
        if found["progress"] != "ended":
            raise Conflict(f"{name} is not made yet", hint=f"GET /api/response/diagnoses/{name}", where=name)
        text = markdown(Diagnosis.from_json(found))
        return PlainTextResponse(text, media_type="text/markdown; charset=utf-8")

    @routes.get("/{name}/live", dependencies=[looking])
    async def live(name: str, request: Request) -> StreamingResponse:
        """Each look as it ends, then the diagnosis: one JSON object a line; an empty line each second without any."""
        return news(lambda over: room.follow(name, over), name, request, stopping)

    return routes
