"""Routes of runbooks and their runs: ``/api/response/{runbooks,runs}``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from opsbook.book.runbooks import Runbook
from opsbook.errors import NotAllowed
from opsbook.response.following import news
from opsbook.response.runbooks.evidence import Evidence
from opsbook.response.runbooks.model import Run
from opsbook.response.runbooks.reach import environments_of
from opsbook.response.runbooks.room import Runbooks
from opsbook.response.runbooks.views import page_view, run_line
from opsbook.security.api import Visible, Where, Who, allowing, requires, requires_nothing, requires_somewhere
from opsbook.security.model import Action
from opsbook.security.plan import sees

Allow = Annotated[Callable[[Action, str | None], None], Depends(allowing)]
_LONGEST = 8192  # characters of one parameter; how long it may be its page says


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RunBody(Body):
    """A page and its parameters; never any text that would run."""

    page: str = Field(max_length=200)
    params: dict[str, Annotated[str, Field(max_length=_LONGEST)]] = Field({}, max_length=100)
    dry_run: bool = False
    stepwise: bool = False
    incident: str = Field("", max_length=100)


class DecisionBody(Body):
    """`step` left out: the one that it waits with, or that failed. `binding`: what was looked at."""

    step: str = Field("", max_length=100)
    reason: str = Field("", max_length=2000)
    binding: str = Field("", max_length=64)
    params: dict[str, Annotated[str, Field(max_length=_LONGEST)]] = Field({}, max_length=100)


def of_run(room: Runbooks) -> Where:
    """The environment of the run that the path names. Raises NotFound."""

    async def find(request: Request) -> str | None:
        found = await asyncio.to_thread(room.records.run, str(request.path_params["name"]))
        return found.environment

    return find


def router(
    room: Runbooks,
    stopping: Callable[[], bool],
    incident_in: Callable[[str], str | None] | None = None,
    incident_of: Callable[[Runbook, Mapping[str, str]], str] = lambda page, params: "",
) -> APIRouter:
    """All routes.

    Args:
        stopping: whether the server ends; streams end then.
        incident_in: the environment of an incident, of whose record a run becomes a part. Raises NotFound.
        incident_of: the incident that a run is about of which nobody said so; empty: none.
    """
    routes = APIRouter(prefix="/api/response", tags=["runbooks"])
    _pages(routes, room)
    _runs(routes, room, stopping, incident_in, incident_of)
    _decisions(routes, room)
    return routes


def _pages(routes: APIRouter, room: Runbooks) -> None:
    @routes.get("/runbooks", dependencies=[requires_somewhere("view")])
    def pages() -> dict[str, Any]:
        """Every page of the handbook, with how its runs went."""
        known, book = room.records.every_evidence(), room.book
        return {
            "runbooks": [
                page_view(page, known.get(name, Evidence()), owner=book.owner_of(page))
                for name, page in sorted(book.runbooks.items())
            ]
        }

    @routes.get("/runbooks/{name:path}", dependencies=[requires_somewhere("view")])
    def page(name: str) -> dict[str, Any]:
        """One page with its blocks."""
        book = room.book
        page = book.runbook(name)
        return page_view(page, room.records.evidence(name), owner=book.owner_of(page), whole=True)


def _runs(
    routes: APIRouter,
    room: Runbooks,
    stopping: Callable[[], bool],
    incident_in: Callable[[str], str | None] | None,
    incident_of: Callable[[Runbook, Mapping[str, str]], str],
) -> None:
    @routes.get("/runs", dependencies=[requires_somewhere("view")])
    def runs(visible: Visible, page: str | None = None, limit: int = 50) -> dict[str, Any]:
        """The newest first."""
        found = room.records.runs(
            page=page, limit=max(1, min(limit, 1000)), wanted=lambda run: _seen(run, visible)
        )
        return {"runs": [run_line(run) for run in found]}

    @routes.post("/runs", status_code=201, dependencies=[requires_nothing()])
    def start(body: RunBody, who: Who, allow: Allow) -> dict[str, Any]:
        """Start a page, or say what it would do."""
        for environment in environments_of(room.book.runbook(body.page), body.params) or (None,):
            allow("view" if body.dry_run else "run", environment)
        if body.dry_run:
            return room.plan(body.page, body.params)
        incident = body.incident or incident_of(room.book.runbook(body.page), body.params)
        if incident and incident_in is not None:
            try:
                allow("run", incident_in(incident))
            except NotAllowed:
                if body.incident:
                    raise
                incident = ""  # nobody asked for it
        run, attached = room.run(body.page, body.params, who.actor, incident=incident, stepwise=body.stepwise)
        return run_line(run) | {"attached": attached}

    looking = requires("view", of_run(room))

    @routes.get("/runs/{name}", dependencies=[looking])
    def run(name: str, output: bool = True) -> dict[str, Any]:
        """A run with its steps and their output, and what it waits for."""
        return room.view(name, output=output)

    @routes.get("/runs/{name}/live", dependencies=[looking])
    async def live(name: str, request: Request) -> StreamingResponse:
        """Its news from its beginning to its end, one JSON object a line; an empty line each second without any."""
        room.records.run(name)
        return news(lambda over: room.follow(name, over), name, request, stopping)


def _decisions(routes: APIRouter, room: Runbooks) -> None:
    deciding = requires("run", of_run(room))

    def everywhere(action: Action) -> Any:
        """Where else it works: a page may lead from one environment into another."""

        def check(name: str, allow: Allow) -> None:
            for environment in room.environments(room.records.run(name)):
                allow(action, environment)

        return Depends(check)

    also = everywhere("run")

    # Approving refuses with better words than a role that is missing: it decides for itself.
    @routes.post("/runs/{name}/approve", dependencies=[requires_nothing(), everywhere("approve")])
    def approve(name: str, body: DecisionBody, who: Who, allow: Allow) -> dict[str, Any]:
        """Say yes to a step of somebody else's run."""
        allow("approve", room.records.run(name).environment)
        room.approve(name, who, step=body.step, comment=body.reason, bound=body.binding)
        return room.view(name)

    @routes.post("/runs/{name}/resume", dependencies=[deciding, also])
    def resume(name: str, body: DecisionBody, who: Who) -> dict[str, Any]:
        """What it waited for is done; or, with a step, everything from there on anew."""
        room.resume(name, who.actor, step=body.step, note=body.reason, params=body.params)
        return room.view(name)

    @routes.post("/runs/{name}/retry", dependencies=[deciding, also])
    def retry(name: str, body: DecisionBody, who: Who) -> dict[str, Any]:
        """Try a step anew."""
        room.retry(name, who.actor, step=body.step, reason=body.reason)
        return room.view(name)

    @routes.post("/runs/{name}/skip", dependencies=[deciding, also])
    def skip(name: str, body: DecisionBody, who: Who) -> dict[str, Any]:
        """Pass a step over, with a reason."""
        room.skip(name, who.actor, step=body.step, reason=body.reason)
        return room.view(name)

    @routes.post("/runs/{name}/cancel", dependencies=[deciding, also])
    def cancel(name: str, body: DecisionBody, who: Who) -> dict[str, Any]:
        """End it, and undo what was done."""
        room.cancel(name, who.actor, body.reason)
        return room.view(name)


def _seen(run: Run, visible: frozenset[str] | None) -> bool:
    return sees(visible, run.subject)
