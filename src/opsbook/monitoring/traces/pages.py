"""``/traces``: searching, and one trace as a waterfall."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute

from opsbook.errors import Invalid, NotAllowed, OpsbookError
from opsbook.monitoring.traces.asking import Asked
from opsbook.monitoring.traces.cli import took
from opsbook.monitoring.traces.model import Row, Traces, Waterfall
from opsbook.monitoring.traces.plan import waterfall
from opsbook.security.api import signed_in
from opsbook.security.plan import may_somewhere, visible
from opsbook.world.traces.words import TraceSummary

LISTED = 100
DRAWN = 500  # spans of a trace
DEEPEST = 12  # steps to the right
HUES = 5  # colours of services
SPANS = ("15m", "1h", "6h", "24h", "7d")

Pick = Annotated[str, Query()]


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


@dataclass(frozen=True, slots=True)
class Condition:
    """How something is: the shape and colour, and the word."""

    state: str
    word: str


def router(
    traces: Traces, shell: Shell, route_class: type[APIRoute], *, now: Callable[[], float]
) -> APIRouter:
    """The pages under ``/traces``.

    Args:
        route_class: makes pages of failures.
        now: epoch seconds.
    """
    routes = APIRouter(prefix="/traces", include_in_schema=False, route_class=route_class)

    @routes.get("")
    def listed(
        request: Request,
        service: Pick = "",
        environment: Pick = "",
        name: Pick = "",
        field: Pick = "",
        error: Pick = "",
        shortest: Annotated[str, Query(alias="min")] = "",
        since: Pick = "",
        order: Pick = "",
    ) -> Response:
        mine = _visible(request)
        asked = Asked(
            service=service, environment=environment, name=name, fields=field.split(), error=bool(error),
            shortest=shortest, since=since or "1h", slowest=order == "slowest", limit=LISTED,
        )  # fmt: skip
        problem: OpsbookError | None = None
        found: tuple[TraceSummary, ...] = ()
        try:
            found = traces.search(asked.query(now(), mine))
        except Invalid as error_of_words:
            problem = error_of_words
        context = {
            "title": "Traces",
            "asked": asked,
            "field": field,
            "services": traces.services(mine),
            "spans": SPANS,
            "rows": [_listed(one, found) for one in found],
            "problem": problem,
            "listed": LISTED,
            "narrowed": any((service, environment, name, field, error, shortest)),
        }
        status = problem.http_status if problem else 200
        return shell.page(request, "monitoring/traces.html", lambda: context, status=status)

    @routes.get("/{trace_id}")
    def one(request: Request, trace_id: str) -> Response:
        found = waterfall(traces.trace(trace_id, _visible(request)))
        return shell.page(request, "monitoring/trace.html", lambda: _page(found))

    return routes


def _visible(request: Request) -> frozenset[str] | None:
    identity = signed_in(request)
    decision = may_somewhere(identity, "view")
    if not decision.allowed:
        raise NotAllowed(decision.why)
    return visible(identity)


def _listed(one: TraceSummary, among: tuple[TraceSummary, ...]) -> dict[str, Any]:
    longest = max((other.duration_ns for other in among), default=1) or 1
    failed = Condition("critical", f"{one.errors} failed") if one.errors else Condition("ok", "ok")
    return {
        "id": one.trace_id,
        "name": one.name,
        "service": one.service,
        "environment": one.environment,
        "others": [service for service in one.services if service != one.service],
        "at": one.start_ns / 1e9,
        "took": took(one.duration_ns / 1e9),
        "share": round(one.duration_ns / longest * 100, 2),
        "spans": one.spans,
        "condition": failed,
    }


def _page(found: Waterfall) -> dict[str, Any]:
    hues = {service: place % HUES + 1 for place, service in enumerate(found.services)}
    whole = sum(found.services.values()) or 1
    failed = f"{found.errors} failed" if found.errors else "ok"
    return {
        "title": f"{found.service} {found.name}".strip(),
        "trace": found,
        "condition": Condition("critical" if found.errors else "ok", failed),
        "took": took(found.duration_ns / 1e9),
        "at": found.start_ns / 1e9,
        "rows": [_drawn(row, found, hues) for row in found.rows[:DRAWN]],
        "hidden": max(0, len(found.rows) - DRAWN),
        "ticks": [{"at": part * 25, "word": took(found.duration_ns / 4e9 * part)} for part in range(5)],
        "services": [
            {"name": name, "hue": hues[name], "took": took(own / 1e9), "share": own / whole}
            for name, own in found.services.items()
        ],
    }


def _drawn(row: Row, found: Waterfall, hues: Mapping[str, int]) -> dict[str, Any]:
    span = row.span
    return {
        "span": span,
        "depth": min(row.depth, DEEPEST),
        "offset": round(row.offset, 3),
        "share": round(row.share, 3),
        "hue": hues[span.service],
        "failed": row.failed,
        "orphan": row.orphan,
        "took": took(span.duration_ns / 1e9),
        "own": took(row.own_ns / 1e9),
        "after": took((span.start_ns - found.start_ns) / 1e9),
        "happenings": [
            {
                "after": took((one.at_ns - found.start_ns) / 1e9),
                "name": one.name,
                "attributes": one.attributes,
            }
            for one in span.happenings
        ],
    }
