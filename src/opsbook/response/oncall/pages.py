"""``/oncall``: who is on call now and next, gaps, two weeks by layer, and who stands in for whom."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from opsbook.book import Book
from opsbook.book.moments import first_instant
from opsbook.book.oncall import ScheduleSpec
from opsbook.errors import Invalid, NotAllowed, NotFound, OpsbookError
from opsbook.journal import Event
from opsbook.response.oncall.grid import Row, grid
from opsbook.response.oncall.model import Override
from opsbook.response.oncall.room import DAY, OnCall
from opsbook.response.pages.asking import Question, act, ask
from opsbook.response.pages.source import Shell
from opsbook.response.pages.states import Condition
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may, may_somewhere

TOPIC = "oncall"
DAYS = 14
_LISTED = 60


async def _filled(request: Request) -> dict[str, str]:
    form = await request.form()
    return {key: value.strip()[:2000] for key, value in form.items() if isinstance(value, str)}


Filled = Annotated[dict[str, str], Depends(_filled)]


@dataclass(frozen=True, slots=True)
class Shown:
    """A schedule on the page."""

    name: str
    description: str
    timezone: str
    condition: Condition
    people: tuple[str, ...]
    until: float
    following: Mapping[str, Any] | None
    gaps: Sequence[Mapping[str, float]]
    rows: tuple[Row, ...]
    days: tuple[tuple[float, str], ...]  # percent, name
    now: float  # percent
    shifts: tuple[dict[str, Any], ...]
    overrides: tuple[Override, ...]
    local: str  # the present, as the schedule's clocks show it
    later: str


def router(
    oncall: OnCall,
    book: Callable[[], Book],
    shell: Shell,
    route_class: type[APIRoute],
    *,
    now: Callable[[], float],
) -> APIRouter:
    """The pages under ``/oncall``. `now`: epoch seconds."""
    routes = APIRouter(prefix="/oncall", include_in_schema=False, route_class=route_class)

    def page(request: Request, form: Form, error: OpsbookError | None = None) -> Response:
        identity = signed_in(request)
        if not (decision := may_somewhere(identity, "view")).allowed:
            raise NotAllowed(decision.why)
        return shell.page(
            request,
            "oncall/oncall.html",
            lambda: _context(oncall, book(), identity, now(), form, error),
            topics=(TOPIC,),
            status=error.http_status if error is not None else 200,
        )

    @routes.get("")
    def calendar(request: Request) -> Response:
        return page(request, Form())

    @routes.post("/override")
    def override(request: Request, filled: Filled) -> Response:
        """Somebody stands in. Times are as the schedule's clocks show them."""
        form = Form("override", filled)
        try:
            identity = _allowed(request)
            zone = _zone(book(), form.of("schedule"))
            oncall.override(
                form.of("schedule"),
                form.of("person"),
                _instant(form.of("start"), zone),
                _instant(form.of("end"), zone),
                reason=form.of("reason"),
                actor=identity.actor,
                instead_of=form.of("instead_of"),
            )
        except OpsbookError as error:
            return page(request, form, error)
        return shell.see_other("/oncall")

    @routes.post("/swap")
    def swap(request: Request, filled: Filled) -> Response:
        """Two shifts, each named by a time in it."""
        form = Form("swap", filled)
        try:
            identity = _allowed(request)
            zone = _zone(book(), form.of("schedule"))
            first, second = (_instant(form.of(name), zone) for name in ("first", "second"))
            oncall.swap(form.of("schedule"), first, second, actor=identity.actor)
        except OpsbookError as error:
            return page(request, form, error)
        return shell.see_other("/oncall")

    @routes.get("/overrides/{name}/remove")
    def removing(request: Request, name: str) -> Response:
        return ask(shell, request, _removal(oncall, name))

    @routes.post("/overrides/{name}/remove")
    def remove(request: Request, name: str) -> Response:
        actor = signed_in(request).actor

        def do() -> None:
            oncall.remove(name, actor=actor)

        return act(shell, request, _removal(oncall, name), do, "/oncall")

    return routes


@dataclass(frozen=True, slots=True)
class Form:
    """What was filled in, and which form it was."""

    kind: str = ""
    given: Mapping[str, str] = field(default_factory=dict)

    def of(self, name: str) -> str:
        return self.given.get(name, "")

    def kept(self, kind: str, schedule: str, name: str, usual: str = "") -> str:
        """What stands in a field: as it was sent, where this form was refused."""
        mine = self.kind == kind and self.of("schedule") == schedule
        return self.given.get(name, usual) if mine else usual


class OnCallWatch:
    """This room's part in live pages."""

    def __init__(self, oncall: OnCall) -> None:
        self._oncall = oncall

    def topics(self, event: Event) -> Iterable[str]:
        if event.kind.startswith(("oncall.", "book.")):
            yield TOPIC

    def may_follow(self, identity: Identity, topic: str) -> bool | None:
        return may_somewhere(identity, "view").allowed if topic == TOPIC else None

    def fingerprint(self, topic: str) -> str | None:
        """Hand-overs are no events: the page differs when somebody else is on call."""
        if topic != TOPIC:
            return None
        found = [[one["name"], one["now"]["people"], one["now"]["end"]] for one in self._oncall.now()]
        return hashlib.blake2b(json.dumps(found).encode(), digest_size=12).hexdigest()

    def points(self, topic: str) -> tuple[()]:
        del topic
        return ()


def _context(
    oncall: OnCall, book: Book, identity: Identity, now: float, form: Form, error: OpsbookError | None
) -> dict[str, Any]:
    decision = may(identity, "on_call")
    people = sorted(name for name, contact in book.contacts.items() if not contact.members)
    summaries = {one["name"]: one for one in oncall.now()}
    return {
        "title": "On call",
        "schedules": [_shown(oncall, one, summaries[one.name], now) for one in book.schedules],
        "people": people,
        "form": form,
        "error": error,
        "why": "" if decision.allowed else decision.why,
        "days": DAYS,
    }


def _shown(oncall: OnCall, spec: ScheduleSpec, summary: Mapping[str, Any], now: float) -> Shown:
    zone = ZoneInfo(spec.timezone)
    today = datetime.fromtimestamp(now, zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    edges = [first_instant(today + timedelta(days=number), zone) for number in range(DAYS + 1)]
    since, until = edges[0], edges[-1]
    overrides = tuple(one for one in oncall.overrides() if one.schedule == spec.name and one.end > now)
    final = oncall.shifts(spec.name, since, until)
    people = list(dict.fromkeys(person for layer in spec.layers for person in layer.people))
    current = tuple(summary["now"]["people"])
    at = datetime.fromtimestamp(now, zone)
    return Shown(
        name=spec.name,
        description=spec.description or "",
        timezone=spec.timezone,
        condition=Condition("ok", "on call") if current else Condition("critical", "nobody"),
        people=current,
        until=summary["now"]["end"],
        following=summary["next"],
        gaps=summary["gaps"],
        rows=grid(final, oncall.layers(spec.name, since, until), overrides, since, until, people),
        days=tuple(
            ((edge - since) / (until - since) * 100, (today + timedelta(days=number)).strftime("%a %d"))
            for number, edge in enumerate(edges[:-1])
        ),
        now=(now - since) / (until - since) * 100,
        shifts=tuple(one.to_json() for one in oncall.shifts(spec.name, now, now + DAYS * DAY)[:_LISTED]),
        overrides=overrides,
        local=at.strftime("%Y-%m-%dT%H:%M"),
        later=(at + timedelta(hours=8)).strftime("%Y-%m-%dT%H:%M"),
    )


def _removal(oncall: OnCall, name: str) -> Question:
    found = next((one for one in oncall.overrides() if one.id == name), None)
    if found is None:
        raise NotFound(f"there is no override {name}", hint="opsbook oncall override", where=name)
    return Question(
        action="on_call",
        environment=None,
        title="Take back",
        target=f"{found.person} stands in on {found.schedule}"
        + (f" for {found.instead_of}" if found.instead_of else ""),
        effect=("The schedule holds again as it is written.",),
        way_back="Enter it again.",
        command=f"opsbook oncall override --remove {found.id}",
        submit="Take it back",
        back="/oncall",
        danger=False,
    )


def _allowed(request: Request) -> Identity:
    identity = signed_in(request)
    if not (decision := may(identity, "on_call")).allowed:
        raise NotAllowed(decision.why)
    return identity


def _zone(book: Book, schedule: str) -> ZoneInfo:
    for one in book.schedules:
        if one.name == schedule:
            return ZoneInfo(one.timezone)
    raise NotFound(f"there is no schedule {schedule}", hint="opsbook oncall")


def _instant(text: str, zone: ZoneInfo) -> float:
    try:
        return first_instant(datetime.fromisoformat(text).replace(tzinfo=None), zone)
    except (ValueError, OverflowError, OSError):
        raise Invalid(f"expected a time, got {text[:60]!r}", hint="write 2026-12-24T18:00") from None
