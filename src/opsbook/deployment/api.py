"""The routes of deployment: ``/api/deployment/...``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from opsbook.deployment.gate_api import of_deployment
from opsbook.deployment.model import Rollout
from opsbook.deployment.requests import DeployRequest
from opsbook.deployment.room import Deployments
from opsbook.security.api import Visible, Who, in_body, in_path, requires, requires_somewhere
from opsbook.security.plan import sees


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
    incident: str = Field("", max_length=100)


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


class PromoteBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    service: str
    environment: str
    incident: str = Field("", max_length=100)


def router(room: Deployments) -> APIRouter:
    """All routes of the room."""
    routes = APIRouter(prefix="/api/deployment", tags=["deployment"])

    def started(rollout: Rollout) -> dict[str, Any]:
        head = room.site.journal.head().id  # before the views: what comes after them is after it too
        deployments = [room.view(name) for name in rollout.deployments]
        return {"id": rollout.id, "deployments": deployments, "head": head}

    named = of_deployment(room.site.records)

    @routes.get("/plan", dependencies=[requires_somewhere("view")])
    def plan(
        visible: Visible,
        environment: str | None = None,
        service: Annotated[list[str] | None, Query()] = None,
    ) -> dict[str, Any]:
        """What would change, for one environment or all that one may look at."""
        plans = room.plans(environment, frozenset(service or ()))
        return {"plans": [one for one in plans if sees(visible, str(one["environment"]))]}

    @routes.post("/deployments", status_code=202, dependencies=[requires("deploy", in_body("environment"))])
    def deploy(body: DeployBody, who: Who) -> dict[str, Any]:
        """Deploy one or several services, in dependency order."""
        request = DeployRequest(**body.model_dump())
        return started(room.requests.deploy(request, who.actor))

    @routes.post("/rollbacks", status_code=202, dependencies=[requires("rollback", in_body("environment"))])
    def rollback(body: RollbackBody, who: Who) -> dict[str, Any]:
        """Back to an earlier release."""
        return started(room.requests.rollback(body.service, body.environment, body.to, who.actor))

    @routes.post("/scalings", status_code=202, dependencies=[requires("scale", in_body("environment"))])
    def scale(body: ScaleBody, who: Who) -> dict[str, Any]:
        """Change the number of instances."""
        return started(room.requests.scale(body.service, body.environment, body.replicas, who.actor))

    @routes.post("/restarts", status_code=202, dependencies=[requires("restart", in_body("environment"))])
    def restart(body: RestartBody, who: Who) -> dict[str, Any]:
        """Replace every instance, a few at a time, by one of the same release."""
        return started(room.requests.restart(body.service, body.environment, who.actor))

    @routes.get("/deployments", dependencies=[requires_somewhere("view")])
    def deployments(
        visible: Visible,
        environment: str | None = None,
        service: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> dict[str, Any]:
        """Newest first, of environments that one may look at."""
        if visible is None or environment is not None:
            rows = room.listed(environment, service, limit)
            return {"deployments": [row for row in rows if sees(visible, str(row["environment"]))]}
        rows = [row for name in visible for row in room.listed(name, service, limit)]
        rows.sort(key=lambda row: float(row["requested_at"]), reverse=True)
        return {"deployments": rows[:limit]}

    @routes.get("/deployments/{name}", dependencies=[requires("view", named)])
    def deployment(name: str) -> dict[str, Any]:
        """One deployment with its transitions and their evidence."""
        return room.view(name)

    @routes.get("/deployments/{name}/analysis", dependencies=[requires("view", named)])
    def analysis(name: str) -> dict[str, Any]:
        """What a canary is judged by: points of the chart, rules, verdict and reason."""
        return room.analysis(name)

    @routes.get("/deployments/{name}/retrospective", dependencies=[requires("view", named)])
    def judged_again(
        name: str, strategy: Annotated[str | None, Query(description="another than its own")] = None
    ) -> dict[str, Any]:
        """What the rules of a strategy would have made of what was measured then."""
        return room.judged_again(name, strategy)

    @routes.post("/promotions", status_code=202, dependencies=[requires("deploy", in_body("environment"))])
    def promote(body: PromoteBody, who: Who) -> dict[str, Any]:
        """Deploy exactly what runs in the environment before."""
        return started(
            room.requests.promote(body.service, body.environment, who.actor, incident=body.incident)
        )

    @routes.post("/deployments/{name}/abort", dependencies=[requires("abort", named)])
    def abort(name: str, body: AbortBody, who: Who) -> dict[str, Any]:
        """Take it back, whatever it is doing."""
        room.requests.abort(name, body.reason, who.actor)
        return room.view(name)

    @routes.get("/locks", dependencies=[requires_somewhere("view")])
    def locks(visible: Visible) -> dict[str, Any]:
        """Who is at work on what."""
        return {"locks": [lock for lock in room.locks() if sees(visible, str(lock["subject"]))]}

    @routes.delete(
        "/locks/{environment}/{service}",
        status_code=204,
        dependencies=[requires("break_lock", in_path("environment"))],
    )
    def break_lock(environment: str, service: str, who: Who) -> Response:
        """Take a lock away; its holder stops at its next step and leaves things as they are."""
        room.break_lock(environment, service, who.actor)
        return Response(status_code=204)

    return routes
