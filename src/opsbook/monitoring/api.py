"""Routes of monitoring: logs, named metrics, targets, and opsbook's own metrics."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Annotated, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from opsbook.monitoring.model import Figure, TailedLogs, WatchedTelemetry
from opsbook.monitoring.plan import matchers_of, seconds_of
from opsbook.security.api import in_query, requires
from opsbook.world.telemetry.named import NAMED
from opsbook.world.words import Clock, LogLine, Sample

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
HEARTBEAT = 15.0  # seconds of silence after which an empty line shows that the stream lives
FOLLOWERS = 200  # more wait for one to end; each has a thread, apart from those that answer the other routes


def router(
    logs: TailedLogs,
    telemetry: WatchedTelemetry,
    clock: Clock,
    *,
    stopping: Callable[[], bool] = lambda: False,
) -> APIRouter:
    """``/api/monitoring/...`` and ``/metrics``.

    Args:
        logs: what instances wrote.
        telemetry: what was measured.
        clock: to turn "the last 10 minutes" into a time.
        stopping: True ends the streams, because the server wants to end.
    """
    routes = APIRouter(tags=["monitoring"])
    followers: list[anyio.CapacityLimiter] = []  # made within the event loop, by the first who follows

    @routes.get(
        "/api/monitoring/logs", response_model=None, dependencies=[requires("view", in_query("environment"))]
    )
    def read(
        *,
        service: str,
        environment: str,
        since: Annotated[str | None, Query(description="only of this last time: 10m, or seconds")] = None,
        grep: Annotated[str | None, Query(description="a regular expression")] = None,
        limit: Annotated[int, Query(ge=0, le=100_000, description="the newest, oldest first")] = 1000,
        follow: Annotated[bool, Query(description="NDJSON, without an end")] = False,
    ) -> Response:
        """Lines that the instances of a service wrote, with secrets masked."""
        oldest = None if since is None else clock.now() - seconds_of(since, where="since")
        if not follow:
            lines = logs.read(environment=environment, service=service, since=oldest, grep=grep, limit=limit)
            return JSONResponse({"lines": [asdict(line) for line in lines]})
        stop = threading.Event()
        lines_to_come = logs.follow(
            environment=environment,
            service=service,
            grep=grep,
            stop=lambda: stop.is_set() or stopping(),
            tail=limit,
            since=oldest,
        )

        async def stream() -> AsyncIterator[str]:
            if not followers:
                followers.append(anyio.CapacityLimiter(FOLLOWERS))
            try:
                async for line in _with_heartbeat(lambda: next(lines_to_come, None), followers[0]):
                    yield f"{json.dumps(asdict(line), ensure_ascii=False)}\n" if line else "\n"
            finally:  # also when the client has gone: the thread ends at its next look
                stop.set()

        return StreamingResponse(stream(), media_type="application/x-ndjson")

    @routes.get("/api/monitoring/metrics", dependencies=[requires("view", in_query("environment"))])
    def metrics(
        *,
        service: str | None = None,
        environment: str | None = None,
        release: str | None = None,
        instance: str | None = None,
        host: str | None = None,
        window: Annotated[str, Query(description="60s, 5m, or seconds")] = "60",
    ) -> dict[str, Figure | None]:
        """Every named metric of what the labels choose; null where there is no data."""
        matchers = matchers_of(
            service=service, environment=environment, release=release, instance=instance, host=host
        )
        seconds = seconds_of(window, where="window")
        return {
            name: _figure(telemetry.named(name, matchers, window=seconds), entry.unit)
            for name, entry in NAMED.items()
        }

    @routes.get("/api/monitoring/targets", dependencies=[requires("view")])
    def targets() -> dict[str, Any]:
        """What is scraped, and how the last scrape went."""
        return {"targets": [asdict(status) for status in telemetry.status()]}

    @routes.get("/metrics", response_class=PlainTextResponse, dependencies=[requires("view")])
    def own_metrics() -> Response:
        """opsbook's own metrics, for any Prometheus."""
        return PlainTextResponse(telemetry.own_metrics(), media_type=EXPOSITION)

    return routes


def _figure(sample: Sample | None, unit: str) -> Figure | None:
    return None if sample is None else Figure(value=sample.value, unit=unit, at=sample.at)


async def _with_heartbeat(
    next_line: Callable[[], LogLine | None], limiter: anyio.CapacityLimiter
) -> AsyncIterator[LogLine | None]:
    """The lines until there is None, asked for in a thread; None after each `HEARTBEAT` without one."""
    under_way: asyncio.Future[LogLine | None] | None = None
    try:
        while True:
            if under_way is None:
                under_way = asyncio.ensure_future(
                    run_sync(next_line, abandon_on_cancel=True, limiter=limiter)
                )
            done, _ = await asyncio.wait({under_way}, timeout=HEARTBEAT)
            if not done:
                yield None
                continue
            line = under_way.result()
            under_way = None
            if line is None:
                return
            yield line
    finally:
        if under_way is not None:
            under_way.cancel()
