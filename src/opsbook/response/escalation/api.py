"""Routes of escalation: ``/api/response/escalations``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from opsbook.book import Book
from opsbook.errors import Invalid, NotFound
from opsbook.response.escalation.chains import OnCall
from opsbook.response.escalation.model import Escalation
from opsbook.response.escalation.room import Escalations
from opsbook.response.escalation.views import chains_view, view
from opsbook.security.api import Visible, Who, allowing, requires_nothing, requires_somewhere
from opsbook.security.model import Action, Identity
from opsbook.security.plan import may

Allow = Annotated[Callable[[Action, str | None], None], Depends(allowing)]


class AnswerBody(BaseModel):
    """Which incident; left out: the only one."""

    model_config = ConfigDict(extra="forbid")

    incident: str = Field("", max_length=100)


def router(room: Escalations, book: Callable[[], Book], on_call: OnCall) -> APIRouter:
    """See the module. `on_call`: see `Escalations`."""
    routes = APIRouter(prefix="/api/response/escalations", tags=["escalation"])

    def shown(one: Escalation) -> dict[str, Any]:
        return view(one, room.due(one), room.next_in_words(one))

    def allowed(one: Escalation, allow: Allow, action: Action) -> Escalation:
        allow(action, one.subject.environment or None)
        return one

    @routes.get("", dependencies=[requires_somewhere("view")])
    def listed(visible: Visible, over: bool = False, limit: int = 50) -> dict[str, Any]:
        """What is being paged about; with `over` also what was."""
        found = [one for one in room.listed() if (over or one.open) and _seen(one, visible)]
        return {
            "escalations": [shown(one) for one in found[: max(1, min(limit, 1000))]],
            "trouble": room.trouble,
        }

    @routes.get("/chains", dependencies=[requires_somewhere("view")])
    def chains() -> dict[str, Any]:
        """Every chain, with whom each step would page now."""
        return {"chains": chains_view(book(), on_call)}

    @routes.get("/{name}", dependencies=[requires_nothing()])
    def show(name: str, allow: Allow) -> dict[str, Any]:
        """One of them, with its pages."""
        return shown(allowed(room.get(name), allow, "view"))

    @routes.post("/acknowledge", dependencies=[requires_nothing()])
    def answer(body: AnswerBody, who: Who, allow: Allow) -> dict[str, Any]:
        """Somebody has it: nobody else is paged for now."""
        one = room.get(body.incident) if body.incident else _only(room, who)
        return shown(room.acknowledge(allowed(one, allow, "run").id, who.actor))

    @routes.post("/next", dependencies=[requires_nothing()])
    def hurry(body: AnswerBody, who: Who, allow: Allow) -> dict[str, Any]:
        """Page the next step now."""
        one = room.get(body.incident) if body.incident else _only(room, who)
        return shown(room.escalate(allowed(one, allow, "run").id, who.actor))

    return routes


def _only(room: Escalations, who: Identity) -> Escalation:
    """The one that is meant when none is named: of those one may answer, the only one that nobody has."""
    mine = [
        one for one in room.listed() if one.open and may(who, "run", one.subject.environment or None).allowed
    ]
    waiting = [one for one in mine if one.state != "acknowledged"] or mine
    if not waiting:
        raise NotFound("nobody is being paged", hint="opsbook incidents")
    if len(waiting) > 1:
        names = ", ".join(one.id for one in waiting[:5])
        raise Invalid(f"there are {len(waiting)} incidents", hint=f"name one: {names}")
    return waiting[0]


def _seen(one: Escalation, visible: frozenset[str] | None) -> bool:
    return visible is None or one.subject.environment in visible
