"""A receiver behind real HTTP, with a real store behind it; shared by the tests of receiving and of traces."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from opsbook.errors import Failed, OpsbookError
from opsbook.monitoring.receiving import api as receiving_api
from opsbook.monitoring.traces import api as traces_api
from opsbook.promql import Engine, Vector
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.room import local_operator
from opsbook.world.logs.words import LogRecord
from opsbook.world.telemetry.engine import EmbeddedTelemetry
from opsbook.world.telemetry.receiving.receiver import Receiver
from opsbook.world.traces.store import TraceStore


class RealClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.02))


@dataclass
class Kept:
    """A sink of log records that remembers them, and can be full."""

    records: list[LogRecord] = field(default_factory=list)
    full: bool = False

    def write(self, records: Sequence[LogRecord]) -> int:
        if self.full:
            raise Failed("records cannot be kept: No space left on device")
        self.records += records
        return len(records)


@dataclass
class House:
    url: str
    client: httpx.Client
    telemetry: EmbeddedTelemetry
    traces: TraceStore
    logs: Kept
    who: list[Identity]

    def value(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """What an instant query finds now: labels without the name, and values."""
        found = Engine(self.telemetry.storage).instant(expression, int(time.time() * 1000)).value
        assert isinstance(found, Vector)
        return {
            tuple(sorted(labels.items())): float(value)
            for labels, value in zip(found.series, found.values, strict=True)
        }

    def series(self, expression: str) -> list[dict[str, str]]:
        return [dict(labels) for labels in self.value(expression)]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@contextmanager
def serving(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of `app` over real HTTP."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def house(folder: Path) -> Iterator[House]:
    clock = RealClock()
    telemetry = EmbeddedTelemetry(clock)
    traces = TraceStore(folder / "traces.sqlite", clock, mask=lambda text: text.replace("hunter2", "***"))
    logs, who = Kept(), [local_operator("ana")]
    app = FastAPI()
    app.include_router(receiving_api.router(Receiver(telemetry.storage, logs, traces, now=clock.now), most=4))
    app.include_router(traces_api.router(traces, clock.now))
    app.dependency_overrides[signed_in] = lambda: who[0]

    @app.exception_handler(OpsbookError)
    def refused(_: Request, error: OpsbookError) -> JSONResponse:
        return JSONResponse({"error": error.to_json()}, status_code=error.http_status)

    try:
        with serving(app) as client:
            yield House(str(client.base_url), client, telemetry, traces, logs, who)
    finally:
        traces.close()
        telemetry.close()
