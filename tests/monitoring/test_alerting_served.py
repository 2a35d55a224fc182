"""Alertmanager's API and our own over real HTTP: with amtool and a Prometheus as they are, and by hand."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from alerting_house import House, Receiver, until
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from opsbook.book.roles import Grant
from opsbook.errors import OpsbookError
from opsbook.monitoring.alerting import alertmanager_api, api
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.room import local_operator

AMTOOL = shutil.which("amtool")
PROMETHEUS = shutil.which("prometheus")
needs_amtool = pytest.mark.skipif(
    AMTOOL is None, reason="amtool (Debian: prometheus-alertmanager) is not here"
)
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not here")


@dataclass
class Served:
    house: House
    url: str
    client: httpx.Client
    who: list[Identity]

    def am(self, *words: str, ok: bool = True) -> str:
        assert AMTOOL is not None
        ended = subprocess.run(
            [AMTOOL, f"--alertmanager.url={self.url}/alertmanager", *words],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
        assert ok is (ended.returncode == 0), ended.stderr
        return ended.stdout if ok else ended.stderr

    def am_json(self, *words: str) -> Any:
        return json.loads(self.am(*words, "-o", "json"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def served(tmp_path: Path, receiver: Receiver) -> Iterator[Served]:
    house = House(
        tmp_path,
        f'channels: {{hook: {{webhook: "{receiver.url}"}}}}',
        "group_interval: 100ms\nsilences: [{name: nightly, match: alertname=Batch, comment: c,"
        " weekly: {days: [sun], from: '02:00', until: '04:00'}}]\n",
    )
    app, who = FastAPI(), [local_operator("ana")]
    app.include_router(alertmanager_api.router(house.alerting, lambda: house.book, house.clock))
    app.include_router(api.router(house.alerting, lambda: house.book, house.journal, house.clock))
    app.dependency_overrides[signed_in] = lambda: who[0]

    @app.exception_handler(OpsbookError)
    def refused(_: Request, error: OpsbookError) -> JSONResponse:
        return JSONResponse({"error": error.to_json()}, status_code=error.http_status)

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    with httpx.Client(base_url=url, timeout=20) as client:
        yield Served(house, url, client, who)
    server.should_exit = True
    thread.join(10)
    house.close()


def stamp(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


# --- clients that nobody here wrote ---


@needs_amtool
def test_amtool_adds_and_queries_alerts(served: Served, receiver: Receiver) -> None:
    """What is added is told, and found by its labels."""
    served.am(
        "alert", "add", "DiskFull", "service=db", "severity=critical", "--annotation=summary=it is full"
    )
    served.am("alert", "add", "Other", "service=web")

    assert "DiskFull" in served.am("alert", "query")
    [found] = served.am_json("alert", "query", "service=db")
    assert ("active", {"summary": "it is full"}, [{"name": "hook"}]) == (
        found["status"]["state"], found["annotations"], found["receivers"],
    )  # fmt: skip
    assert [] == served.am_json("alert", "query", "alertname=~No.*")
    receiver.wait(2)


@needs_amtool
def test_amtool_silences_queries_and_expires(served: Served) -> None:
    """Silenced alerts are suppressed until the silence is expired; the handbook's are listed too."""
    served.am("alert", "add", "DiskFull", "service=db")
    name = served.am("silence", "add", "service=db", "-c", "known", "-a", "ana", "-d", "2h").strip()
    [found] = served.am_json("alert", "query", "--silenced")
    assert ("suppressed", [name]) == (found["status"]["state"], found["status"]["silencedBy"])
    listed = served.am_json("silence", "query", "service=db")
    assert [(name, "known", "ana", "active")] == [
        (one["id"], one["comment"], one["createdBy"], one["status"]["state"]) for one in listed
    ]
    served.am("silence", "expire", name)

    assert [] == served.am_json("alert", "query", "--silenced")
    assert "book:nightly" in served.am("silence", "query")
    assert [name] == [one["id"] for one in served.am_json("silence", "query", "--expired", "--within", "1h")]
    assert "comment required" in served.am("silence", "add", "service=db", ok=False)


@needs_amtool
def test_amtool_changes_a_silence(served: Served) -> None:
    """`amtool silence update` sends it again with its id."""
    name = served.am("silence", "add", "service=db", "-c", "known", "-d", "1h").strip()
    served.am("silence", "update", name, "-c", "still known")

    [found] = served.am_json("silence", "query", "service=db")
    assert (name, "still known") == (found["id"], found["comment"])


@needs_amtool
def test_amtool_reads_the_configuration(served: Served) -> None:
    """As far as it is one: who receives."""
    assert "hook" in served.am("config", "show")


@needs_prometheus
def test_a_prometheus_pushes_its_alerts(served: Served, receiver: Receiver, tmp_path: Path) -> None:
    """Firing and resolved, as its rule says, with a target that goes away and comes back."""
    up = {"value": 0}

    class Target(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"thing {up['value']}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None: ...

    target = ThreadingHTTPServer(("127.0.0.1", 0), Target)
    threading.Thread(target=target.serve_forever, args=(0.05,), daemon=True).start()
    address = served.url.removeprefix("http://")
    (tmp_path / "rules.yml").write_text(
        "groups: [{name: g, interval: 200ms, rules: [{alert: ThingDown, expr: thing == 0,"
        " labels: {severity: critical}, annotations: {summary: 'no thing'}}]}]"
    )
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}\n"
        f"rule_files: [{tmp_path}/rules.yml]\n"
        f"alerting: {{alertmanagers: [{{path_prefix: /alertmanager, static_configs: [{{targets: ['{address}']}}]}}]}}\n"
        "scrape_configs: [{job_name: j, static_configs:"
        f" [{{targets: ['127.0.0.1:{target.server_address[1]}']}}]}}]\n"
    )
    assert PROMETHEUS is not None
    with (tmp_path / "log").open("wb") as log:
        peer = subprocess.Popen(
            [
                PROMETHEUS, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
                "--web.listen-address=127.0.0.1:0", "--rules.alert.resend-delay=1s",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        [fired] = receiver.wait(1)
        assert {"alertname": "ThingDown", "severity": "critical"}.items() <= fired.body[
            "commonLabels"
        ].items()
        up["value"] = 1
        receiver.wait(2)
    finally:
        peer.send_signal(signal.SIGTERM)
        peer.wait(20)
        target.shutdown()
        target.server_close()

    assert ["firing", "resolved"] == receiver.statuses()[:2]
    assert "no thing" == fired.body["commonAnnotations"]["summary"]


# --- by hand ---

AM = "/alertmanager/api/v2"


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"{}", b"[1]", b'[{"labels": {}}]', b'[{"labels": {"a b": "x"}}]', b'[{"labels": {"a": 1}}]',
        b'[{"labels": {"a": "x"}, "startsAt": "soon"}]', b'[{"labels": {"a": ["x"]}}]', b"null",
        b'[{"labels": {"a": "x"}, "startsAt": "2026-01-02T00:00:00Z", "endsAt": "2026-01-01T00:00:00Z"}]',
    ],
)  # fmt: skip
def test_alerts_that_are_none_are_refused(served: Served, body: bytes) -> None:
    """400 with a sentence, and nothing of it is taken."""
    answer = served.client.post(f"{AM}/alerts", content=body)

    assert (400, str) == (answer.status_code, type(answer.json()))
    assert [] == served.client.get(f"{AM}/alerts").json()


def test_strange_alerts_are_taken_without_harm(served: Served, receiver: Receiver) -> None:
    """Half a surrogate, control characters, Go's zero times, nanoseconds, names that look like ours."""
    alerts = [
        {"labels": {"alertname": "\ud800"}},
        {"labels": {"alertname": "a\x00b", "environment": "production/web\n"}},
        {"labels": {"alertname": "Go", "empty": ""}, "startsAt": "0001-01-01T00:00:00Z", "endsAt": None},
        {"labels": {"alertname": "Nano"}, "startsAt": "2026-01-01T00:00:00.123456789Z"},
    ]
    answer = served.client.post(f"{AM}/alerts", content=json.dumps(alerts).encode())
    assert 200 == answer.status_code
    receiver.wait(4)

    found = served.client.get(f"{AM}/alerts").json()
    assert ["?", "Go", "Nano", "a\x00b"] == sorted(one["labels"]["alertname"] for one in found)
    assert all("empty" not in one["labels"] for one in found)


def test_alerts_are_listed_by_group_and_filter(served: Served) -> None:
    """As they are told together."""
    for instance in ("a", "b"):
        served.house.fire("Down", service="web", instance=instance)
    served.house.fire("Other", service="db")
    groups = served.client.get(f"{AM}/alerts/groups").json()

    assert [("Down", 2), ("Other", 1)] == [(one["labels"]["alertname"], len(one["alerts"])) for one in groups]
    one_instance = served.client.get(
        f"{AM}/alerts", params={"filter": ['instance="a"', "service=~w.*"]}
    ).json()
    assert ["a"] == [one["labels"]["instance"] for one in one_instance]
    assert [] == served.client.get(f"{AM}/alerts", params={"receiver": "no.*"}).json()
    assert [] == served.client.get(f"{AM}/alerts", params={"active": "false"}).json()
    assert 400 == served.client.get(f"{AM}/alerts", params={"filter": "nonsense"}).status_code
    assert [{"name": "hook"}] == served.client.get(f"{AM}/receivers").json()
    assert "disabled" == served.client.get(f"{AM}/status").json()["cluster"]["status"]


def test_a_silence_of_the_handbook_shows_its_next_hours(served: Served) -> None:
    """It cannot be expired from here."""
    found = served.client.get(f"{AM}/silence/book:nightly").json()
    begins = datetime.fromisoformat(found["startsAt"])

    assert ("Sunday", 2) == (begins.strftime("%A"), begins.hour) or found["status"]["state"] == "active"
    assert timedelta(hours=2) >= datetime.fromisoformat(found["endsAt"]) - begins
    assert 500 == served.client.delete(f"{AM}/silence/book:nightly").status_code
    assert 404 == served.client.delete(f"{AM}/silence/no-such").status_code
    assert 404 == served.client.get(f"{AM}/silence/no-such").status_code


@pytest.mark.parametrize("missing", ["comment", "createdBy", "endsAt", "matchers", "startsAt"])
def test_a_silence_must_be_whole(served: Served, missing: str) -> None:
    """As Alertmanager wants it."""
    body = {
        "comment": "c", "createdBy": "ana", "startsAt": stamp(0), "endsAt": stamp(60),
        "matchers": [{"name": "a", "value": "b", "isRegex": False}],
    }  # fmt: skip
    assert 200 == served.client.post(f"{AM}/silences", json=body).status_code
    answer = served.client.post(f"{AM}/silences", json={k: v for k, v in body.items() if k != missing})

    assert (400, True) == (answer.status_code, missing in answer.json())


def test_looking_needs_a_role_and_changing_a_greater_one(served: Served) -> None:
    """A viewer may look, and neither push alerts nor silence them nor send messages."""
    viewer = Identity(name="vi", grants=(Grant(role="viewer"),), authenticated=True, via="token")
    nobody = Identity(name="no", grants=(), authenticated=True, via="token")
    looks = [
        f"{AM}/alerts",
        f"{AM}/silences",
        f"{AM}/status",
        "/api/monitoring/silences",
        "/api/monitoring/channels",
    ]
    changes = [
        ("POST", f"{AM}/alerts"), ("POST", f"{AM}/silences"), ("DELETE", f"{AM}/silence/x"),
        ("POST", "/api/monitoring/silences"), ("DELETE", "/api/monitoring/silences/x"),
        ("POST", "/api/monitoring/channels/hook/test"),
    ]  # fmt: skip
    served.who[0] = viewer
    assert {200} == {served.client.get(path).status_code for path in looks}
    body = {"matchers": ["a=b"], "comment": "c"}
    assert {403} == {served.client.request(verb, path, json=body).status_code for verb, path in changes}
    served.who[0] = nobody
    assert {403} == {served.client.get(path).status_code for path in looks}


def test_our_own_api_silences_with_hours_and_a_preview(served: Served) -> None:
    """What is hidden is said before and after."""
    served.house.fire(service="web")
    preview = served.client.post(
        "/api/monitoring/silences/preview", json={"matchers": ['service="web"']}
    ).json()
    assert ["Down"] == [one["name"] for one in preview["alerts"]]
    made = served.client.post(
        "/api/monitoring/silences",
        json={
            "matchers": ["service=web"], "comment": "batch", "timezone": "Europe/Berlin",
            "weekly": {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]},
        },
    ).json()  # fmt: skip

    assert ["Down"] == [one["name"] for one in made["hides"]]
    wanted = {"state": "active", "timezone": "Europe/Berlin", "expires_at": None, "created_by": "ana"}
    assert wanted == {key: made["silence"][key] for key in wanted}
    [shown] = served.client.get("/api/monitoring/alerting").json()["alerts"]
    assert ("suppressed", "silence") == (shown["state"], shown["suppressed_by"][0]["kind"])
    wrong = {"matchers": ["a=b"], "comment": "c", "weekly": {"days": ["someday"]}}
    assert 422 == served.client.post("/api/monitoring/silences", json=wrong).status_code


def test_channels_and_their_messages_are_listed(served: Served, receiver: Receiver) -> None:
    """How it goes with each, and what was sent."""
    served.house.fire()
    receiver.wait(1)
    until(lambda: served.client.get("/api/monitoring/channels").json()["channels"][0]["sent"])
    [channel] = served.client.get("/api/monitoring/channels").json()["channels"]

    assert ("hook", "webhook", 0, "", False) == tuple(
        channel[key] for key in ("name", "kind", "waiting", "error", "quiet")
    )
    [sent] = served.client.get("/api/monitoring/notifications").json()["notifications"]
    assert ("notification.sent", "firing") == (sent["kind"], sent["status"])
    answer = served.client.post("/api/monitoring/channels/hook/test", json={}).json()
    assert {"channel": "hook", "answer": "200 OK: thanks"} == answer
