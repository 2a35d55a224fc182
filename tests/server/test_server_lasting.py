"""Streams end when whoever opened them may look no more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from opsbook.server import lasting
from opsbook.server.lasting import Lasting


def streamed(known: list[bool]) -> tuple[list[Any], list[Any]]:
    """What the client got of a stream that tells three lines, and what the application heard of the client after it."""
    got: list[Any] = []
    heard: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        got.append((message["type"], message.get("body"), message.get("more_body")))

    async def ask() -> bool:
        return known.pop(0)

    async def stream() -> None:
        answer = Lasting(receive, send, ask)
        await answer.send({"type": "http.response.start", "status": 200})
        for line in (b"1\n", b"2\n", b"3\n"):
            await answer.send({"type": "http.response.body", "body": line, "more_body": True})
        try:
            heard.append(await asyncio.wait_for(answer.receive(), 0.05))
        except TimeoutError:
            heard.append(None)

    asyncio.run(stream())
    return got, heard


def test_a_stream_ends_with_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after is not told, the answer is ended in order, and the application hears that nobody listens."""
    monkeypatch.setattr(lasting, "ASKED_EVERY", -1.0)
    got, heard = streamed([True, False])
    assert [
        ("http.response.start", None, None),
        ("http.response.body", b"1\n", True),
        ("http.response.body", b"", False),
    ] == got
    assert [{"type": "http.disconnect"}] == heard


def test_a_stream_goes_on_while_its_token_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """All lines are told, and the client is listened to as before."""
    monkeypatch.setattr(lasting, "ASKED_EVERY", -1.0)
    got, heard = streamed([True, True, True])
    assert [b"1\n", b"2\n", b"3\n"] == [body for kind, body, _ in got if kind == "http.response.body"]
    assert [None] == heard
