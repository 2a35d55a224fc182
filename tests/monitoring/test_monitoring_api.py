"""The routes of monitoring over real HTTP, with a real engine and real files."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from opsbook.errors import OpsbookError
from opsbook.monitoring import api
from opsbook.security.api import signed_in
from opsbook.security.room import local_operator
from opsbook.world.runtimes.process_logs import append_checkpoint, log_path
from opsbook.world.telemetry.engine import EmbeddedTelemetry
from opsbook.world.telemetry.logs import FileLogs
from opsbook.world.telemetry.named import NAMED
from opsbook.world.words import Target


class RealClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.02))


@dataclass
class Monitored:
    client: httpx.Client
    logs: Path
    telemetry: EmbeddedTelemetry
    stopping: threading.Event

    def write(self, instance: str, text: str, at: float | None = None) -> None:
        log = log_path(self.logs, "production", "web", instance)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(text + "\n")
        if at is not None:
            append_checkpoint(log, log.stat().st_size, at)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def monitored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitored]:
    monkeypatch.setattr(api, "HEARTBEAT", 0.1)
    clock, stopping = RealClock(), threading.Event()
    telemetry = EmbeddedTelemetry(clock)
    logs = FileLogs(tmp_path, clock, mask=lambda text: text.replace("hunter2", "***"))
    app = FastAPI()
    app.include_router(api.router(logs, telemetry, clock, stopping=stopping.is_set))
    app.dependency_overrides[signed_in] = lambda: local_operator("ana")

    @app.exception_handler(OpsbookError)
    def refused(_: Request, error: OpsbookError) -> JSONResponse:
        return JSONResponse(error.to_json(), status_code=error.http_status)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            until(lambda: server.started)
            with httpx.Client(base_url=url, timeout=20) as client:
                yield Monitored(client, tmp_path, telemetry, stopping)
        finally:
            server.should_exit = True
            thread.join(20)
            telemetry.close()
    assert not thread.is_alive()


LOGS = "/api/monitoring/logs?environment=production&service=web"


def test_reading_logs(monitored: Monitored) -> None:
    """Lines come oldest first with time and origin, masked; since, grep and limit narrow them."""
    now = time.time()
    monitored.write("web-a", "old password hunter2", at=now - 3600)
    monitored.write("web-b", "new", at=now - 5)
    body = monitored.client.get(LOGS).json()
    assert ["old password ***", "new"] == [line["text"] for line in body["lines"]]
    assert {"at", "instance", "service", "environment", "text"} == body["lines"][0].keys()
    for query, expected in (
        ("since=10m", ["new"]),
        ("since=60", ["new"]),
        ("grep=^o", ["old password ***"]),
        ("limit=1", ["new"]),
    ):
        lines = monitored.client.get(f"{LOGS}&{query}").json()["lines"]
        assert expected == [line["text"] for line in lines]


@pytest.mark.parametrize("query", ["since=soon", "since=-5", "grep=(", "since=nan"])
def test_questions_that_make_no_sense(monitored: Monitored, query: str) -> None:
    """They are Invalid, with the parameter named, also when following."""
    for follow in ("", "&follow=true"):
        answer = monitored.client.get(f"{LOGS}&{query}{follow}")
        assert 422 == answer.status_code
        assert query.partition("=")[0] == answer.json()["where"]


def test_following_logs(monitored: Monitored) -> None:
    """The tail, then lines as they come, with a heartbeat in silence; the thread ends when the client goes."""
    monitored.write("web-a", "one")
    monitored.write("web-a", "two")
    with monitored.client.stream("GET", f"{LOGS}&follow=true&limit=1") as answer:
        lines = answer.iter_lines()
        assert "two" == json.loads(next(lines))["text"]
        assert "" == next(lines)
        monitored.write("web-b", "three")
        assert "three" == next(json.loads(line) for line in lines if line)["text"]
        until(lambda: followers() == 1)  # it is between two lines for a moment
    until(lambda: followers() == 0)


def followers() -> int:
    """How many threads are following logs right now."""
    count = 0
    for frame in sys._current_frames().values():
        current: FrameType | None = frame
        while current is not None:
            count += current.f_code is FileLogs._follow.__code__
            current = current.f_back
    return count


def test_many_followers_do_not_starve_the_others(monitored: Monitored) -> None:
    """More streams than the server has threads for its routes, and a question is still answered."""
    monitored.write("web-a", "one")
    limits = httpx.Limits(max_connections=100)
    with httpx.Client(base_url=monitored.client.base_url, limits=limits, timeout=20) as client:
        streams = [client.stream("GET", f"{LOGS}&follow=true") for _ in range(45)]
        try:
            for stream in streams:
                assert "one" == json.loads(next(stream.__enter__().iter_lines()))["text"]
            assert 200 == monitored.client.get(LOGS).status_code
        finally:
            for stream in streams:
                stream.__exit__(None, None, None)


def test_streams_end_when_the_server_stops(monitored: Monitored) -> None:
    """`stopping` ends a stream properly, so the client sees its end and no error."""
    with monitored.client.stream("GET", f"{LOGS}&follow=true") as answer:
        monitored.stopping.set()
        assert not any(answer.iter_lines())


def test_named_metrics(monitored: Monitored) -> None:
    """Every named metric is there, with value and unit, or null."""
    labels = {"service": "web", "environment": "production", "instance": "web-a"}
    monitored.telemetry.targets([Target("process", labels, pid=os.getpid())])
    query = "/api/monitoring/metrics?service=web&environment=production&window=5m"
    until(lambda: monitored.client.get(query).json()["memory_bytes"])
    body = monitored.client.get(query).json()
    assert list(NAMED) == list(body)
    assert "bytes" == body["memory_bytes"]["unit"]
    assert body["memory_bytes"]["value"] > 10**6
    assert body["error_rate"] is None
    assert 1.0 == body["instances_up"]["value"]
    assert monitored.client.get("/api/monitoring/metrics?service=db").json()["memory_bytes"] is None
    assert 422 == monitored.client.get("/api/monitoring/metrics?window=ages").status_code
    (target,) = monitored.client.get("/api/monitoring/targets").json()["targets"]
    assert (True, "process", labels) == (target["up"], target["target"]["kind"], target["target"]["labels"])


def test_own_metrics(monitored: Monitored) -> None:
    """opsbook can be scraped itself, in Prometheus' text format."""
    answer = monitored.client.get("/metrics")
    assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["content-type"]
    names = {line.split(" ")[0] for line in answer.text.splitlines() if not line.startswith("#")}
    assert {
        "process_resident_memory_bytes",
        "opsbook_telemetry_series",
        "opsbook_scrape_failures_total",
    } <= names
