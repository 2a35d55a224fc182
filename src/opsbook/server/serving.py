"""The event loop: one uvicorn per door over the same application, ended together."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import uvicorn

from opsbook.server.access import Application

DRAIN_SECONDS = 1  # for requests under way when the server ends; streams are told to end at once


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are handled once, for all doors, by `serve`."""
        yield


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound socket and what answers on it."""

    application: Application
    door: socket.socket

    def server(self) -> _Server:
        return _Server(
            uvicorn.Config(
                cast("Any", self.application),  # the same shape under another name
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
                timeout_keep_alive=30,
            )
        )


class Ender:
    """Ends the loop once, from a signal or from a request; safe to call from any thread."""

    def __init__(self, first: Callable[[], None]) -> None:
        self._first = first
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = asyncio.Event()

    def ask(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if not self._asked.is_set():
            self._asked.set()
            self._first()

    async def wait(self) -> None:
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                self._loop.add_signal_handler(number, self._begin)
        await self._asked.wait()


async def serve(listeners: Sequence[Listener], ender: Ender, opened: Callable[[], None]) -> None:
    """Answer on all `listeners` until `ender` is asked; `opened` is called once all of them do."""
    servers = [listener.server() for listener in listeners]
    waiting = asyncio.create_task(ender.wait())
    tasks = [
        asyncio.create_task(server.serve(sockets=[listener.door]))
        for server, listener in zip(servers, listeners, strict=True)
    ]
    try:
        while not all(server.started for server in servers):
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.005)
        opened()
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)
        waiting.cancel()
