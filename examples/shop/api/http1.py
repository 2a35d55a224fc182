"""HTTP/1.1 on asyncio, standard library only: keep-alive, chunked streams, upgrades, a graceful end.

A handler takes a `Request` and returns a `Response`, or an `Upgrade` that takes the connection over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True)
class Response:
    """`body` bytes are sent with a content length, an iterator chunk by chunk as it yields."""

    status: int
    body: bytes | AsyncIterator[bytes]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Upgrade:
    headers: dict[str, str]
    take_over: Callable[[asyncio.StreamReader, asyncio.StreamWriter, asyncio.Event], Awaitable[None]]


Handler = Callable[[Request], Awaitable[Response | Upgrade]]


class Server:
    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connections: set[asyncio.Task[None]] = set()
        self.stopping = asyncio.Event()

    async def serve(self, host: str, port: int) -> None:
        """Serve until `stopping` is set; return when every request under way has been answered."""
        listener = await asyncio.start_server(self._accept, host, port, backlog=512, limit=64 * 1024)
        await self.stopping.wait()
        listener.close()
        while self._connections:
            await asyncio.wait(self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._connections.add(task)
        try:
            while await self._one_request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # the client left, or does not speak HTTP
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()  # else the last bytes would be lost at the end of the process
            self._connections.discard(task)

    async def _one_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await self._head(reader)
        if not head:
            return False
        request = await _parse(head, reader)
        answer = await self._handler(request)
        if isinstance(answer, Upgrade):
            writer.write(_head(101, {**answer.headers, "Connection": "Upgrade"}))
            await answer.take_over(reader, writer, self.stopping)
            return False
        last = self.stopping.is_set() or request.headers.get("connection", "").lower() == "close"
        connection = {"Connection": "close"} if last else {}
        if isinstance(answer.body, bytes):
            length = {"Content-Length": str(len(answer.body))}
            payload = b"" if request.method == "HEAD" else answer.body
            writer.write(_head(answer.status, {**answer.headers, **length, **connection}) + payload)
        else:
            chunked = {"Transfer-Encoding": "chunked"}
            writer.write(_head(answer.status, {**answer.headers, **chunked, **connection}))
            async for chunk in answer.body:
                writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return not last

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        """The next request's head; empty when the client has left, or we stop and nothing has come in."""
        reading = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
        stopping = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not reading.done():
            await asyncio.wait({reading}, timeout=0.05)  # what is on its way already is still answered
        if not reading.done():
            reading.cancel()
            return b""
        try:
            return reading.result()
        except asyncio.IncompleteReadError:
            return b""


async def _parse(head: bytes, reader: asyncio.StreamReader) -> Request:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    url = urlsplit(target)
    return Request(method, url.path, dict(parse_qsl(url.query)), headers, body)


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
