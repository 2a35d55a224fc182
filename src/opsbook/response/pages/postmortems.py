"""``/incidents/ID/postmortem``: what was learned; and its editor."""

from __future__ import annotations

import posixpath
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import Response as Plain
from fastapi.routing import APIRoute
from markupsafe import Markup

from opsbook.errors import NotAllowed, NotFound, OpsbookError
from opsbook.response.incidents.model import Incident
from opsbook.response.pages.asking import Button, Fields, Question, act, ask, button, refusals
from opsbook.response.pages.incident import QUIET
from opsbook.response.pages.incidents import incident_for
from opsbook.response.pages.prose import html
from opsbook.response.pages.source import Json, Postmortems, Shell, Source
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The page, its plot, and what changes it."""
    routes = APIRouter(
        prefix="/incidents/{name}/postmortem", include_in_schema=False, route_class=route_class
    )

    @routes.get("")
    def page(request: Request, name: str) -> Response:
        identity, incident = signed_in(request), incident_for(source, request, name)
        return shell.page(
            request,
            "response/postmortem.html",
            lambda: _page(source, identity, incident),
            topics=(f"postmortem/{name}",),
        )

    @routes.get("/plot.svg")
    def plot(request: Request, name: str) -> Response:
        incident_for(source, request, name)
        return Plain(_room(source).plot(name), headers=QUIET, media_type="image/svg+xml")

    @routes.get("/edit")
    def editor(request: Request, name: str) -> Response:
        incident = incident_for(source, request, name)
        shown = _room(source).show(name)
        return _editor(shell, request, incident, shown, shown["text"], shown["digest"])

    @routes.post("/edit")
    def save(request: Request, name: str, fields: Fields) -> Response:
        """Keep it; what somebody else has changed meanwhile is never overwritten, and what was typed is never lost."""
        incident = incident_for(source, request, name)
        room, text, base = _room(source), fields.get("text", ""), fields.get("base", "")
        try:
            decision = may(signed_in(request), "run", incident.environment or None)
            if not decision.allowed:
                raise NotAllowed(decision.why)
            room.edit(name, text, base, signed_in(request).actor)
        except OpsbookError as error:
            return _editor(shell, request, incident, room.show(name), text, base, error)
        return shell.see_other(f"/incidents/{name}/postmortem")

    for verb in _VERBS:
        _add(routes, source, shell, verb)
    return routes


def _add(routes: APIRouter, source: Source, shell: Shell, verb: str) -> None:
    @routes.get(f"/{verb}", name=f"ask_{verb}")
    def asking(request: Request, name: str) -> Response:
        return ask(shell, request, _question(incident_for(source, request, name), verb))

    @routes.post(f"/{verb}", name=verb)
    def doing(request: Request, name: str) -> Response:
        incident = incident_for(source, request, name)

        def do() -> None:
            getattr(_room(source), verb)(name, signed_in(request).actor)

        return act(shell, request, _question(incident, verb), do, f"/incidents/{name}/postmortem")


def _room(source: Source) -> Postmortems:
    if source.postmortems is None:
        raise NotFound("this opsbook writes no post-mortems")
    return source.postmortems


def _page(source: Source, identity: Identity, incident: Incident) -> dict[str, Any]:
    where = incident.environment or None
    base = f"/incidents/{incident.id}/postmortem"
    shown: Json | None = None
    try:
        shown = _room(source).show(incident.id)
    except NotFound as error:
        missing = error.message
    else:
        missing = ""
    buttons: list[Button] = []
    if source.postmortems is not None:
        buttons = [
            button(identity, "run", where, "write", "Write it…", f"{base}/write", "" if shown else "first")
        ]
    if shown is not None:
        final = [button(identity, "run", where, "finish", "Complete…", f"{base}/finish")]
        complete = shown.get("state") == "final"
        lesson = button(identity, "run", where, "lesson", "Propose a lesson…", f"{base}/lesson")
        edit = Button("edit", "Edit", f"{base}/edit", look="first", sheet=False)
        buttons = [edit, *([] if complete else final), *buttons, lesson]
    record = (shown or {}).get("record") or {}
    return {
        "title": f"Post-mortem of {incident.id}",
        "incident": incident,
        "shown": shown,
        "missing": missing,
        "record": record,
        "lesson": record.get("lesson"),
        "article": _article(shown, base) if shown else "",
        "buttons": buttons,
        "refused": refusals(buttons),
    }


def _article(shown: Json, base: str) -> Markup:
    title = str(shown.get("title") or "")
    return html(shown["path"], shown["text"], title=title, pictures=_pictures(shown, base))


def _pictures(shown: Json, base: str) -> dict[str, str]:
    """The plot lies beside the page."""
    plot = (shown.get("record") or {}).get("plot", "")
    return {posixpath.join(posixpath.dirname(shown["path"]), plot): f"{base}/plot.svg"} if plot else {}


def _editor(
    shell: Shell,
    request: Request,
    incident: Incident,
    shown: Json,
    text: str,
    base: str,
    error: OpsbookError | None = None,
) -> Response:
    decision = may(signed_in(request), "run", incident.environment or None)
    context = {
        "title": f"Edit the post-mortem of {incident.id}",
        "incident": incident,
        "shown": shown,
        "text": text,
        "base": base,
        "overtaken": base != shown["digest"],
        "error": error,
        "why": "" if decision.allowed else decision.why,
    }
    status = error.http_status if error is not None else 200
    return shell.page(request, "response/postmortem_edit.html", lambda: context, status=status)


_VERBS: dict[str, tuple[str, str, tuple[str, ...], str, str]] = {
    "write": (
        "Write the post-mortem of {id}?",
        "Write it",
        ("what opsbook knows is written into the page", "what people have changed in it stays as it is"),
        "the handbook's history",
        "opsbook postmortem write {id}",
    ),
    "finish": (
        "Is the post-mortem of {id} complete?",
        "It is complete",
        ("its page says `state: final`",),
        "edit it",
        "opsbook postmortem final {id}",
    ),
    "lesson": (
        "Propose a change to the runbook?",
        "Propose it",
        ("a branch, or a patch where there is no git, with what {id} has taught",),
        "delete the branch",
        "opsbook postmortem lesson {id} --again",
    ),
}


def _question(incident: Incident, verb: str) -> Question:
    title, submit, effect, way_back, command = _VERBS[verb]
    return Question(
        action="run",
        environment=incident.environment or None,
        title=title.format(id=incident.id),
        target=f"{incident.id} · {incident.title}",
        effect=tuple(one.format(id=incident.id) for one in effect),
        way_back=way_back,
        command=command.format(id=incident.id),
        submit=submit,
        back=f"/incidents/{incident.id}/postmortem",
    )
