"""The routes of the gates: approvals, checklists, freezes, holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from opsbook.book.roles import Role
from opsbook.deployment.gatekeeper import Gatekeeper
from opsbook.deployment.model import Deployment, Phase
from opsbook.deployment.records import Records
from opsbook.deployment.requests import Requests
from opsbook.security.api import (
    Visible,
    Where,
    Who,
    allowing,
    in_path,
    requires,
    requires_nothing,
    requires_somewhere,
)
from opsbook.security.model import Action

Allow = Annotated[Callable[[Action, str | None], None], Depends(allowing)]


class ApproveBody(BaseModel):
    """`plan`: the hash that was looked at; another one is refused."""

    model_config = ConfigDict(extra="forbid")

    comment: str = Field("", max_length=2000)
    plan: str | None = None


class FreezeBody(BaseModel):
    """`until` in UTC epoch seconds; without environments and services: all."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=63)
    reason: str = Field("", max_length=500)
    until: float
    environments: list[str] | None = Field(None, min_length=1)
    services: list[str] | None = Field(None, min_length=1)
    roles: list[Role] = []
    incidents: bool = False


class ChecklistBody(BaseModel):
    """Sign `item`; or, with `check`, let the machine check its items of that stage."""

    model_config = ConfigDict(extra="forbid")

    item: str | None = None
    note: str = Field("", max_length=2000)
    check: Literal["during", "post"] | None = None


def of_deployment(records: Records) -> Where:
    """The environment of the deployment that the path names. Raises NotFound."""

    async def find(request: Request) -> str:
        found = await asyncio.to_thread(records.deployment, str(request.path_params["name"]))
        return found.environment

    return find


def router(
    keeper: Gatekeeper, records: Records, requests: Requests, view: Callable[[str], dict[str, Any]]
) -> APIRouter:
    """All routes.

    Args:
        view: a deployment as the API gives it.
    """
    routes = APIRouter(prefix="/api/deployment", tags=["gates"])
    looking = requires("view", of_deployment(records))

    @routes.get("/deployments/{name}/gates", dependencies=[looking])
    def gates(name: str) -> dict[str, Any]:
        """What the deployment waits for, who may open it, and the hash of what is to be approved."""
        return keeper.view(name)

    # Approving and signing refuse with better words than a role that is missing: they decide for themselves.
    @routes.post("/deployments/{name}/approve", dependencies=[requires_nothing()])
    def approve(name: str, body: ApproveBody, who: Who, allow: Allow) -> dict[str, Any]:
        """Say yes to a deployment of somebody else, or to a canary that the analysis cannot decide."""
        deployment = records.deployment(name)
        if deployment.phase is Phase.ANALYSING:
            _allow_going_on(keeper, deployment, who, allow)
            requests.allow(name, who.actor, body.comment)
        else:
            keeper.approvals.approve(name, who, body.comment, plan=body.plan)
        # Who did it is said by itself: with the last approval the deployment may have left its gates already.
        return view(name) | {"gates": keeper.view(name)["gates"], "by": who.name}

    @routes.post("/deployments/{name}/go-on", dependencies=[requires_nothing()])
    def go_on(name: str, body: ApproveBody, who: Who, allow: Allow) -> dict[str, Any]:
        """Let a canary go on beyond a step that the analysis cannot decide."""
        _allow_going_on(keeper, records.deployment(name), who, allow)
        requests.allow(name, who.actor, body.comment)
        return view(name)

    @routes.delete("/deployments/{name}/approve", status_code=204, dependencies=[requires_nothing()])
    def withdraw(name: str, who: Who) -> Response:
        """Take one's yes back, while the deployment still waits."""
        keeper.approvals.withdraw(name, who)
        return Response(status_code=204)

    @routes.get("/deployments/{name}/checklist", dependencies=[looking])
    def checklist(name: str) -> dict[str, Any]:
        """The checklist of one deployment, with what was signed and what was found."""
        return keeper.checklists.show(name)

    @routes.post("/deployments/{name}/checklist", dependencies=[requires_nothing()])
    def sign(name: str, body: ChecklistBody, who: Who, allow: Allow) -> dict[str, Any]:
        """Sign an item, or let the machine check its items of a stage."""
        if body.check is not None:
            allow("deploy", records.deployment(name).environment)
            keeper.check(name, body.check)
        if body.item is not None:
            keeper.checklists.sign(name, body.item, who, body.note)
        return keeper.checklists.show(name)

    @routes.get("/freezes", dependencies=[requires_somewhere("view")])
    def freezes(visible: Visible) -> dict[str, Any]:
        """Those of the handbook and those that somebody added; the ones that hold now first."""
        rows = keeper.freezes.listed()
        if visible is not None:
            rows = [row for row in rows if row["environments"] is None or visible & set(row["environments"])]
        return {"freezes": rows}

    @routes.post("/freezes", status_code=201, dependencies=[requires_somewhere("freeze")])
    def freeze(body: FreezeBody, who: Who, allow: Allow) -> dict[str, Any]:
        """Forbid deployments from now on. What has passed its gates goes on to its end; rollbacks always may."""
        for environment in body.environments or (None,):
            allow("freeze", environment)
        return keeper.freezes.add(
            body.name,
            who,
            reason=body.reason,
            until=body.until,
            environments=body.environments,
            services=body.services,
            roles=body.roles,
            incidents=body.incidents,
        ).to_json()

    @routes.delete("/freezes/{name}", status_code=204, dependencies=[requires_somewhere("freeze")])
    def lift(name: str, who: Who, allow: Allow) -> Response:
        """End a freeze that somebody added."""
        for environment in keeper.freezes.get(name).environments or (None,):
            allow("freeze", environment)
        keeper.freezes.lift(name, who)
        return Response(status_code=204)

    @routes.get("/holds", dependencies=[requires_somewhere("view")])
    def holds(visible: Visible) -> dict[str, Any]:
        """Releases that were taken back and that nothing deploys by itself."""
        rows = keeper.holds.listed()
        return {"holds": [row for row in rows if visible is None or row["environment"] in visible]}

    @routes.delete(
        "/holds/{environment}/{service}/{release}",
        status_code=204,
        dependencies=[requires("release_hold", in_path("environment"))],
    )
    def release(environment: str, service: str, release: str, who: Who) -> Response:
        """Say that a release may be deployed again."""
        keeper.holds.release(environment, service, release, who)
        return Response(status_code=204)

    return routes


def _allow_going_on(
    keeper: Gatekeeper, deployment: Deployment, who: Who, allow: Callable[[Action, str | None], None]
) -> None:
    """Where changes need approval so does this; elsewhere whoever may deploy may also let it go on."""
    if keeper.protected(deployment.environment):
        keeper.approvals.refuse_unless_able(deployment, who)
    else:
        allow("deploy", deployment.environment)
