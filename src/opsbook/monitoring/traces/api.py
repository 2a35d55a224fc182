"""Routes of traces: ``/api/monitoring/traces``, to search, and one of them as a waterfall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query

from opsbook.monitoring.traces.asking import MOST, Asked
from opsbook.monitoring.traces.model import Traces, summary_json, waterfall_json
from opsbook.monitoring.traces.plan import waterfall
from opsbook.security.api import Visible, requires_somewhere

Field = Annotated[list[str], Query(description="NAME=VALUE of an attribute; all must fit")]
Shortest = Annotated[str, Query(alias="min", description="of the whole trace: 250ms")]
Longest = Annotated[str, Query(alias="max")]
Since = Annotated[str, Query(description="10m (ago), ISO 8601 or epoch seconds")]


def router(traces: Traces, now: Callable[[], float]) -> APIRouter:
    """The routes. Whoever may look at some environments only is told of traces that are wholly within these.

    Args:
        now: epoch seconds.
    """
    routes = APIRouter(prefix="/api/monitoring/traces", tags=["monitoring"])

    @routes.get("", dependencies=[requires_somewhere("view")])
    def found(
        visible: Visible,
        *,
        service: str = "",
        environment: str = "",
        name: Annotated[str, Query(description="part of a span's name")] = "",
        field: Field = [],  # noqa: B006 # FastAPI copies it
        error: bool = False,
        shortest: Shortest = "",
        longest: Longest = "",
        since: Since = "",
        until: Since = "",
        slowest: bool = False,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
    ) -> dict[str, Any]:
        """Traces with a span that fits, newest first."""
        asked = Asked(
            service=service, environment=environment, name=name, fields=field, error=error, shortest=shortest,
            longest=longest, since=since, until=until, slowest=slowest, limit=limit,
        )  # fmt: skip
        return {"traces": [summary_json(one) for one in traces.search(asked.query(now(), visible))]}

    @routes.get("/{trace_id}", dependencies=[requires_somewhere("view")])
    def one(trace_id: str, visible: Visible) -> dict[str, Any]:
        """One trace: its spans in the order of reading."""
        return waterfall_json(waterfall(traces.trace(trace_id, visible)))

    return routes
