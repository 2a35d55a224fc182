"""The live stream: ``GET /api/events`` as server-sent events, first what was missed, then what comes.

A new journal event only wakes the streams; each then reads from the journal what it has not sent yet. So a
slow client costs no memory, nothing is lost or doubled between replay and live, and the order is the
journal's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from opsbook.errors import Invalid, NotAllowed
from opsbook.security.api import Watching, requires_somewhere
from opsbook.security.plan import sees

if TYPE_CHECKING:
    from opsbook.journal import Event, Journal

PING_SECONDS = 15.0  # shorter than the idle timeout of every common proxy
PAGE = 500


def kinds_of(values: list[str]) -> tuple[str, ...]:
    """``["a,b", "c.*"]`` to ``("a", "b", "c.*")``."""
    return tuple(kind.strip() for value in values for kind in value.split(",") if kind.strip())


class Streams:
    """All open streams of one server: woken by the journal, ended together."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._open: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._ended = False
        self._unsubscribe: Callable[[], None] = journal.subscribe(lambda _event: self._wake())

    def _wake(self) -> None:
        for woken, loop in tuple(self._open.items()):
            # A loop that has just been closed has no listener left to wake.
            if not loop.is_closed():
                loop.call_soon_threadsafe(woken.set)

    def close(self) -> None:
        """End every stream at once; may be called from any thread, and twice."""
        self._ended = True
        self._unsubscribe()
        self._wake()

    async def follow(
        self,
        after: int,
        kinds: tuple[str, ...],
        subject: str | None,
        *,
        visible: Callable[[], frozenset[str] | None] = lambda: None,
        ping: float = PING_SECONDS,
    ) -> AsyncIterator[str]:
        """Server-sent events after journal id `after`, until the server ends.

        Args:
            visible: asked again each time: the environments whose events may be told now; None: all. NotAllowed ends
                the stream. ping: seconds between signs of life.
        """
        woken = asyncio.Event()
        self._open[woken] = asyncio.get_running_loop()
        try:
            yield "retry: 1000\n: connected\n\n"
            while not self._ended:
                woken.clear()
                try:
                    told = await asyncio.to_thread(visible)
                except NotAllowed:
                    return  # who listened may not any more; they are told so when they connect again
                page, after = await asyncio.to_thread(self._read, after, kinds, subject)
                for event in page:
                    if sees(told, event.subject):
                        yield _message(event)
                if not page and not await _waited(woken, ping):
                    yield ": ping\n\n"
        finally:
            del self._open[woken]

    def _read(self, after: int, kinds: tuple[str, ...], subject: str | None) -> tuple[list[Event], int]:
        """The next page, and the id up to which everything has now been looked at."""
        head = (
            self._journal.head().id
        )  # before the query: what is appended in between is left for the next page
        page = self._journal.events(after=after, kinds=kinds, subject=subject, limit=PAGE)
        if len(page) == PAGE:
            return page, page[-1].id
        return page, max([after, head, *(event.id for event in page)])


async def _waited(woken: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(woken.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _message(event: Event) -> str:
    return (
        f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(event.to_json(), separators=(',', ':'))}\n\n"
    )


def router(journal: Journal, streams: Streams) -> APIRouter:
    """``/api/events``."""
    routes = APIRouter(tags=["events"])

    @routes.get("/api/events", response_class=StreamingResponse, dependencies=[requires_somewhere("view")])
    async def events(
        visible: Watching,
        after: Annotated[int | None, Query(ge=0, description="replay what follows this journal id")] = None,
        kinds: Annotated[
            list[str] | None, Query(description="kinds, comma separated; `deployment.*`")
        ] = None,
        subject: str | None = None,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> StreamingResponse:
        """Journal events as server-sent events: those after `after` first, then live; else live only."""
        start = await asyncio.to_thread(_start, journal, after, last_event_id)
        return StreamingResponse(
            streams.follow(start, kinds_of(kinds or []), subject, visible=visible),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return routes


def _start(journal: Journal, after: int | None, last_event_id: str | None) -> int:
    """A reconnecting browser repeats the address it began with, so what it saw last counts for more."""
    head: int = journal.head().id
    if last_event_id is not None:
        if not last_event_id.isdigit():
            raise Invalid("Last-Event-ID must be a journal id", where="GET /api/events")
        after = int(last_event_id)
    return head if after is None else min(after, head)
