"""What one does to a service: deploy, promote, roll back, scale, restart, release a hold."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.deployment.model import Outcome, Placement, Rollout
from opsbook.deployment.pages.confirming import Confirmation, Field, Fields, act, ask
from opsbook.deployment.pages.services import known
from opsbook.deployment.pages.source import Shell, Source
from opsbook.deployment.requests import DeployRequest
from opsbook.errors import Invalid

Make = Callable[[Source, str, str], Confirmation]
Do = Callable[[Source, str, str, dict[str, str], str], Rollout]


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """Each action: GET asks, POST does."""
    routes = APIRouter(
        prefix="/environments/{environment}/{service}", include_in_schema=False, route_class=route_class
    )

    def add(verb: str, make: Make, do: Do) -> None:
        @routes.get(f"/{verb}", name=f"ask {verb}")
        def asked(request: Request, environment: str, service: str) -> Response:
            known(source, request, environment, service)
            return ask(shell, request, make(source, environment, service))

        @routes.post(f"/{verb}", name=verb)
        def done(request: Request, environment: str, service: str, fields: Fields) -> Response:
            def perform() -> str:
                rollout = do(source, environment, service, fields, request.state.identity.actor)
                return f"/deployments/{rollout.deployments[-1]}"

            known(source, request, environment, service)
            return act(shell, request, make(source, environment, service), perform, "/deployments")

    add("deploy", _deploy, _do_deploy)
    add("promote", _promote, lambda s, env, name, _, actor: s.verbs.promote(name, env, actor))
    add(
        "rollback",
        _rollback,
        lambda s, env, name, f, actor: s.verbs.rollback(name, env, f.get("to") or None, actor),
    )
    add("scale", _scale, _do_scale)
    add("restart", _restart, lambda s, env, name, _, actor: s.verbs.restart(name, env, actor))

    @routes.get("/release-hold")
    def ask_release(request: Request, environment: str, service: str, release: str = "") -> Response:
        known(source, request, environment, service)
        return ask(shell, request, _release_hold(source, environment, service, release))

    @routes.post("/release-hold")
    def release_hold(request: Request, environment: str, service: str, fields: Fields) -> Response:
        def do() -> None:
            source.gates.holds.release(environment, service, release, request.state.identity)

        known(source, request, environment, service)
        release = fields.get("release", "")
        asked = _release_hold(source, environment, service, release)
        return act(shell, request, asked, do, f"/environments/{environment}/{service}")

    return routes


def _page(environment: str, service: str) -> str:
    return f"/environments/{environment}/{service}"


def _careful(source: Source, environment: str) -> bool:
    return source.book().environments[environment].is_production


def _deploy(source: Source, environment: str, service: str) -> Confirmation:
    book = source.book()
    effective = book.effective(environment, service)
    placement = source.records.placement(environment, service)
    plan = source.room.plans(environment, frozenset({service}))[0]
    change = next((one for one in plan["changes"] if one["service"] == service), None)
    says = [change["summary"], *change["details"]] if change else ["the handbook asks for no change"]
    protect = book.environments[environment].protect
    if protect is not None:
        noun = "approval" if protect.approvals == 1 else "approvals"
        says.append(f"it waits for {protect.approvals} {noun} of {', '.join(protect.approvers)}")
    before = placement.version
    return Confirmation(
        action="deploy",
        environment=environment,
        title=f"Deploy {service} to {environment}?",
        target=f"{environment}/{service}" + (f", which runs {before}" if before else ", for the first time"),
        effect=tuple(says),
        way_back=f"roll back to {before}" if before else "abort it while it runs",
        command=f"opsbook deploy {service} --to {environment}",
        submit="Deploy",
        back=_page(environment, service),
        danger=_careful(source, environment),
        fields=(
            Field("version", "Version", hint=effective.version or "left out: named after the content of the source"),
            Field("strategy", "Strategy", "choice", choices=(
                ("", f"{effective.strategy.name or 'as written in place'} (the handbook's)"),
                *((name, name) for name in book.strategies),
            )),
            Field("when_busy", "When another one is under way", "choice", choices=(
                ("", f"{book.environments[environment].when_busy} (the handbook's)"),
                ("refuse", "refuse"), ("queue", "queue"), ("supersede", "supersede"),
            )),
        ),
        hidden={"check_index": str(plan["check_index"])},
    )  # fmt: skip


def _do_deploy(source: Source, environment: str, service: str, fields: dict[str, str], actor: str) -> Rollout:
    busy, index = fields.get("when_busy", ""), fields.get("check_index", "")
    if busy not in ("", "refuse", "queue", "supersede"):
        raise Invalid(f"{busy!r} is no policy", hint="refuse, queue or supersede")
    request = DeployRequest(
        services=(service,),
        environment=environment,
        version=fields.get("version") or None,
        strategy=fields.get("strategy") or None,
        check_index=int(index) if index.isdigit() else None,
        when_busy=busy or None,  # type: ignore[arg-type]  # checked above
    )
    return source.verbs.deploy(request, actor)


def _promote(source: Source, environment: str, service: str) -> Confirmation:
    origin = source.book().environments[environment].promote_from or ""
    there = source.records.placement(origin, service).version if origin else ""
    here = source.records.placement(environment, service).version
    impossible = (
        "" if there else (f"{service} is not deployed in {origin}" if origin else "nothing to promote from")
    )
    return Confirmation(
        action="deploy",
        environment=environment,
        title=f"Promote {service} to {environment}?",
        target=f"{environment}/{service}" + (f", which runs {here}" if here else ""),
        effect=(f"exactly the source that {origin} runs as {there or 'nothing'} is deployed here",),
        way_back=f"roll back to {here}" if here else "abort it while it runs",
        command=f"opsbook promote {service} --to {environment}",
        submit="Promote",
        back=_page(environment, service),
        danger=_careful(source, environment),
        impossible=impossible,
    )


def _rollback(source: Source, environment: str, service: str) -> Confirmation:
    placement = source.records.placement(environment, service)
    choices = _earlier(source, placement)
    warm = placement.previous
    first = warm.version if warm else (choices[0][1] if choices else "")
    effect = [f"requests go from {placement.version or 'nothing'} to {first or 'the version you choose'}"]
    if warm:
        effect.append(f"{warm.version} still runs: it is one change of routes, and nothing is started")
    elif first:
        effect.append("its instances are started first, and take over when they are healthy")
    return Confirmation(
        action="rollback",
        environment=environment,
        title=f"Roll back {service} in {environment}?",
        target=f"{environment}/{service}, which runs {placement.version or 'nothing'}",
        effect=tuple(effect),
        way_back=f"deploy {placement.version} again" if placement.version else "none needed",
        command=f"opsbook rollback {service} --in {environment}",
        submit="Roll back",
        back=_page(environment, service),
        danger=True,
        fields=(Field("to", "To", "choice", choices=(("", f"{first} (the one before)"), *choices)),)
        if choices or warm
        else (),
        impossible="" if choices or warm else "there is no earlier release to go back to",
    )


def _earlier(source: Source, placement: Placement) -> tuple[tuple[str, str], ...]:
    """Releases that served here before, the latest first."""
    served: dict[str, str] = {}
    for one in source.records.deployments(placement.environment, placement.service, 200):
        if one.outcome is Outcome.SUCCEEDED and one.release and one.release != placement.release:
            served.setdefault(one.release, one.version)
    return tuple((version, version) for version in dict.fromkeys(served.values()))


def _scale(source: Source, environment: str, service: str) -> Confirmation:
    placement = source.records.placement(environment, service)
    return Confirmation(
        action="scale",
        environment=environment,
        title=f"Scale {service} in {environment}?",
        target=f"{environment}/{service}: {placement.replicas} instances of {placement.version}",
        effect=(
            "more: started, and given requests when they are healthy",
            "fewer: the youngest leave once their requests have ended",
        ),
        way_back=f"scale it to {placement.replicas} again",
        command=f"opsbook scale {service} N --in {environment}",
        submit="Scale",
        back=_page(environment, service),
        fields=(Field("replicas", "Instances", "number", str(placement.replicas), required=True),),
        impossible="" if placement.release else "it is not deployed here",
    )


def _do_scale(source: Source, environment: str, service: str, fields: dict[str, str], actor: str) -> Rollout:
    given = fields.get("replicas", "")
    if not given.isdigit():
        raise Invalid(f"expected a number of instances, got {given[:20]!r}", hint="0 to 1000")
    return source.verbs.scale(service, environment, int(given), actor)


def _restart(source: Source, environment: str, service: str) -> Confirmation:
    placement = source.records.placement(environment, service)
    return Confirmation(
        action="restart",
        environment=environment,
        title=f"Restart {service} in {environment}?",
        target=f"{environment}/{service}: {placement.replicas} instances of {placement.version}",
        effect=("every instance is replaced by a new one of the same release, one after the other",),
        way_back="abort it: the old instances stay",
        command=f"opsbook restart {service} --in {environment}",
        submit="Restart",
        back=_page(environment, service),
        danger=_careful(source, environment),
        impossible="" if placement.release else "it is not deployed here",
    )


def _release_hold(source: Source, environment: str, service: str, release: str) -> Confirmation:
    placement = source.records.placement(environment, service)
    hold = next((one for one in placement.holds if one.release == release), None)
    version = hold.version if hold else release
    return Confirmation(
        action="release_hold",
        environment=environment,
        title=f"Release the hold on {version}?",
        target=f"{environment}/{service}",
        effect=(f"{version} may be deployed here again",)
        + ((f"it was held because: {hold.reason}",) if hold else ()),
        way_back="none needed: deploying it is another step",
        command=f"opsbook hold release {service} --in {environment}",
        submit="Release",
        back=_page(environment, service),
        hidden={"release": release},
        impossible="" if hold else "there is no such hold",
    )
