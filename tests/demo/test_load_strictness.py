"""The load generator against servers that misbehave: each way of losing a request must be seen and named."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from opsbook.demo.load.__main__ import run
from opsbook.demo.load.options import parse

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Version: 1.0\r\n\r\nok"


def load(talk: Talk, *options: str, scheme: str = "http", flag: str = "--url") -> dict[str, Any]:
    """The final figures of a short run against a server whose connections do `talk`."""

    async def both() -> dict[str, Any]:
        async def whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await talk(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(whole, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await run(parse([flag, f"{scheme}://127.0.0.1:{port}/", "--duration", "0.3", *options]))
        finally:
            server.close()

    return asyncio.run(both())


async def request(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def keeps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await request(reader):
        writer.write(GOOD)


async def closes_announced(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))


async def closes_unannounced(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(GOOD)


async def closes_instead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)


async def resets_instead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    reset(writer)


async def truncates(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(GOOD[:-1])


async def truncates_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")


async def answers_503(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await request(reader):
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")


async def babbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(b"hello?\r\n\r\n")


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    await reader.read()


async def loses_an_event(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await request(reader):
        body = b"data: 1 of 2\n\n"
        writer.write(b"HTTP/1.1 200 OK\r\nX-Events: 2\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def test_a_good_server_loses_nothing() -> None:
    """And its versions are counted."""
    figures = load(keeps, "--connections", "5")
    assert (figures["ok"], 0, {}) == (figures["sent"], figures["failed"], figures["announced_closes"])
    assert figures["versions"]["1.0"]["count"] == figures["ok"] > 5


def test_a_close_that_was_announced_is_no_failure() -> None:
    """`Connection: close` tells the client to open another."""
    figures = load(closes_announced, "--connections", "2")
    assert figures["failed"] == 0
    assert figures["announced_closes"]["http"] == figures["ok"] > 2


@pytest.mark.parametrize(
    ("talk", "cause"),
    [
        (closes_unannounced, "closed between requests, unannounced"),
        (closes_instead, "closed before the answer"),
        (resets_instead, "reset before the answer"),
        (truncates, "closed in the middle of the answer"),
        (truncates_chunks, "closed in the middle of the answer"),
        (answers_503, "status 503"),
        (babbles, "malformed answer: not a status line: 'hello?'"),
        (says_nothing, "no answer in time"),
        (loses_an_event, "stream not whole"),
    ],
)
def test_each_way_of_losing_a_request_is_named(talk: Talk, cause: str) -> None:
    """Every loss is a failure, with its cause, and nothing that was sent is forgotten."""
    figures = load(talk, "--connections", "2", "--rate", "60", "--timeout", "0.1")
    assert figures["causes"].get(cause, 0) > 0, figures["causes"]
    assert figures["failures"][0]["cause"] in figures["causes"]
    assert figures["sent"] == figures["ok"] + figures["failed"]


def test_a_refused_connection_is_a_failure() -> None:
    """Nobody listens: every request fails, and the generator does not spin."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else can take it
        port = unused.getsockname()[1]
        options = parse(["--url", f"http://127.0.0.1:{port}/", "--duration", "0.2", "--connections", "2"])
        figures = asyncio.run(run(options))
    assert {"connect refused": figures["sent"]} == figures["causes"]


def load_websocket(talk: Callable[[ServerConnection], Awaitable[None]]) -> dict[str, Any]:
    async def both() -> dict[str, Any]:
        async with serve(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"ws://127.0.0.1:{port}/"
            options = ["--websocket-url", url, "--websockets", "2", "--every", "0.02", "--duration", "0.4"]
            return await run(parse(options))

    return asyncio.run(both())


async def echoes(connection: ServerConnection) -> None:
    await connection.ping()  # an honest client answers it
    async for message in connection:
        await connection.send(message)


async def drains(connection: ServerConnection) -> None:
    await connection.send(await connection.recv())
    await connection.close(1001, "the service stops")


async def breaks_off(connection: ServerConnection) -> None:
    await connection.send(await connection.recv())
    connection.transport.abort()


async def fails_inside(connection: ServerConnection) -> None:
    await connection.recv()
    await connection.close(1011)


async def echoes_wrongly(connection: ServerConnection) -> None:
    await connection.recv()
    await connection.send("something else")


def test_a_websocket_that_echoes_is_kept() -> None:
    """Against another implementation of the protocol than ours."""
    figures = load_websocket(echoes)
    assert (figures["failed"], figures["announced_closes"]) == (0, {})
    assert figures["kinds"]["websocket"]["ok"] > 4


def test_a_websocket_that_is_drained_is_counted_apart() -> None:
    """Code 1001 is how a server asks to come again."""
    figures = load_websocket(drains)
    assert figures["failed"] == 0
    assert figures["announced_closes"]["websocket"] > 1


@pytest.mark.parametrize(
    ("talk", "cause"),
    [
        (breaks_off, "between requests, unannounced"),
        (fails_inside, "closed with code 1011"),
        (echoes_wrongly, "another message than was sent"),
    ],
)
def test_a_websocket_that_breaks_is_a_failure(
    talk: Callable[[ServerConnection], Awaitable[None]], cause: str
) -> None:
    """Only an announced end is a good end."""
    figures = load_websocket(talk)
    assert any(cause in name for name in figures["causes"]), figures["causes"]


def load_lines(talk: Talk) -> dict[str, Any]:
    return load(talk, "--line-connections", "2", "--every", "0.01", scheme="tcp", flag="--lines-url")


async def pongs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line.replace(b"PING", b"PONG"))


async def says_bye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.readline()).replace(b"PING", b"PONG") + b"BYE\n")


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.readline()).replace(b"PING", b"PONG"))


def test_lines_over_tcp() -> None:
    """Every line gets its answer."""
    figures = load_lines(pongs)
    assert (figures["sent"], 0) == (figures["ok"], figures["failed"])
    assert figures["ok"] > 4


def test_a_line_server_that_says_goodbye_is_counted_apart() -> None:
    """TCP itself has no announcement, the ledger's protocol has."""
    figures = load_lines(says_bye)
    assert figures["failed"] == 0
    assert figures["announced_closes"]["lines"] > 1


def test_a_line_server_that_hangs_up_is_a_failure() -> None:
    """Its client was not done."""
    assert load_lines(hangs_up)["causes"]["closed between requests, unannounced"] > 0


def test_it_obeys_orders_and_ends_with_who_started_it() -> None:
    """A generator that outlives the demo would load the machine for ever."""

    async def both() -> tuple[int, list[dict[str, Any]]]:
        server = await asyncio.start_server(keeps_quietly, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        arguments = [
            "-m",
            "opsbook.demo.load",
            "--url",
            f"http://127.0.0.1:{port}/",
            "--rate",
            "10",
            "--control",
        ]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ}
        )
        assert process.stdin is not None
        assert process.stdout is not None
        slow = json.loads(await process.stdout.readline())
        process.stdin.write(b"rate 500\n")
        await process.stdout.readline()
        fast = json.loads(await process.stdout.readline())
        process.stdin.close()
        rest = (await process.stdout.read()).splitlines()
        server.close()
        return await process.wait(), [slow, fast, json.loads(rest[-1])]

    code, (slow, fast, last) = asyncio.run(both())
    assert code == 0
    assert last["final"] is True
    assert slow["lately"]["sent"] * 5 < fast["lately"]["sent"]


async def keeps_quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await keeps(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def errs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await request(reader):
        writer.write(GOOD.replace(b"200 OK", b"500 Error"))


def test_errors_that_are_expected_of_a_version_are_counted_apart() -> None:
    """They are its own answers, whole; the same answers of another version are failures."""
    expected = load(errs, "--rate", "50", "--expect-errors-of", "1.0")
    assert expected["failed"] == 0
    assert expected["expected_errors"] == expected["versions"]["1.0"]["errors"] > 0
    other = load(errs, "--rate", "50", "--expect-errors-of", "1.1")
    assert other["expected_errors"] == 0
    assert other["failed"] == other["causes"]["status 500"] > 0


def test_a_connection_that_breaks_is_a_failure_whatever_is_expected() -> None:
    """Only answers can be expected."""
    assert load(resets_instead, "--rate", "50", "--expect-errors-of", "1.0")["failed"] > 0
