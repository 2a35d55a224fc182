"""What one does to a deployment under way: approve it, abort it, let it go on, sign its checklist."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.deployment.model import Deployment, Phase
from opsbook.deployment.pages.confirming import Confirmation, Field, Fields, act, ask
from opsbook.deployment.pages.deployments import found_for
from opsbook.deployment.pages.permits import go_on_action
from opsbook.deployment.pages.source import Shell, Source
from opsbook.errors import NotFound


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """Each action: GET asks, POST does."""
    routes = APIRouter(prefix="/deployments/{name}", include_in_schema=False, route_class=route_class)

    @routes.get("/approve")
    def ask_approve(request: Request, name: str) -> Response:
        return ask(shell, request, _approve(source, found_for(source, request, name)))

    @routes.post("/approve")
    def approve(request: Request, name: str, fields: Fields) -> Response:
        def do() -> None:
            comment, plan = fields.get("comment", ""), fields.get("plan") or None
            source.gates.approvals.approve(name, request.state.identity, comment, plan=plan)

        found = found_for(source, request, name)
        return act(shell, request, _approve(source, found), do, f"/deployments/{name}")

    @routes.get("/abort")
    def ask_abort(request: Request, name: str) -> Response:
        return ask(shell, request, _abort(found_for(source, request, name)))

    @routes.post("/abort")
    def abort(request: Request, name: str, fields: Fields) -> Response:
        def do() -> None:
            source.verbs.abort(name, fields.get("reason", "")[:500], request.state.identity.actor)

        return act(shell, request, _abort(found_for(source, request, name)), do, f"/deployments/{name}")

    @routes.get("/go-on")
    def ask_go_on(request: Request, name: str) -> Response:
        return ask(shell, request, _go_on(source, found_for(source, request, name)))

    @routes.post("/go-on")
    def go_on(request: Request, name: str, fields: Fields) -> Response:
        def do() -> None:
            if source.gates.protected(found.environment):
                source.gates.approvals.refuse_unless_able(found, request.state.identity)
            source.verbs.allow(name, request.state.identity.actor, fields.get("comment", "")[:500])

        found = found_for(source, request, name)
        return act(shell, request, _go_on(source, found), do, f"/deployments/{name}")

    @routes.get("/sign/{item}")
    def ask_sign(request: Request, name: str, item: str) -> Response:
        return ask(shell, request, _sign(source, found_for(source, request, name), item))

    @routes.post("/sign/{item}")
    def sign(request: Request, name: str, item: str, fields: Fields) -> Response:
        def do() -> None:
            source.gates.checklists.sign(name, item, request.state.identity, fields.get("note", ""))

        asked = _sign(source, found_for(source, request, name), item)
        return act(shell, request, asked, do, f"/deployments/{name}#checklist")

    return routes


def _target(deployment: Deployment) -> str:
    return f"{deployment.service} {deployment.version} → {deployment.environment}"


def _stays(deployment: Deployment) -> str:
    before = deployment.before.version
    return f"{before} serves on" if before else "nothing serves, as before"


def _approve(source: Source, deployment: Deployment) -> Confirmation:
    strategy = deployment.strategy
    steps = ", ".join(f"{step.weight} %" for step in strategy.steps)
    how = f"{strategy.name}: {steps}, 100 %" if steps else strategy.name
    before = deployment.before.version
    return Confirmation(
        action="approve",
        environment=deployment.environment,
        title=f"Approve {deployment.id}?",
        target=_target(deployment),
        effect=(
            f"{deployment.requested_by} may deploy {deployment.version}"
            + (f" in place of {before}" if before else ", the first version here"),
            f"{deployment.replicas} instances, by {how}",
            "your approval is for exactly this plan: when it changes, it counts no more",
        ),
        way_back=f"until it starts, and while it runs: abort it, and {_stays(deployment)}",
        command=f"opsbook approve {deployment.id}",
        submit="Approve",
        back=f"/deployments/{deployment.id}",
        fields=(Field("comment", "Comment", hint="goes into the journal"),),
        hidden={"plan": source.gates.view(deployment.id)["plan"] or ""},
        impossible="" if deployment.phase is Phase.GATED else _passed(deployment),
    )


def _abort(deployment: Deployment) -> Confirmation:
    before = deployment.before.version
    effect = [
        f"all requests go back to {before}" if before else "its instances are stopped; nothing serves",
        f"the instances of {deployment.version} are stopped once their requests have ended",
    ]
    if deployment.kind == "deploy":
        effect.append(f"{deployment.version} is held: nothing deploys it again by itself")
    return Confirmation(
        action="abort",
        environment=deployment.environment,
        title=f"Abort {deployment.id}?",
        target=_target(deployment),
        effect=tuple(effect),
        way_back="deploy it again",
        command=f'opsbook abort {deployment.id} --reason "…"',
        submit="Abort",
        back=f"/deployments/{deployment.id}",
        danger=True,
        fields=(Field("reason", "Reason", hint="goes into the journal"),),
        impossible=_ended(deployment),
    )


def _go_on(source: Source, deployment: Deployment) -> Confirmation:
    return Confirmation(
        action=go_on_action(source, deployment.environment),
        environment=deployment.environment,
        title=f"Let {deployment.id} go on?",
        target=_target(deployment),
        effect=(
            "it goes to its next step although the analysis has not decided",
            "a verdict of bad still takes it back, here and at every later step",
        ),
        way_back=f"abort it, and {_stays(deployment)}",
        command=f"opsbook approve {deployment.id}",
        submit="Go on",
        back=f"/deployments/{deployment.id}",
        danger=True,
        fields=(Field("comment", "Why", hint="goes into the journal"),),
        impossible="" if deployment.phase is Phase.ANALYSING else "it does not wait at a step",
    )


def _sign(source: Source, deployment: Deployment, item: str) -> Confirmation:
    found = next(
        (one for one in source.gates.checklists.show(deployment.id)["items"] if one["id"] == item), None
    )
    if found is None:
        raise NotFound(
            f"the checklist of {deployment.id} has no item {item}",
            hint=f"opsbook checklist show {deployment.id}",
        )
    return Confirmation(
        action="sign",
        environment=deployment.environment,
        title="Sign this item?",
        target=_target(deployment),
        effect=(f"“{found['text']}”", "you say with your name that this is so"),
        way_back="none: the journal keeps it",
        command=f"opsbook checklist sign {deployment.id} {item}",
        submit="Sign",
        back=f"/deployments/{deployment.id}#checklist",
        fields=(Field("note", "Note"),),
        impossible=_ended(deployment),
    )


def _passed(deployment: Deployment) -> str:
    return _ended(deployment) or f"it does not wait at its gates: it is {deployment.phase}"


def _ended(deployment: Deployment) -> str:
    return f"it has ended already: {deployment.outcome}".replace("_", " ") if deployment.finished else ""
