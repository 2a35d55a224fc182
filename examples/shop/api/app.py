"""The shop's API: products, a stream of events, a WebSocket that echoes. Nothing but the standard library."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

from http1 import Request, Response, Server, Upgrade
from websocket import accept_key, echo

VERSION = os.environ.get("OPSBOOK_VERSION") or Path(__file__).with_name("version.txt").read_text().strip()
PRODUCTS = [
    {"id": 1, "name": "Lamp", "price": 39},
    {"id": 2, "name": "Chair", "price": 120},
    {"id": 3, "name": "Table", "price": 310},
]


class Api:
    def __init__(self) -> None:
        self.requests: dict[int, int] = {}
        self.seconds = 0.0

    async def handle(self, request: Request) -> Response | Upgrade:
        began = time.perf_counter()
        answer = self._route(request)
        if isinstance(answer, Response):
            self.requests[answer.status] = self.requests.get(answer.status, 0) + 1
            self.seconds += time.perf_counter() - began
        return answer

    def _route(self, request: Request) -> Response | Upgrade:
        match request.path:
            case "/healthz":
                return _text("ok\n")
            case "/metrics":
                return _text(self._metrics())
            case "/products":
                return _json(PRODUCTS)
            case "/echo":
                return Response(
                    200, request.body, {"Content-Type": "application/octet-stream", "X-Version": VERSION}
                )
            case "/stream":
                return _stream(request)
            case "/ws" if request.headers.get("upgrade", "").lower() == "websocket":
                key = request.headers.get("sec-websocket-key", "")
                accept = {
                    "Upgrade": "websocket",
                    "Sec-WebSocket-Accept": accept_key(key),
                    "X-Version": VERSION,
                }
                return Upgrade(accept, echo)
            case _:
                return _text("no such page\n", status=404)

    def _metrics(self) -> str:
        counts = [f'shop_requests_total{{code="{code}"}} {n}' for code, n in sorted(self.requests.items())]
        return "\n".join(
            [
                "# TYPE shop_requests_total counter",
                *counts,
                "# TYPE shop_request_seconds summary",
                f"shop_request_seconds_sum {self.seconds:.6f}",
                f"shop_request_seconds_count {sum(self.requests.values())}",
                "",
            ]
        )


def _text(text: str, status: int = 200) -> Response:
    return Response(
        status, text.encode(), {"Content-Type": "text/plain; charset=utf-8", "X-Version": VERSION}
    )


def _json(value: object) -> Response:
    return Response(
        200, json.dumps(value).encode(), {"Content-Type": "application/json", "X-Version": VERSION}
    )


def _stream(request: Request) -> Response:
    """Server-sent events, `/stream?events=10&every=0.1`. What has begun is finished, also when we stop."""
    events = min(int(request.query.get("events", "10")), 10_000)
    every = min(float(request.query.get("every", "0.1")), 60.0)

    async def body() -> AsyncIterator[bytes]:
        for number in range(1, events + 1):
            yield f"id: {number}\ndata: {number} of {events}\n\n".encode()
            if number < events:
                await asyncio.sleep(every)

    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Events": str(events)}
    return Response(200, body(), {**headers, "X-Version": VERSION})


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8001")))
    port = parser.parse_args().port
    server = Server(Api().handle)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stopping.set)
    print(f"api {VERSION} listens on {port}", flush=True)
    await server.serve("127.0.0.1", port)
    print("api stopped: nothing was left under way", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
