"""HTTP requests over kept connections: short ones at a common pace, and streams one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from opsbook.demo.load.answers import Answer, AnswerReader
from opsbook.demo.load.connection import BrokenError, Connection
from opsbook.demo.load.options import Options, Target
from opsbook.demo.load.run import Run


async def short(run: Run, number: int, target: Target) -> None:
    """Short requests over one kept connection, each when the common pace says so."""
    request = request_bytes(run.options, target)
    await _repeat(run, number, target, _Work("http", request, run.options.timeout, run.pace.due))


async def stream(run: Run, number: int, target: Target) -> None:
    """One streamed answer after the other over a kept connection; each must come whole."""
    request = request_bytes(run.options, target, "Accept: text/event-stream\r\n")
    await _repeat(run, number, target, _Work("stream", request, run.options.stream_timeout, lambda now: now))


def request_bytes(options: Options, target: Target, extra: str = "") -> bytes:
    """A GET of `target`; `extra` are whole header lines."""
    host = options.host or target.authority
    return f"GET {target.path} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n".encode("latin-1")


@dataclass(frozen=True, slots=True)
class _Work:
    kind: str
    request: bytes
    timeout: float
    due: Callable[[float], float]


async def _repeat(run: Run, number: int, target: Target, work: _Work) -> None:
    connection: Connection | None = None
    while await run.pause(due := work.due(time.monotonic())):
        run.tally.sent(work.kind)
        try:
            if connection is None:
                connection = await Connection.open(target.host, target.port, within=run.options.timeout)
            answer = await connection.exchange(work.request, AnswerReader(), within=work.timeout)
        except BrokenError as broken:
            if connection is not None:
                connection.abort()
                connection = None
            await run.failed(work.kind, number, str(broken))
            continue
        except asyncio.CancelledError:
            run.tally.abandoned(work.kind)
            raise
        if not answer.keep:
            run.tally.announced(work.kind)
            connection.close()
            connection = None
        version = answer.headers.get("x-version", "")
        if answer.status >= 500 and version in run.options.expect_errors_of:
            run.tally.expected_error(work.kind, at=time.time(), version=version)
        elif wrong := fault_of(answer):
            await run.failed(work.kind, number, wrong)
        else:
            run.tally.ok(work.kind, seconds=time.monotonic() - due, at=time.time(), version=version)
    if connection is not None:
        connection.close()


def fault_of(answer: Answer) -> str:
    """Why the answer is not what was asked for; empty when it is."""
    if not 200 <= answer.status < 300:
        return f"status {answer.status}"
    events = answer.headers.get("x-events")  # a stream may say how many events it has
    if events is not None and answer.body.count(b"\n\n") != int(events):
        return "stream not whole"
    return ""
