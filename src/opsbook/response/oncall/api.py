"""Routes of who is on call. ``/api/response/oncall``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from opsbook.response.oncall.handover import markdown
from opsbook.response.oncall.room import OnCall
from opsbook.security.api import Visible, Who, requires, requires_somewhere


class AskedOverride(BaseModel):
    """Somebody stands in. Times are epoch seconds."""

    model_config = ConfigDict(extra="forbid")

    schedule: str
    person: str
    start: float
    end: float
    instead_of: str = Field("", description="only this person's shifts; left out: whoever it is")
    reason: str = ""


class AskedSwap(BaseModel):
    """Two shifts exchanged, each named by a moment in it (epoch seconds)."""

    model_config = ConfigDict(extra="forbid")

    schedule: str
    first: float
    second: float


def router(oncall: OnCall) -> APIRouter:
    """See the module."""
    routes = APIRouter(prefix="/api/response/oncall", tags=["on call"])

    @routes.get("", dependencies=[requires_somewhere("view")])
    def now() -> dict[str, Any]:
        """Every schedule: who is on call, who is next, and when nobody is in the next 30 days."""
        return {"schedules": oncall.now()}

    @routes.get("/schedules/{name}", dependencies=[requires_somewhere("view")])
    def schedule(name: str, since: float, until: float) -> dict[str, Any]:
        """Who is on call from `since` to `until` (epoch seconds)."""
        return {"name": name, "shifts": [shift.to_json() for shift in oncall.shifts(name, since, until)]}

    @routes.get("/handover", dependencies=[requires_somewhere("view")])
    def handover(visible: Visible, schedule: str | None = None) -> dict[str, Any]:
        """What who comes next has to know, as data and as `markdown`."""
        found = oncall.handover(schedule, visible)
        return found.to_json() | {"markdown": markdown(found)}

    @routes.get("/calendar.ics", dependencies=[requires_somewhere("view")])
    def calendar(schedule: str | None = None, person: str = "") -> Response:
        """An iCalendar feed of 120 days: of one schedule, of one person, or all."""
        return Response(oncall.feed(schedule, person), media_type="text/calendar; charset=utf-8")

    @routes.get("/overrides", dependencies=[requires_somewhere("view")])
    def overrides() -> dict[str, Any]:
        """What people changed; what is over is kept for 90 days."""
        return {"overrides": [one.to_json() for one in oncall.overrides()]}

    @routes.post("/overrides", dependencies=[requires("on_call")])
    def override(asked: AskedOverride, who: Who) -> dict[str, Any]:
        """Have somebody stand in."""
        made = oncall.override(
            asked.schedule,
            asked.person,
            asked.start,
            asked.end,
            instead_of=asked.instead_of,
            reason=asked.reason,
            actor=who.actor,
        )
        return {"override": made.to_json()}

    @routes.delete("/overrides/{name}", dependencies=[requires("on_call")])
    def remove(name: str, who: Who) -> dict[str, Any]:
        """Take an override back."""
        return {"override": oncall.remove(name, actor=who.actor).to_json()}

    @routes.post("/swaps", dependencies=[requires("on_call")])
    def swap(asked: AskedSwap, who: Who) -> dict[str, Any]:
        """Exchange two shifts."""
        made = oncall.swap(asked.schedule, asked.first, asked.second, actor=who.actor)
        return {"overrides": [one.to_json() for one in made]}

    return routes
