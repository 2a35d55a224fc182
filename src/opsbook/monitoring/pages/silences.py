"""``/silences``: keep alerts quiet for a while, after having seen which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from opsbook.book.matchers import LabelMatcher, matcher_of
from opsbook.errors import Invalid, NotAllowed, NotFound, OpsbookError
from opsbook.monitoring.alerting.room import AlertView
from opsbook.monitoring.alerting.silences import Wanted
from opsbook.monitoring.pages.source import Shell, Source
from opsbook.monitoring.pages.states import Shown, of_view
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may, visible
from opsbook.terminal import parse_duration

LENGTHS = (
    ("30m", "30 minutes"),
    ("1h", "an hour"),
    ("2h", "2 hours"),
    ("4h", "4 hours"),
    ("8h", "8 hours"),
    ("1d", "a day"),
    ("3d", "3 days"),
    ("7d", "a week"),
)
MEANWHILE = (
    ("", "all the time"),
    ("deployment", "only while the service is being deployed"),
    ("maintenance", "only within a maintenance window"),
)
_LONGEST = 2000  # characters of a comment


async def _filled(request: Request) -> dict[str, str]:
    form = await request.form()
    return {key: value.strip() for key, value in form.items() if isinstance(value, str)}


Filled = Annotated[dict[str, str], Depends(_filled)]


@dataclass(frozen=True, slots=True)
class Form:
    """What was filled in."""

    matchers: str = ""
    length: str = "2h"
    during: str = ""
    comment: str = ""

    @property
    def parsed(self) -> tuple[LabelMatcher, ...]:
        """Raises Invalid."""
        return tuple(matcher_of(line) for line in self.matchers.splitlines() if line.strip())


def form_of(given: dict[str, str]) -> Form:
    """A form from an address, or as it was sent."""
    length = given.get("length", "2h")
    return Form(
        given.get("matchers", "").replace("\r\n", "\n").strip(),
        length if length in dict(LENGTHS) else "2h",
        given.get("during", "") if given.get("during", "") in dict(MEANWHILE) else "",
        given.get("comment", "")[:_LONGEST],
    )


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The pages under ``/silences``."""
    routes = APIRouter(prefix="/silences", include_in_schema=False, route_class=route_class)

    def page(request: Request, form: Form, error: OpsbookError | None = None) -> Response:
        identity = signed_in(request)
        status = error.http_status if error is not None else 200
        return shell.page(
            request,
            "monitoring/silence.html",
            lambda: _asked(source, identity, form, error),
            status=status,
        )

    @routes.get("/new")
    def asked(request: Request) -> Response:
        """The form, and what it would hide as it is filled in."""
        return page(request, form_of(dict(request.query_params)))

    @routes.post("/new")
    def silenced(request: Request, filled: Filled) -> Response:
        form = form_of(filled)
        identity = signed_in(request)
        try:
            _allowed(identity)
            now = source.now()
            source.alerting.silence(
                Wanted(
                    matchers=form.parsed,
                    starts_at=now,
                    ends_at=now + parse_duration(form.length),
                    comment=form.comment,
                    created_by=identity.actor,
                    during=form.during or None,  # type: ignore[arg-type]  # one of MEANWHILE
                ),
                actor=identity.actor,
            )
        except OpsbookError as error:
            return page(request, form, error)
        return shell.see_other("/alerts?state=silenced#silences")

    @routes.get("/{name}/expire")
    def ending(request: Request, name: str) -> Response:
        """Asks once more."""
        return _expiry(source, shell, request, name, None)

    @routes.post("/{name}/expire")
    def expire(request: Request, name: str) -> Response:
        identity = signed_in(request)
        try:
            _allowed(identity)
            source.alerting.expire(name, actor=identity.actor)
        except OpsbookError as error:
            return _expiry(source, shell, request, name, error)
        return shell.see_other("/alerts#silences")

    return routes


def _allowed(identity: Identity) -> None:
    decision = may(identity, "silence")
    if not decision.allowed:
        raise NotAllowed(decision.why)


def _asked(source: Source, identity: Identity, form: Form, error: OpsbookError | None) -> dict[str, Any]:
    hides: list[Shown] = []
    problem = error
    if form.matchers:
        try:
            hides = _shown(source.alerting.hidden_by(form.parsed), identity)
        except Invalid as wrong:
            problem = problem or wrong
    decision = may(identity, "silence")
    return {
        "title": "Silence alerts",
        "form": form,
        "lengths": LENGTHS,
        "meanwhile": MEANWHILE,
        "hides": hides,
        "previewed": bool(form.matchers) and (problem is None or bool(hides)),
        "error": problem,
        "why": "" if decision.allowed else decision.why,
        "command": _command(form),
    }


def _shown(views: tuple[AlertView, ...], identity: Identity) -> list[Shown]:
    mine = visible(identity)
    found = [of_view(view) for view in views]
    return sorted((one for one in found if mine is None or one.environment in mine), key=lambda one: one.rank)


def _command(form: Form) -> str:
    lines = [line.strip() for line in form.matchers.splitlines() if line.strip()] or ['alertname="…"']
    meanwhile = f" --during {form.during}" if form.during else ""
    matchers = " ".join(f"'{line}'" for line in lines)
    return (
        f"opsbook silence add {matchers} --for {form.length}{meanwhile} --comment '{form.comment or 'why'}'"
    )


def _expiry(
    source: Source, shell: Shell, request: Request, name: str, error: OpsbookError | None
) -> Response:
    identity = signed_in(request)
    silence = next((one for one in source.alerting.silences() if one.id == name), None)
    if silence is None:
        raise NotFound(f"there is no silence {name}", hint="opsbook silence list", where=name)
    decision = may(identity, "silence")
    matchers = tuple(LabelMatcher(one.label, one.operator, one.value) for one in silence.matchers)
    context = {
        "title": "End a silence",
        "silence": silence,
        "matchers": [str(one) for one in matchers],
        "hides": _shown(source.alerting.hidden_by(matchers), identity),
        "error": error,
        "why": "" if decision.allowed else decision.why,
    }
    return shell.page(
        request,
        "monitoring/expire.html",
        lambda: context,
        status=error.http_status if error is not None else 200,
    )
