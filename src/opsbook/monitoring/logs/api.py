"""Routes of logs: search, histogram, and lines as they come."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, TypeVar

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response, StreamingResponse

from opsbook.errors import OpsbookError
from opsbook.monitoring.logs.model import Logs, found_json, histogram_json
from opsbook.monitoring.logs.plan import MOST, Asked
from opsbook.security.api import Visible, requires_somewhere, watching
from opsbook.world.logs.search import as_line
from opsbook.world.logs.words import LogRecord
from opsbook.world.words import Clock

HEARTBEAT = 5.0  # seconds of silence after which an empty line shows that the stream lives
FOLLOWERS = 200  # more wait for one to end; each has a thread, apart from those that answer the other routes
HOUR = 3600.0
T = TypeVar("T")

Many = Annotated[list[str], Query()]
Watching = Annotated[Callable[[], frozenset[str] | None], Depends(watching)]


def asked(
    *,
    service: Many = [],  # noqa: B006 # FastAPI copies it
    environment: Many = [],  # noqa: B006
    instance: Many = [],  # noqa: B006
    text: Annotated[str, Query(description="stands in the line, in upper or lower case")] = "",
    grep: Annotated[str, Query(description="an RE2 pattern")] = "",
    level: Annotated[str, Query(description="this one or a worse one")] = "",
    since: Annotated[str, Query(description="10m (ago), ISO 8601 or epoch seconds")] = "",
    until: str = "",
    field: Annotated[list[str], Query(description="NAME=VALUE; all must fit")] = [],  # noqa: B006
    trace: Annotated[str, Query(description="a trace id")] = "",
    limit: Annotated[int, Query(ge=0, le=MOST)] = 200,
    cursor: Annotated[str, Query(description="`next` of the last page")] = "",
) -> Asked:
    """What is looked for, of the parameters that all routes share."""
    return Asked(
        services=service, environments=environment, instances=instance, text=text, grep=grep, level=level,
        since=since, until=until, fields=field, trace=trace, limit=limit, cursor=cursor,
    )  # fmt: skip


Wanted = Annotated[Asked, Depends(asked)]


def router(logs: Logs, clock: Clock, *, stopping: Callable[[], bool] = lambda: False) -> APIRouter:
    """``/api/monitoring/logs/...``. Whoever may look at some environments only is told of their lines only.

    Args:
        stopping: True ends the streams, because the server wants to end.
    """
    routes = APIRouter(prefix="/api/monitoring/logs", tags=["monitoring"])
    followers = Followers(logs, stopping)

    @routes.get("/search", dependencies=[requires_somewhere("view")])
    def search(wanted: Wanted, visible: Visible) -> dict[str, Any]:
        """Records that fit, newest first, a page at a time."""
        return found_json(logs.search(wanted.query(clock.now(), visible)))

    @routes.get("/histogram", dependencies=[requires_somewhere("view")])
    def histogram(
        wanted: Wanted, visible: Visible, steps: Annotated[int, Query(ge=1, le=500)] = 60
    ) -> dict[str, Any]:
        """How many of them were written when, by level; of the last hour where `since` is not given."""
        query = wanted.query(clock.now(), visible)
        end = query.until if query.until is not None else clock.now()
        start = query.since if query.since is not None else end - HOUR
        return histogram_json(logs.histogram(query, start=start, end=end, steps=steps))

    @routes.get("/follow", response_model=None, dependencies=[requires_somewhere("view")])
    def follow(wanted: Wanted, visible: Visible, seeing: Watching) -> Response:
        """The newest `limit` records, oldest first, then those that come: NDJSON, without an end."""
        query = wanted.query(clock.now(), visible)
        lines = followers.follow(query, wanted.limit, seeing, lambda record: f"{as_line(record)}\n", "\n")
        return StreamingResponse(lines, media_type="application/x-ndjson")

    return routes


class Followers:
    """Streams of records as they come, each read in a thread of its own.

    A stream ends when whoever opened it may look no more, or at other environments than before.
    """

    def __init__(self, logs: Logs, stopping: Callable[[], bool]) -> None:
        self._logs = logs
        self._stopping = stopping
        self._limiter: list[
            anyio.CapacityLimiter
        ] = []  # made within the event loop, by the first who follows

    def follow(
        self,
        query: Any,
        tail: int,
        seeing: Callable[[], frozenset[str] | None],
        told: Callable[[LogRecord], str],
        beat: str,
    ) -> AsyncIterator[str]:
        """Pieces of text.

        Args:
            query: what fits. tail: so many to begin with. seeing: which environments may be looked at now.
            told: a record as text. beat: what is sent after some seconds of silence.

        Raises:
            Invalid: the question cannot be understood; at the call.
        """
        stop = threading.Event()
        coming = self._logs.follow(query, stop=lambda: stop.is_set() or self._stopping(), tail=tail)
        return self._stream(coming, stop, query.visible, seeing, told, beat)

    async def _stream(
        self,
        coming: Iterator[LogRecord | None],
        stop: threading.Event,
        visible: frozenset[str] | None,
        seeing: Callable[[], frozenset[str] | None],
        told: Callable[[LogRecord], str],
        beat: str,
    ) -> AsyncIterator[str]:
        if not self._limiter:
            self._limiter.append(anyio.CapacityLimiter(FOLLOWERS))
        loop = asyncio.get_running_loop()
        asked_at = said_at = loop.time()
        try:
            yield beat  # what the connection is good for is known at once
            while True:
                more = asyncio.ensure_future(
                    run_sync(_batch, coming, abandon_on_cancel=True, limiter=self._limiter[0])
                )
                batch = await _finished(more)
                if batch is None:
                    return
                now = loop.time()
                if now - asked_at > HEARTBEAT / 5:
                    asked_at = now
                    if not await run_sync(_still, seeing, visible):
                        return
                if batch:
                    said_at = now
                    yield "".join(map(told, batch))
                elif now - said_at > HEARTBEAT:
                    said_at = now
                    yield beat
        finally:  # also when the client has gone: the thread ends at its next look
            stop.set()


async def _finished(more: asyncio.Future[T]) -> T:
    try:
        return await more
    finally:
        more.cancel()


def _batch(coming: Iterator[LogRecord | None]) -> list[LogRecord] | None:
    """Up to 500 records that are there, without waiting for more than one look; None: it has ended."""
    found: list[LogRecord] = []
    for record in coming:
        if record is None:
            return found
        found.append(record)
        if len(found) >= 500:
            return found
    return found or None


def _still(seeing: Callable[[], frozenset[str] | None], visible: frozenset[str] | None) -> bool:
    try:
        return seeing() == visible
    except OpsbookError:
        return False
