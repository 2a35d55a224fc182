"""``/diagnose/ENVIRONMENT/SERVICE``: the last diagnosis, or the one that is being made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.errors import NotAllowed
from opsbook.response.diagnosis.model import Check, Diagnosis
from opsbook.response.diagnosis.room import Diagnoses
from opsbook.response.diagnosis.watching import topic_of
from opsbook.response.diagnosis.work import Work
from opsbook.security.api import signed_in
from opsbook.security.plan import may

_CONDITIONS = {
    "ok": ("ok", "ok"), "warning": ("warning", "warning"), "failed": ("critical", "failed"),
    "unknown": ("unknown", "unknown"), "skipped": ("paused", "skipped"), "running": ("running", "looking"),
}  # fmt: skip


class Shell(Protocol):
    """Renders pages; `opsbook.server.console.shell.Shell` is one."""

    def page(
        self,
        request: Request,
        template: str,
        make: Callable[[], Mapping[str, Any]],
        *,
        topics: tuple[str, ...] = (),
        status: int = 200,
    ) -> Response: ...

    def see_other(self, path: str) -> Response: ...


@dataclass(frozen=True, slots=True)
class Condition:
    """How something is: the shape and colour, and the word."""

    state: str
    word: str


def condition(state: str) -> Condition:
    return Condition(*_CONDITIONS[state])


def router(room: Diagnoses, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The page and its button.

    Args:
        route_class: makes pages of failures.
    """
    routes = APIRouter(prefix="/diagnose", include_in_schema=False, route_class=route_class)

    @routes.get("/{environment}/{service}")
    def shown(request: Request, environment: str, service: str) -> Response:
        _may_look(request, environment)
        return shell.page(
            request,
            "response/diagnosis.html",
            lambda: _context(room, environment, service),
            topics=(topic_of(environment, service),),
        )

    @routes.post("/{environment}/{service}")
    def begin(request: Request, environment: str, service: str) -> Response:
        """Looks change nothing, so nothing is asked first; the diagnose blocks of pages need the right to run."""
        _may_look(request, environment)
        identity = signed_in(request)
        pages = may(identity, "run", environment).allowed
        room.begin(environment, service, identity.actor, budget=60.0, run_pages=pages)
        return shell.see_other(f"/diagnose/{quote(environment)}/{quote(service)}")

    return routes


def _may_look(request: Request, environment: str) -> None:
    decision = may(signed_in(request), "view", environment)
    if not decision.allowed:
        raise NotAllowed(decision.why)


def _context(room: Diagnoses, environment: str, service: str) -> dict[str, Any]:
    room.refuse_unless_known(environment, service)
    work = room.under_way(environment, service)
    made = room.last(environment, service) if work is None else None
    checks = tuple(work.checks) if work is not None else made.checks if made is not None else ()
    done = {check.name for check in checks}
    return {
        "title": f"Diagnosis of {service} in {environment}",
        "environment": environment,
        "service": service,
        "action": f"/diagnose/{quote(environment)}/{quote(service)}",
        "made": made,
        "condition": _condition_of(work, made),
        "begun": work.at if work is not None else None,
        "rows": [_row(check) for check in checks],
        "waiting": [look.title for look in work.looks if look.name not in done] if work is not None else [],
        "looking": condition("running"),
        "command": f"opsbook diagnose {service} --in {environment}",
    }


def _condition_of(work: Work | None, made: Diagnosis | None) -> Condition | None:
    if work is not None:
        return condition("running")
    return condition(made.state) if made is not None else None


def _row(check: Check) -> dict[str, Any]:
    return {
        "check": check,
        "condition": condition(check.state),
        "lines": [line for line in check.lines if line != check.text],
        "open": check.state in {"failed", "warning"} and bool(check.lines),
    }
