"""Run the load: `python -m opsbook.demo.load --help`."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Coroutine, Iterator
from typing import Any

from opsbook.demo.load import conversations, requests
from opsbook.demo.load.options import Options, parse
from opsbook.demo.load.run import Run

_TO_FINISH = 10.0  # seconds that what is under way at the end has; longer streams are abandoned, not failed


async def run(options: Options) -> dict[str, Any]:
    """Load until told to stop; prints a report every so often and the final one, which it returns (see `Tally`)."""
    shared = Run(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shared.stopping.set)
    background = [asyncio.create_task(_report(shared))]
    if options.controlled:
        background.append(asyncio.create_task(_obey(shared)))
    clients = {asyncio.create_task(client) for client in _clients(shared)}
    if options.duration is not None:
        loop.call_later(options.duration, shared.stopping.set)
    await shared.stopping.wait()
    _, late = await asyncio.wait(clients, timeout=_TO_FINISH)
    for task in (*late, *background):
        task.cancel()
    await asyncio.gather(*clients, *background, return_exceptions=True)
    final = shared.tally.report(time.time(), final=True)
    _print(final)
    return final


def _clients(shared: Run) -> Iterator[Coroutine[None, None, None]]:
    options = shared.options
    if options.http is not None:
        yield from (requests.short(shared, number, options.http) for number in range(options.connections))
    if options.stream is not None:
        yield from (requests.stream(shared, number, options.stream) for number in range(options.streams))
    if options.websocket is not None:
        yield from (
            conversations.websocket(shared, number, options.websocket) for number in range(options.websockets)
        )
    if options.lines is not None:
        yield from (
            conversations.lines(shared, number, options.lines) for number in range(options.line_connections)
        )


async def _report(shared: Run) -> None:
    while True:
        await asyncio.sleep(shared.options.report)
        _print(shared.tally.report(time.time()))


async def _obey(shared: Run) -> None:
    """Take orders from stdin, so that whoever started us steers us, and so that we end when it does."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().split():
        match line:
            case ["rate", rate]:
                shared.pace.change(float(rate), time.monotonic())
            case ["stop"]:
                break
            case _:
                print(f"unknown order: {' '.join(line)}", file=sys.stderr, flush=True)
    shared.stopping.set()


def _print(report: dict[str, Any]) -> None:
    print(json.dumps(report, separators=(",", ":")), flush=True)


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(run(parse()))["failed"] else 0)
