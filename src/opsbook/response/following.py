"""News of something under way as lines of JSON, for routes."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

Follow = Callable[[Callable[[], bool]], Iterator[Mapping[str, Any] | None]]
"""Gives the news until what it is handed says that nobody listens any more; None: there was none for a while."""


def news(follow: Follow, name: str, request: Request, stopping: Callable[[], bool]) -> StreamingResponse:
    """NDJSON: one object a line, an empty line for a while without any.

    Args:
        name: of what is followed, for the thread's name.
        stopping: whether the server ends; the stream ends then.
    """
    return StreamingResponse(_lines(follow, name, request, stopping), media_type="application/x-ndjson")


async def _lines(
    follow: Follow, name: str, request: Request, stopping: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Followed by a thread of its own: watching costs none of those that answer requests."""
    over = threading.Event()
    found: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def go() -> None:
        try:
            for one in follow(lambda: over.is_set() or stopping()):
                found.put(b"\n" if one is None else json.dumps(one).encode() + b"\n")
        finally:
            found.put(None)

    threading.Thread(target=go, name=f"live {name}", daemon=True).start()
    try:
        while True:
            try:
                line = found.get_nowait()
            except queue.Empty:
                if await request.is_disconnected():
                    return
                await asyncio.sleep(0.02)
                continue
            if line is None:
                return
            yield line
    finally:
        over.set()
