"""One connection: bytes out, one awaited result in, and a plain word for every way in which it can break."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, TypeVar

from opsbook.demo.load.answers import MalformedError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class BrokenError(Exception):
    """The connection broke, or could not be made; the message is the cause under which it is counted."""


class Reader(Protocol[T_co]):
    """Turns incoming bytes into a result: see `AnswerReader`."""

    @property
    def begun(self) -> bool: ...
    def feed(self, data: bytes) -> T_co | None: ...
    def end(self) -> T_co | None: ...


class Connection(asyncio.Protocol):
    """At most one exchange at a time; bytes that come when none is expected are kept for the next reader."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader: Reader[object] | None = None
        self._result: asyncio.Future[Any] | None = None
        self._early = bytearray()
        self._ended = ""  # why it ended, once it has

    @classmethod
    async def open(cls, host: str, port: int, *, within: float) -> Connection:
        """Connect.

        Raises:
            BrokenError: it was refused, or nobody answered in time.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within):
                _, connection = await loop.create_connection(cls, host, port)
        except TimeoutError:
            raise BrokenError("connect timed out") from None
        except ConnectionRefusedError:
            raise BrokenError("connect refused") from None
        except OSError as error:
            raise BrokenError(f"connect failed: {error.strerror or error}") from None
        return connection

    async def exchange(self, request: bytes, reader: Reader[T], *, within: float) -> T:
        """Send `request` (may be empty) and wait until `reader` has its result.

        Raises:
            BrokenError: there will be none.
        """
        if request and self._early:
            raise BrokenError("bytes that nobody asked for")
        if (there := self.pending(reader)) is not None:
            return there
        if self._ended or self._transport is None:
            # The server closed while nothing was under way and had not said that it would.
            raise BrokenError(f"{self._ended or 'never connected'} between requests, unannounced")
        self._reader = reader
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._result = result
        if request:
            self._transport.write(request)
        try:
            async with asyncio.timeout(within):
                return await result
        except TimeoutError:
            self.abort()
            raise BrokenError(
                "no answer in time" if not reader.begun else "answer not whole in time"
            ) from None
        finally:
            self._reader = self._result = None

    def pending(self, reader: Reader[T]) -> T | None:
        """What `reader` makes of the bytes that came while nobody waited.

        Raises:
            BrokenError: they are not what the protocol allows.
        """
        early = bytes(self._early)
        self._early.clear()
        try:
            return reader.feed(early)
        except MalformedError as error:
            self.abort()
            raise BrokenError(f"malformed answer: {error}") from None

    def put_back(self, data: bytes) -> None:
        """Give back what a reader did not need: the next one gets it first."""
        self._early[:0] = data

    def send(self, data: bytes) -> None:
        """Send without waiting for anything."""
        if self._transport is not None and not self._ended:
            self._transport.write(data)

    def close(self) -> None:
        """Close in good order."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Let go at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- called by asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._reader is None or self._result is None or self._result.done():
            self._early += data
            return
        try:
            answer = self._reader.feed(data)
        except MalformedError as error:
            self._result.set_exception(BrokenError(f"malformed answer: {error}"))
            self.abort()
            return
        if answer is not None:
            self._result.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = "closed" if exc is None else "reset"
        if self._reader is None or self._result is None or self._result.done():
            return
        answer = self._reader.end() if exc is None else None
        if answer is not None:
            self._result.set_result(answer)
        else:
            when = "in the middle of the answer" if self._reader.begun else "before the answer"
            self._result.set_exception(BrokenError(f"{self._ended} {when}"))
