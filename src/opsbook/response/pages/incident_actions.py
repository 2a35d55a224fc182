"""What one does about an incident. GET asks, POST does; a note is written in the room itself."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.errors import NotAllowed, NotFound, OpsbookError
from opsbook.response.incidents.model import Incident, severity_of
from opsbook.response.pages.asking import ASKED_AT, Field, Fields, Question, act, ask, asked_at, kept
from opsbook.response.pages.incident import room_page
from opsbook.response.pages.incident_verbs import VERBS, Choices, Filled, Verb, severities
from opsbook.response.pages.incidents import incident_for
from opsbook.response.pages.source import Shell, Source
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may, sees, visible


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """Everything below ``/incidents`` that changes something."""
    routes = APIRouter(prefix="/incidents", include_in_schema=False, route_class=route_class)
    _declaring(routes, source, shell)
    for name, verb in VERBS.items():
        _add(routes, source, shell, name, verb)

    @routes.post("/{name}/note")
    def note(request: Request, name: str, fields: Fields) -> Response:
        incident = incident_for(source, request, name)
        text, actor = fields.get("text", ""), request.state.identity.actor
        try:
            _allowed(request, incident.environment)
            if not _noted(source, name, text, actor, asked_at(fields)):
                source.incidents.note(name, text, actor)
        except OpsbookError as error:
            return room_page(source, shell, request, name, typed=text, error=error)
        return shell.see_other(f"/incidents/{name}#timeline-title")

    @routes.get("/{name}/actions/{action}/done")
    def ask_done(request: Request, name: str, action: str) -> Response:
        return ask(shell, request, _done(incident_for(source, request, name), action))

    @routes.post("/{name}/actions/{action}/done")
    def done(request: Request, name: str, action: str) -> Response:
        def do() -> None:
            source.incidents.done_action(name, action, request.state.identity.actor)

        asked = _done(incident_for(source, request, name), action)
        return act(shell, request, asked, do, f"/incidents/{name}#actions-title")

    return routes


def _noted(source: Source, name: str, text: str, actor: str, since: float) -> bool:
    """Whether it stands there already, by the same person, from the same form."""
    return any(
        one.kind == "note" and one.recorded_at >= since and (one.text, one.actor) == (text, actor)
        for one in source.incidents.timeline(name)
    )


def _add(routes: APIRouter, source: Source, shell: Shell, name: str, verb: Verb) -> None:
    @routes.get(f"/{{incident}}/{name}", name=f"ask_{name}")
    def asking(request: Request, incident: str) -> Response:
        found = incident_for(source, request, incident)
        return ask(shell, request, _question(source, signed_in(request), found, verb, {}))

    @routes.post(f"/{{incident}}/{name}", name=name)
    def doing(request: Request, incident: str, fields: Fields) -> Response:
        found = incident_for(source, request, incident)
        identity = signed_in(request)

        def do() -> None:
            if into := fields.get("into"):
                _allowed(request, incident_for(source, request, into).environment)
            verb.do(source, found, fields, identity.actor)

        asked = _question(source, identity, found, verb, fields)
        return act(shell, request, asked, do, f"/incidents/{incident}")


def _question(source: Source, identity: Identity, incident: Incident, verb: Verb, filled: Filled) -> Question:
    merged = f"it was merged into {incident.merged_into}" if incident.state == "merged" else ""
    asked = Question(
        action="run",
        environment=incident.environment or None,
        title=verb.title.format(id=incident.id),
        target=f"{incident.id} · {incident.severity} · {incident.title}",
        effect=verb.effect(source, incident),
        way_back=verb.way_back.format(id=incident.id),
        command=verb.command.format(id=incident.id),
        submit=verb.submit,
        back=f"/incidents/{incident.id}",
        danger=verb.danger,
        fields=verb.asks(source, identity, incident),
        hidden={ASKED_AT: str(source.now())},
        impossible=merged or verb.refused(incident),
    )
    return kept(asked, filled)


def _allowed(request: Request, environment: str) -> None:
    decision = may(signed_in(request), "run", environment or None)
    if not decision.allowed:
        raise NotAllowed(decision.why)


# --- declaring


def _declaring(routes: APIRouter, source: Source, shell: Shell) -> None:
    @routes.get("/declare")
    def asking(request: Request, environment: str = "", service: str = "", title: str = "") -> Response:
        filled = {"environment": environment, "services": service, "title": title}
        return ask(shell, request, _declare(source, signed_in(request), filled))

    @routes.post("/declare")
    def declare(request: Request, fields: Fields) -> Response:
        identity = signed_in(request)
        environment = fields.get("environment", "")
        asked = _declare(source, identity, fields)

        def do() -> str:
            _allowed(request, environment)  # what was chosen, not what the question was about
            services = tuple(fields.get("services", "").replace(",", " ").split())
            for one in source.incidents.listed("open"):
                same = (one.title, one.environment, one.declared_by) == (
                    fields.get("title"),
                    environment,
                    identity.actor,
                )
                if same and one.declared_at >= asked_at(fields):
                    return f"/incidents/{one.id}"
            made = source.incidents.declare(
                fields.get("title", ""),
                severity_of(fields.get("severity", "")),
                environment,
                services,
                identity.actor,
            )
            return f"/incidents/{made.id}"

        return act(shell, request, asked, do, "/incidents")


def _declare(source: Source, identity: Identity, filled: Filled) -> Question:
    book, mine = source.book(), visible(identity)
    places = tuple((name, name) for name in book.environments if sees(mine, name))
    everywhere = (("", "none, or all of them"),) if may(identity, "run").allowed else ()
    fields = (
        Field("title", "What is wrong, in a sentence", value=filled.get("title", ""), required=True),
        Field("severity", "Severity", "choice", filled.get("severity", "SEV2"), severities(book),
              hint="when unsure, the higher"),
        Field("environment", "Environment", "choice", filled.get("environment", ""), (*places, *everywhere)),
        Field("services", "Services", value=filled.get("services", ""),
              hint=f"of {', '.join(sorted(book.services)[:12])}"),
    )  # fmt: skip
    return Question(
        action="run",
        environment=filled.get("environment") or _first_place(identity, places),
        title="Declare an incident?",
        target="everybody who is on call",
        effect=("people are paged, as the policy says", "suspects are looked for, and a diagnosis is made"),
        way_back="resolve it; it stays in the history",
        command='opsbook incidents declare "What is wrong" --severity SEV2 --in ENV --service NAME',
        submit="Declare",
        back="/incidents",
        danger=True,
        fields=fields,
        hidden={ASKED_AT: str(source.now())},
    )


def _first_place(identity: Identity, places: Choices) -> str | None:
    """Somewhere that they may: what they choose is asked again."""
    if may(identity, "run").allowed:
        return None
    return next((name for name, _ in places if may(identity, "run", name).allowed), None)


def _done(incident: Incident, action: str) -> Question:
    found = next((one for one in incident.actions if one.id == action), None)
    if found is None:
        raise NotFound(f"{incident.id} has no action {action}", where=incident.id)
    return Question(
        action="run",
        environment=incident.environment or None,
        title="Is this done?",
        target=f"{incident.id} · {found.text}",
        effect=("it is not asked for any more",),
        way_back="add it again",
        command=f"opsbook incidents action --incident {incident.id} --done {found.id}",
        submit="It is done",
        back=f"/incidents/{incident.id}",
        impossible="it is done already" if found.done_at is not None else "",
    )
