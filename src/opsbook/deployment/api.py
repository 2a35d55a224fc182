"""The routes of deployment: ``/api/deployment/...``."""

from __future__ import annotations

import getpass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from opsbook.deployment.model import Rollout
from opsbook.deployment.requests import DeployRequest
from opsbook.deployment.room import Deployments


class DeployBody(BaseModel):
    """Deploy services; None means what the handbook says."""

    model_config = ConfigDict(extra="forbid")

    services: list[str] = Field(min_length=1)
    environment: str
    version: str | None = None
    strategy: str | None = None
    check_index: int | None = None
    when_busy: Literal["refuse", "queue", "supersede"] | None = None
    together: bool = False


class RollbackBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    service: str
    environment: str
    to: str | None = None


class ScaleBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    service: str
    environment: str
    replicas: int = Field(ge=0, le=1000)


class RestartBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    service: str
    environment: str


class AbortBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = ""


class GoOnBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    comment: str = ""


class PromoteBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    service: str
    environment: str


Actor = Annotated[str | None, Header(alias="X-Opsbook-Actor", max_length=100)]


def router(room: Deployments) -> APIRouter:
    """All routes of the room."""
    routes = APIRouter(prefix="/api/deployment", tags=["deployment"])

    def started(rollout: Rollout) -> dict[str, Any]:
        return {"id": rollout.id, "deployments": [room.view(name) for name in rollout.deployments]}

    @routes.get("/plan")
    def plan(
        environment: str | None = None, service: Annotated[list[str] | None, Query()] = None
    ) -> dict[str, Any]:
        """What would change, for one environment or all."""
        return {"plans": room.plans(environment, frozenset(service or ()))}

    @routes.post("/deployments", status_code=202)
    def deploy(body: DeployBody, actor: Actor = None) -> dict[str, Any]:
        """Deploy one or several services, in dependency order."""
        request = DeployRequest(**body.model_dump())
        return started(room.requests.deploy(request, _who(actor)))

    @routes.post("/rollbacks", status_code=202)
    def rollback(body: RollbackBody, actor: Actor = None) -> dict[str, Any]:
        """Back to an earlier release."""
        return started(room.requests.rollback(body.service, body.environment, body.to, _who(actor)))

    @routes.post("/scalings", status_code=202)
    def scale(body: ScaleBody, actor: Actor = None) -> dict[str, Any]:
        """Change the number of instances."""
        return started(room.requests.scale(body.service, body.environment, body.replicas, _who(actor)))

    @routes.post("/restarts", status_code=202)
    def restart(body: RestartBody, actor: Actor = None) -> dict[str, Any]:
        """Replace every instance, a few at a time, by one of the same release."""
        return started(room.requests.restart(body.service, body.environment, _who(actor)))

    @routes.get("/deployments")
    def deployments(
        environment: str | None = None,
        service: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> dict[str, Any]:
        """Newest first."""
        return {"deployments": room.listed(environment, service, limit)}

    @routes.get("/deployments/{name}")
    def deployment(name: str) -> dict[str, Any]:
        """One deployment with its transitions and their evidence."""
        return room.view(name)

    @routes.get("/deployments/{name}/analysis")
    def analysis(name: str) -> dict[str, Any]:
        """What a canary is judged by: points of the chart, rules, verdict and reason."""
        return room.analysis(name)

    @routes.post("/deployments/{name}/go-on")
    def go_on(name: str, body: GoOnBody, actor: Actor = None) -> dict[str, Any]:
        """Let a canary go on beyond a step that the analysis cannot decide."""
        room.requests.allow(name, _who(actor), body.comment)
        return room.view(name)

    @routes.post("/promotions", status_code=202)
    def promote(body: PromoteBody, actor: Actor = None) -> dict[str, Any]:
        """Deploy exactly what runs in the environment before."""
        return started(room.requests.promote(body.service, body.environment, _who(actor)))

    @routes.post("/deployments/{name}/abort")
    def abort(name: str, body: AbortBody, actor: Actor = None) -> dict[str, Any]:
        """Take it back, whatever it is doing."""
        room.requests.abort(name, body.reason, _who(actor))
        return room.view(name)

    @routes.get("/locks")
    def locks() -> dict[str, Any]:
        """Who is at work on what."""
        return {"locks": room.locks()}

    @routes.delete("/locks/{environment}/{service}", status_code=204)
    def break_lock(environment: str, service: str, actor: Actor = None) -> Response:
        """Take a lock away; its holder stops at its next step and leaves things as they are."""
        room.break_lock(environment, service, _who(actor))
        return Response(status_code=204)

    return routes


def _who(actor: str | None) -> str:
    return actor or getpass.getuser()
