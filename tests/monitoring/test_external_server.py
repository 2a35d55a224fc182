"""Another server's metrics instead of our own: real ones, silent ones, ones that speak something else."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from opsbook.book import TextFiles, load
from opsbook.book.settings import MetricsServer
from opsbook.errors import Failed, Invalid, NotAllowed, NotFound, OpsbookError, Unreachable
from opsbook.monitoring import federation
from opsbook.monitoring.alerting.model import Alert
from opsbook.monitoring.backend import Backend
from opsbook.monitoring.querying.external import ServerWatch, external_queries
from opsbook.monitoring.rules.model import AlertingRule, RecordingRule, RuleGroup
from opsbook.monitoring.rules.room import Rules
from opsbook.promql import Engine, Matcher, Vector
from opsbook.security.api import signed_in
from opsbook.security.room import local_operator
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.telemetry import remote_queries
from opsbook.world.telemetry.remote_queries import RemoteQueries
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore

Answer = Callable[[BaseHTTPRequestHandler], tuple[int, bytes]]
VECTOR = {"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [1, "2"]}]}
GOOD = json.dumps({"status": "success", "data": VECTOR}).encode()


@contextmanager
def fake(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status, body = answer(self)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that goes away."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_it_is_asked_as_the_handbook_says(tmp_path: Path) -> None:
    """Token, further headers and path; a secret that changes is used at the next question, a missing one is named."""
    seen: list[dict[str, object]] = []

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        form = request.form  # type: ignore[attr-defined]
        seen.append({**dict(request.headers.items()), "path": request.path, "form": form})
        return 200, GOOD

    secrets = {"metrics": "one"}

    def secret(name: str) -> str:
        if name not in secrets:
            raise NotFound(f"there is no secret {name}")
        return secrets[name]

    with fake(answer) as url:
        server = MetricsServer(url=f"{url}/tenant/", token="{secret:metrics}", headers={"X-Scope": "shop"})
        remote = external_queries(server, tmp_path, secret)
        assert isinstance(remote.instant("up", 1_500).value, Vector)
        secrets["metrics"] = "two"
        remote.instant("up", 1_500)
        del secrets["metrics"]
        with pytest.raises(NotFound, match="there is no secret metrics"):
            remote.instant("up", 1_500)
        basic = external_queries(MetricsServer(url=url, user="me", password="pass"), tmp_path, secret)
        basic.instant("up", 0)
        basic.close()
        remote.close()
    tokens = [request["Authorization"] for request in seen]
    assert ["Bearer one", "Bearer two", "Basic bWU6cGFzcw=="] == tokens
    assert ("/tenant/api/v1/query", "shop") == (seen[0]["path"], seen[0]["X-Scope"])
    assert {"query": ["up"], "time": ["1.500"]} == seen[0]["form"]


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (401, b"", NotAllowed, "does not let us in"),
        (403, b"no", NotAllowed, "does not let us in"),
        (404, b"<html>", Unreachable, "does not speak Prometheus' API: it answered 404"),
        (200, b"[]", Unreachable, "does not speak Prometheus' API"),
        (200, b'{"status": "success", "data": {}}', Unreachable, "cannot be read"),
        (200, b'{"status": "success", "data": {"resultType": "vector", "result": [{}]}}', Unreachable, "be read"),
        (400, b'{"status": "error", "errorType": "bad_data", "error": "parse error"}', Invalid, "parse error"),
        (422, b'{"status": "error", "errorType": "execution", "error": "too many"}', Failed, "too many"),
        (503, b'{"status": "error", "errorType": "unavailable", "error": "starting"}', Unreachable, "starting"),
    ],
)  # fmt: skip
def test_what_it_may_answer(status: int, body: bytes, kind: type[OpsbookError], said: str) -> None:
    """Every answer but a good one is an error of its kind, with the server's own words."""
    with fake(lambda _: (status, body)) as url:
        remote = RemoteQueries(url)
        with pytest.raises(kind, match=said):
            remote.instant("up", 0)
        remote.close()


def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is read beyond its bound."""
    monkeypatch.setattr(remote_queries, "LARGEST_ANSWER", 1000)
    with fake(lambda _: (200, b" " * 100_000)) as url:
        remote = RemoteQueries(url)
        with pytest.raises(Failed, match="too large"):
            remote.instant("up", 0)
        remote.close()


def test_one_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a timeout it is left alone for a moment, so that a hundred rules do not wait one after the other."""
    monkeypatch.setattr(remote_queries, "PAUSE", 60.0)
    asked, go = list[int](), threading.Event()

    def answer(_: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        asked.append(1)
        go.wait(20)
        return 200, GOOD

    with fake(answer) as url:
        remote = RemoteQueries(url, timeout=0.3)
        for _ in range(50):
            with pytest.raises(Unreachable, match=r"does not answer: no answer within 0\.3 s"):
                remote.instant("up", 0)
        assert 1 == len(asked)
        go.set()
        remote.close()


class Receiver:
    def __init__(self) -> None:
        self.told: list[Alert] = []

    def receive(self, alerts: object) -> None:
        self.told += list(alerts)  # type: ignore[call-overload]


def test_its_silence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """After half a minute without an answer somebody is woken, again and again, and told when it is over."""
    monkeypatch.setattr(remote_queries, "PAUSE", 0.0)
    good, at, receiver, said = [True], [1000.0], Receiver(), list[str]()
    with fake(lambda _: (200, GOOD) if good[0] else (502, b"")) as url:
        watch = ServerWatch(RemoteQueries(url), receiver, moment=lambda: at[0], log=said.append)
        watch.look()
        good[0] = False
        for _ in range(20):
            watch.look()
            at[0] += 5.0
        assert [1300.0 + 30, 1300.0 + 90] == [alert.ends_at for alert in receiver.told]
        assert {("MetricsServerUnreachable", "critical")} == {
            (alert.name, alert.severity) for alert in receiver.told
        }
        assert 1000.0 == receiver.told[0].starts_at
        good[0] = True
        watch.look()
        watch.look()
        assert [1100.0] == [alert.ends_at for alert in receiver.told[2:]]
        assert ["no rule can be evaluated", "the metrics server answers again after 100 s"] == [
            said[0].partition(":")[0], said[1]
        ]  # fmt: skip


def test_rules_ask_it_and_alerts_are_decided_here() -> None:
    """With another server alerts fire here; recording is left to it; while it is silent everything stays as it is."""
    asked, broken = list[str](), list[int]()

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        asked.append(request.form["query"][0])  # type: ignore[attr-defined]
        return (502, b"") if broken else (200, GOOD)

    receiver = Receiver()
    with fake(answer) as url:
        remote = RemoteQueries(url)
        rules = Rules(remote, None, None, receiver, moment=lambda: 1000.0)
        group = RuleGroup(
            name="g",
            source="monitoring/a.yaml",
            rules=(RecordingRule(record="a:b", expr="c"), AlertingRule(alert="Down", expr="up == 0")),
        )
        rules.load((group,))
        rules.evaluate(1_000_000)
        assert "c" not in asked
        assert "up == 0" in " ".join(asked)
        assert [("Down", None)] == [(alert.name, alert.ends_at) for alert in receiver.told]
        broken.append(1)
        rules.evaluate(1_005_000)
        rules.evaluate(1_010_000)
        assert ["firing"] == [alert.state for _, _, alert in rules.active()]
        rules.close()
        remote.close()


def _filled(now: float) -> Storage:
    storage = Storage(HotStore())
    times = np.array([int(now * 1000) - 30_000, int(now * 1000) - 15_000], np.int64)
    storage.receive(
        [
            ({"__name__": "requests_total", "job": "web", "path": 'a"b\\'}, times, np.array([1.0, 2.5])),
            ({"__name__": "up", "job": "web"}, times, np.array([1.0, np.inf])),
        ]
    )
    return storage


def test_federation() -> None:
    """The newest sample of each series that is asked for, with its time, as text that Prometheus reads."""
    app = FastAPI()
    app.include_router(federation.router(_filled(time.time()), SystemClock()))
    app.dependency_overrides[signed_in] = lambda: local_operator("ana")

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://opsbook") as client:
            return await client.get("/prometheus/federate", params={"match[]": ['{job="web"}', "up"]})

    answer = asyncio.run(ask())
    lines = answer.text.splitlines()
    assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["content-type"]
    assert ["# TYPE requests_total untyped", "# TYPE up untyped"] == [lines[0], lines[2]]
    assert lines[1].startswith('requests_total{job="web",path="a\\"b\\\\"} 2.5 ')
    assert lines[3].startswith('up{job="web"} +Inf ')
    assert 4 == len(lines)


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
def test_a_real_prometheus(tmp_path: Path) -> None:
    """It answers queries and catalogue; its rule files are what we export."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    scrape = f"{{job_name: self, scrape_interval: 1s, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}"
    (tmp_path / "prometheus.yml").write_text(f"scrape_configs: [{scrape}]\n")
    command = [
        "prometheus",
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
    ]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    remote = RemoteQueries(f"http://127.0.0.1:{port}", timeout=5.0)
    try:
        deadline = time.monotonic() + 60
        while True:
            now = int(time.time() * 1000)
            try:
                found = remote.instant('up{job="self"}', now).value
                if isinstance(found, Vector) and found.series:
                    break
            except Unreachable:
                pass
            assert time.monotonic() < deadline, "prometheus did not scrape itself"
            time.sleep(0.1)
        assert [1.0] == found.values.tolist()
        up = (Matcher("__name__", "=", "up"),)
        start, end = now - 60_000, now + 60_000
        assert [{"__name__": "up", "instance": f"127.0.0.1:{port}", "job": "self"}] == list(
            remote.series(up, start, end)
        )
        assert ("self",) == remote.label_values("job", up, start, end)
        assert ("__name__", "instance", "job") == remote.names(up, start, end)
        assert (
            "counter"
            == remote.metadata("prometheus_http_requests_total")["prometheus_http_requests_total"][0].kind
        )
        with pytest.raises(Invalid):
            remote.instant("sum(", now)
    finally:
        remote.close()
        process.terminate()
        process.wait(20)


def test_which_backend(tmp_path: Path) -> None:
    """Without a word opsbook's own engine answers and rules write to its storage; with a URL the other server does."""
    storage = Storage(HotStore())

    def backend(cover: bytes) -> Backend:
        book = load(TextFiles({"opsbook.yaml": cover}))
        return Backend(lambda: book, tmp_path, storage, secret=str, clock=SystemClock(), moment=time.time)

    own = backend(b"name: shop\n")
    assert (storage, storage) == (own.catalogue, own.series)
    assert isinstance(own.queries, Engine)
    own.keep(Receiver(), threading.Event())  # returns: there is nothing to watch
    own.close()
    other = backend(b"name: shop\nmonitoring: {metrics: 'http://127.0.0.1:1/x'}\n")
    assert other.series is None
    assert other.catalogue is other.queries
    assert "http://127.0.0.1:1/x" == getattr(other.queries, "url", "")
    with pytest.raises(Unreachable, match="does not answer"):
        other.queries.instant("up", 0)
    other.close()
