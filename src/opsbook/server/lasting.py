"""Answers that last: whoever follows something is asked again and again whether they still may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]

REVOCABLE = ("token", "session")
"""How somebody signed in whose admission may end while an answer lasts."""

ASKED_EVERY = 5.0  # seconds; a stream that has nothing to tell sends heartbeats, so it is asked of it too


class Lasting:
    """Stands between an application and its server for one answer, and ends it when `known` says no.

    Args:
        receive, send: the server's.
        known: whether who asked is still known as the same person, with the same roles.
    """

    def __init__(
        self,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        known: Callable[[], Awaitable[bool]],
    ) -> None:
        self._receive = receive
        self._send = send
        self._known = known
        self._asked = time.monotonic()
        self._ended = asyncio.Event()

    async def send(self, message: Message) -> None:
        """Pass it on; the answer ends here when who asked is known no more."""
        if self._ended.is_set():
            return
        now = time.monotonic()
        if message["type"] == "http.response.body" and now - self._asked > ASKED_EVERY:
            self._asked = now
            if not await self._known():
                self._ended.set()
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                return
        await self._send(message)

    async def receive(self) -> Message:
        """What comes of the client, or that it has gone."""
        coming = asyncio.ensure_future(self._receive())
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({coming, ended}, return_when=asyncio.FIRST_COMPLETED)
            return coming.result() if coming.done() else {"type": "http.disconnect"}
        finally:
            ended.cancel()
            if not coming.done():
                coming.cancel()
