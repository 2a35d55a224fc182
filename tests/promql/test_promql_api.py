"""Prometheus' HTTP API over real HTTP: asked by hand, by promtool, and by our own client for other servers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from memory import Memory

from opsbook.errors import Failed, Invalid, NotFound, OpsbookError, Unreachable
from opsbook.monitoring import prometheus_api
from opsbook.monitoring.querying import api as query_api
from opsbook.promql import Engine, Matcher, Matrix, Samples, Scalar, Text, Vector
from opsbook.promql.series import is_sample
from opsbook.security.api import signed_in
from opsbook.security.room import local_operator
from opsbook.world.telemetry.remote_queries import RemoteQueries

START = 1_700_000_000


class Still:
    def now(self) -> float:
        return START + 600.0

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        raise AssertionError


class Rules:
    def rules_json(self) -> dict[str, object]:
        rules = [
            {"name": "Down", "type": "alerting", "alerts": []},
            {"name": "up:sum", "type": "recording"},
        ]
        return {"groups": [{"name": "basic", "file": "alerts.yaml", "rules": rules}]}

    def alerts_json(self) -> dict[str, object]:
        return {"alerts": [{"labels": {"alertname": "Down"}, "state": "firing"}]}


def filled() -> Memory:
    memory = Memory()
    times = [START + 15 * index for index in range(41)]
    growing = [2.5 * index for index in range(41)]
    for instance in ("a", "b"):
        rows = {"requests_total": growing, "up": [1.0] * 41, "temperature": [20.0] * 40 + [float("nan")]}
        memory.add(times, rows, instance=instance, job="web")
    return memory


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    memory = filled()
    app = FastAPI()
    app.include_router(prometheus_api.router(Engine(memory), memory, Still(), rules=Rules()))
    app.include_router(query_api.router(Engine(memory), Still()))
    app.dependency_overrides[signed_in] = lambda: local_operator("ana")

    @app.exception_handler(OpsbookError)
    def refused(_: Request, error: OpsbookError) -> JSONResponse:
        return JSONResponse({"error": error.to_json()}, status_code=error.http_status)

    listening = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=running.run, args=([listening],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not running.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    running.should_exit = True
    thread.join(20)


def ask(server: str, path: str, **params: object) -> httpx.Response:
    return httpx.get(f"{server}/prometheus/api/v1/{path}", params=params)  # type: ignore[arg-type]


def test_an_instant_query(server: str) -> None:
    """Vectors, scalars and texts are written as Prometheus writes them."""
    answer = ask(server, "query", query='up{instance="a"}', time=START + 600.5).json()
    metric = {"__name__": "up", "instance": "a", "job": "web"}
    expected = {"resultType": "vector", "result": [{"metric": metric, "value": [START + 600.5, "1"]}]}
    assert {"status": "success", "data": expected} == answer
    assert [START + 600, "1.5"] == ask(server, "query", query="3 / 2").json()["data"]["result"]
    assert [START + 600, "+Inf"] == ask(server, "query", query="1 / 0").json()["data"]["result"]
    assert [START + 600, "NaN"] == ask(server, "query", query="0 / 0").json()["data"]["result"]
    assert {"resultType": "string", "result": [START + 600, "x"]} == ask(server, "query", query='"x"').json()[
        "data"
    ]


def test_a_form_is_as_good_as_a_query(server: str) -> None:
    """Grafana sends forms."""
    form = {"query": "sum(up)", "time": "2023-11-14T22:23:20Z"}
    answer = httpx.post(f"{server}/prometheus/api/v1/query", data=form).json()
    assert [{"metric": {}, "value": [START + 600, "2"]}] == answer["data"]["result"]


def test_a_range_query_leaves_out_steps_without_samples(server: str) -> None:
    """Each series has the steps at which it has a value, and no others."""
    answer = ask(
        server, "query_range", query="requests_total", start=START - 60, end=START + 60, step="30s"
    ).json()
    values = [[START, "0"], [START + 30, "5"], [START + 60, "10"]]
    assert [values, values] == [each["values"] for each in answer["data"]["result"]]
    scalar = ask(server, "query_range", query="time()", start=0, end=1, step=1).json()["data"]
    assert {"resultType": "matrix", "result": [{"metric": {}, "values": [[0, "0"], [1, "1"]]}]} == scalar


def test_a_range_selector_gives_the_samples_themselves(server: str) -> None:
    """An instant query may be for a range."""
    answer = ask(server, "query", query='requests_total{instance="a"}[30s]', time=START + 60).json()["data"]
    assert "matrix" == answer["resultType"]
    assert [[START + 45, "7.5"], [START + 60, "10"]] == answer["result"][0]["values"]


@pytest.mark.parametrize(
    ("path", "params", "status", "kind", "said"),
    [
        ("query", {"query": "sum("}, 400, "bad_data", "unclosed"),
        ("query", {}, 400, "bad_data", '"query"'),
        ("query", {"query": "up", "time": "noon"}, 400, "bad_data", 'parameter "time"'),
        ("query", {"query": "up + on() up"}, 422, "execution", "many-to-many"),
        (
            "query_range",
            {"query": "up", "start": 0, "end": 12_000, "step": 1},
            400,
            "bad_data",
            "11,000 points",
        ),
        ("query_range", {"query": "up", "start": 1, "end": 0, "step": 1}, 400, "bad_data", "before start"),
        (
            "query_range",
            {"query": "up", "start": 0, "end": 1, "step": 0},
            400,
            "bad_data",
            "zero or negative",
        ),
        ("query_range", {"query": "up[5m]", "start": 0, "end": 1, "step": 1}, 400, "bad_data", "matrix"),
        ("series", {}, 400, "bad_data", "match[]"),
        ("series", {"match[]": "up[5m]"}, 400, "bad_data", "selector"),
        ("labels", {"limit": "x"}, 400, "bad_data", "limit"),
    ],
)
def test_what_is_refused(
    server: str, path: str, params: dict[str, object], status: int, kind: str, said: str
) -> None:
    """Errors have Prometheus' statuses, types and sentences."""
    response = ask(server, path, **params)
    body = response.json()
    assert (status, "error", kind) == (response.status_code, body["status"], body["errorType"])
    assert said in body["error"]


def test_a_query_that_takes_too_long_is_a_timeout() -> None:
    """It answers 503, as Prometheus does."""
    ticking = iter(range(1000))
    engine = Engine(filled(), timeout=2, monotonic=lambda: float(next(ticking)))
    with pytest.raises(Failed) as raised:
        engine.instant("abs(abs(abs(abs(up))))", START * 1000)
    assert "timeout" == raised.value.details["errorType"]


def test_what_there_is(server: str) -> None:
    """Series, labels, their values and metadata."""
    series = ask(server, "series", **{"match[]": ['up{instance="a"}', 'up{instance="b"}']}).json()["data"]
    assert ["a", "b"] == [labels["instance"] for labels in series]
    assert ["__name__", "instance", "job"] == ask(server, "labels").json()["data"]
    assert ["requests_total", "temperature", "up"] == ask(server, "label/__name__/values").json()["data"]
    assert ["a"] == ask(server, "label/instance/values", **{"match[]": 'up{instance="a"}'}).json()["data"]
    assert [] == ask(server, "label/instance/values", start=0, end=1).json()["data"]
    told = ask(server, "metadata", metric="requests_total").json()["data"]
    assert {"requests_total": [{"type": "counter", "unit": "", "help": "Requests"}]} == told


def test_rules_alerts_and_the_rest(server: str) -> None:
    """What others bring is passed on; what clients look at first is there."""
    groups = ask(server, "rules", type="alert").json()["data"]["groups"]
    assert [["Down"]] == [[rule["name"] for rule in group["rules"]] for group in groups]
    assert [] == ask(server, "rules", **{"rule_name[]": "Other"}).json()["data"]["groups"]
    assert "firing" == ask(server, "alerts").json()["data"]["alerts"][0]["state"]
    assert {"activeTargets": [], "droppedTargets": []} == ask(server, "targets").json()["data"]
    assert "3.0.0" == ask(server, "status/buildinfo").json()["data"]["version"]
    assert 200 == ask(server, "status/runtimeinfo").status_code
    assert {"numSeries": 6} == ask(server, "status/tsdb").json()["data"]["headStats"]
    assert "sum(up)" == ask(server, "format_query", query="sum( up )").json()["data"].replace("{}", "")
    assert [] == ask(server, "query_exemplars", query="up", start=0, end=1).json()["data"]


def test_our_own_route_refuses_in_our_own_words(server: str) -> None:
    """The command line and the console get kind, message and hint."""
    url = f"{server}/api/monitoring/query"
    good = httpx.get(url, params={"query": "up", "start": START, "end": START + 60, "step": "60"})
    assert "matrix" == good.json()["data"]["resultType"]
    bad = httpx.get(url, params={"query": "rate(up)"})
    assert (422, "give it a range: metric[5m]") == (bad.status_code, bad.json()["error"]["hint"])


def test_another_server_behind_the_same_face(server: str) -> None:
    """What the remote client answers is what the engine answers, kind by kind."""
    remote, own = RemoteQueries(f"{server}/prometheus"), Engine(filled())
    at = (START + 600) * 1000
    for query, kind in (("up", Vector), ("1", Scalar), ('"x"', Text), ("up[1m]", Samples)):
        assert isinstance(remote.instant(query, at).value, kind)
        assert type(own.instant(query, at).value) is kind
    ours = own.range("rate(requests_total[1m]) or temperature", at - 600_000, at, 60_000).value
    theirs = remote.range("rate(requests_total[1m]) or temperature", at - 600_000, at, 60_000).value
    assert isinstance(ours, Matrix)
    assert isinstance(theirs, Matrix)
    assert ours.series == theirs.series
    there = is_sample(ours.values)
    np.testing.assert_array_equal(there, is_sample(theirs.values))
    np.testing.assert_array_equal(ours.values[there], theirs.values[there])
    up = (Matcher("__name__", "=", "up"),)
    assert 2 == len(remote.series(up, 0, at))
    assert ("__name__", "instance", "job") == remote.names(up, 0, at)
    assert ("a", "b") == remote.label_values("instance", (), 0, at)
    assert "counter" == remote.metadata()["requests_total"][0].kind
    assert "sort is ineffective" in remote.range("sort(up)", at, at, 1000).warnings[0]
    with pytest.raises(Invalid):
        remote.instant("sum(", at)
    with pytest.raises(Failed):
        remote.instant("up + on() up", at)
    remote.close()


def test_another_server_that_is_none(server: str) -> None:
    """Nobody there, or somebody who speaks another language, is Unreachable with the place to look at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable) as raised:
        RemoteQueries(f"http://127.0.0.1:{port}").instant("up", 0)
    assert "opsbook.yaml" in raised.value.hint
    with pytest.raises((Unreachable, NotFound)):
        RemoteQueries(f"{server}/elsewhere").instant("up", 0)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_asks(server: str) -> None:
    """Prometheus' own tool gets instant and range queries, series and labels answered."""
    url = f"{server}/prometheus"

    def promtool(*arguments: str) -> str:
        command = ["promtool", "query", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    at = str(START + 600)
    instant = promtool("instant", f"--time={at}", url, "sum by (job) (rate(requests_total[5m]))")
    assert '{job="web"} => 0.33333333333333' in instant
    assert 'up{instance="b", job="web"} => 1 @' in promtool("instant", f"--time={at}", url, "up")
    ranged = promtool("range", f"--start={START}", f"--end={at}", "--step=300s", url, "sum(up)")
    assert "2 @[" in ranged
    series = promtool("series", "--match=up", f"--start={START}", f"--end={at}", url)
    assert 2 == len(series.strip().splitlines())
    labels = promtool("labels", f"--start={START}", f"--end={at}", url, "instance")
    assert ["a", "b"] == labels.split()
