"""Connections that live long and exchange a message now and then: WebSockets and lines over TCP."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from opsbook.demo.load.answers import AnswerReader
from opsbook.demo.load.connection import BrokenError, Connection
from opsbook.demo.load.frames import (
    CLOSE,
    GOING_AWAY,
    NORMAL,
    PING,
    PONG,
    TEXT,
    Message,
    MessageReader,
    accept_key,
    masked,
)
from opsbook.demo.load.lines import LineReader
from opsbook.demo.load.options import Options, Target
from opsbook.demo.load.requests import request_bytes
from opsbook.demo.load.run import Run


class GoodbyeError(Exception):
    """The server announced that it closes the connection, as its protocol provides."""


class Conversation(Protocol):
    version: str  # of the program at the other end, when it says so

    def listen(self) -> None:
        """Look at what came since the last exchange. Raises BrokenError or GoodbyeError."""

    async def exchange(self, count: int) -> None:
        """Say something and hear the right answer. Raises BrokenError or GoodbyeError."""

    def close(self) -> None: ...


async def websocket(run: Run, number: int, target: Target) -> None:
    """Echo messages over a WebSocket for as long as the server keeps it."""
    await _converse(run, "websocket", number, lambda: WebSocket.open(run.options, target), exchanges=None)


async def lines(run: Run, number: int, target: Target) -> None:
    """Exchange lines over TCP, over a new connection every so often."""
    exchanges = run.options.line_exchanges
    await _converse(run, "lines", number, lambda: Lines.open(run.options, target), exchanges=exchanges)


async def _converse(
    run: Run,
    kind: str,
    number: int,
    open_one: Callable[[], Awaitable[Conversation]],
    *,
    exchanges: int | None,
) -> None:
    while not run.stopping.is_set():
        talk: Conversation | None = None
        count = 0
        while exchanges is None or count < exchanges:
            if not await run.pause(time.monotonic() + run.options.every):
                break
            count += 1
            try:
                if talk is not None:
                    talk.listen()
            except GoodbyeError:
                run.tally.announced(kind)
                break
            except BrokenError as broken:  # as the next message would have found out
                run.tally.sent(kind)
                await run.failed(kind, number, str(broken))
                break
            began = time.monotonic()
            run.tally.sent(kind)
            try:
                if talk is None:
                    talk = await open_one()
                    talk.listen()
                await talk.exchange(count)
            except (
                GoodbyeError
            ):  # it overtook our message: the protocols allow that, and the client knows to ask again
                run.tally.abandoned(kind)
                run.tally.announced(kind)
                break
            except BrokenError as broken:
                await run.failed(kind, number, str(broken))
                break
            except asyncio.CancelledError:
                run.tally.abandoned(kind)
                raise
            run.tally.ok(kind, seconds=time.monotonic() - began, at=time.time(), version=talk.version)
        if talk is not None:
            talk.close()


class WebSocket:
    def __init__(self, connection: Connection, reader: MessageReader, version: str, timeout: float) -> None:
        self._connection, self._reader, self._timeout = connection, reader, timeout
        self.version = version

    @classmethod
    async def open(cls, options: Options, target: Target) -> WebSocket:
        """Connect and shake hands. Raises BrokenError."""
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        connection = await Connection.open(target.host, target.port, within=options.timeout)
        request = request_bytes(options, target, f"{upgrade}Sec-WebSocket-Key: {key}\r\n")
        answer = await connection.exchange(request, AnswerReader(), within=options.timeout)
        if answer.status != 101 or answer.headers.get("sec-websocket-accept") != accept_key(key):
            connection.abort()
            raise BrokenError(f"no WebSocket: status {answer.status}")
        connection.put_back(answer.rest)
        return cls(connection, MessageReader(), answer.headers.get("x-version", ""), options.timeout)

    def listen(self) -> None:
        while (message := self._connection.pending(self._reader)) is not None:
            if not self._control(message):
                raise BrokenError("a message that nobody asked for")

    async def exchange(self, count: int) -> None:
        said = f"message {count}".encode()
        out = masked(TEXT, said, os.urandom(4))
        while True:
            message = await self._connection.exchange(out, self._reader, within=self._timeout)
            if not self._control(message):
                break
            out = b""
        if message.payload != said:
            raise BrokenError("another message than was sent")

    def close(self) -> None:
        self._say_goodbye(NORMAL)

    def _control(self, message: Message) -> bool:
        """Deal with a control frame; False when the message is none."""
        if message.opcode == CLOSE:
            self._say_goodbye(message.close_code)
            if message.close_code != GOING_AWAY:
                raise BrokenError(f"closed with code {message.close_code}")
            raise GoodbyeError
        if message.opcode == PING:
            self._connection.send(masked(PONG, message.payload, os.urandom(4)))
        return message.opcode in {PING, PONG}

    def _say_goodbye(self, code: int) -> None:
        self._connection.send(masked(CLOSE, code.to_bytes(2, "big"), os.urandom(4)))
        self._connection.close()


class Lines:
    version = ""

    def __init__(self, connection: Connection, options: Options) -> None:
        self._connection, self._options = connection, options
        self._reader = LineReader()

    @classmethod
    async def open(cls, options: Options, target: Target) -> Lines:
        """Connect. Raises BrokenError."""
        return cls(await Connection.open(target.host, target.port, within=options.timeout), options)

    def listen(self) -> None:
        line = self._connection.pending(self._reader)
        if line is not None:
            self._judge(line, expected="")

    async def exchange(self, count: int) -> None:
        line = self._options.line_send.replace("{n}", str(count)) + "\n"
        answer = await self._connection.exchange(line.encode(), self._reader, within=self._options.timeout)
        self._judge(answer, expected=self._options.line_expect.replace("{n}", str(count)))

    def close(self) -> None:
        self._connection.close()

    def _judge(self, line: str, *, expected: str) -> None:
        if line == "BYE":
            raise GoodbyeError
        if line != expected:
            raise BrokenError("another line than was expected")
