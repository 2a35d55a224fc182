"""``/api/monitoring/query``: as Prometheus' query routes, but what is refused is told as everywhere in opsbook."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from opsbook.monitoring.querying.answers import result_json, success
from opsbook.monitoring.querying.parameters import moment, steps
from opsbook.monitoring.querying.ports import Queries
from opsbook.security.api import requires
from opsbook.world.words import Clock


def router(queries: Queries, clock: Clock) -> APIRouter:
    """The route.

    Args:
        queries: what answers.
        clock: for "now".
    """
    routes = APIRouter(tags=["monitoring"])

    @routes.get("/api/monitoring/query", response_model=None, dependencies=[requires("view")])
    def query(
        *,
        query: Annotated[str, Query(description="PromQL")],
        time: Annotated[str | None, Query(description="seconds or RFC 3339; now when not given")] = None,
        start: Annotated[str | None, Query(description="of a range, with end and step")] = None,
        end: str | None = None,
        step: str | None = None,
    ) -> Response:
        """The value of an expression, at one time or over a stretch of time, in Prometheus' form."""
        now = repr(clock.now())
        if start is None:
            result = queries.instant(query, moment(time or now, where="time"))
        else:
            wanted = steps(start, end or now, step or "15")
            result = queries.range(query, wanted.start, wanted.end, wanted.step)
        body = success(result_json(result), warnings=result.warnings, infos=result.infos)
        return Response(body, media_type="application/json")

    return routes
