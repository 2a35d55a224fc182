"""Tools that were made for Prometheus, at the door: a token as a bearer's or as a password, and nothing else."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI

from opsbook.monitoring import prometheus_api
from opsbook.monitoring.querying import api as query_api
from opsbook.promql import Engine
from opsbook.server.access import Access
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where Prometheus' API and a route of our own stand behind the door."""
    storage, clock = Storage(HotStore()), SystemClock()
    now = int(clock.now() * 1000)
    storage.receive([({"__name__": "up", "job": "web"}, np.array([now], np.int64), np.array([1.0]))])
    app = FastAPI()
    app.include_router(prometheus_api.router(Engine(storage), storage, clock))
    app.include_router(query_api.router(Engine(storage), clock))
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(Access(app, token=TOKEN), log_config=None, lifespan="off")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield int(listening.getsockname()[1])
    server.should_exit = True
    thread.join(20)


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body = "query=1" if method == "POST" else None
    if body:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        connection.request(method, path, body, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def basic(password: str) -> str:
    return "Basic " + b64encode(f"anybody:{password}".encode()).decode()


TOKEN = "t" * 43
QUERY = "/prometheus/api/v1/query"


def test_a_token_as_a_password(port: int) -> None:
    """Grafana, promtool and amtool offer basic authentication: the token is the password, whoever the user."""
    status, body = ask(port, f"{QUERY}?query=1", Authorization=basic(TOKEN))
    assert (200, "1") == (status, body["data"]["result"][1])
    assert 200 == ask(port, QUERY, "POST", Authorization=basic(TOKEN))[0]


@pytest.mark.parametrize("header", ["Basic", "Basic !!", basic(""), basic("wrong"), "Digest x", basic("x:y")])
def test_what_is_no_token(header: str, port: int) -> None:
    """Whatever else is shown is refused."""
    assert 401 == ask(port, f"{QUERY}?query=1", Authorization=header)[0]


def test_passwords_open_no_other_door(port: int) -> None:
    """Our own routes know no passwords, and a page of somebody else's cannot use one that a browser remembers."""
    assert 401 == ask(port, "/api/monitoring/query?query=1", Authorization=basic(TOKEN))[0]
    foreign = {"Origin": "http://evil.example", "Authorization": basic(TOKEN)}
    assert 403 == ask(port, QUERY, "POST", **foreign)[0]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_as_it_is(port: int) -> None:
    """Prometheus' own tool asks a real opsbook: instant, range, series, labels."""
    url = f"http://promtool:{TOKEN}@127.0.0.1:{port}/prometheus"
    for arguments in (
        ["instant", url, "1 + 1"],
        ["range", "--step=15s", url, "vector(1)"],
        ["series", "--match=up", url],
        ["labels", url, "job"],
    ):
        done = subprocess.run(
            ["promtool", "query", *arguments], capture_output=True, text=True, timeout=30, check=False
        )
        assert (0, "") == (done.returncode, done.stderr)
        assert done.stdout.strip()
