"""The live stream and the journal's routes."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

from opsbook.journal import verify_export


def stream(place: Any, query: str = "", **headers: str) -> Iterator[dict[str, str]]:
    """The messages of ``GET /api/events``, comments as ``{"": text}``."""
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(30)
    connection.sock.connect(json.loads((place.state / "server.json").read_text())["socket"])
    connection.request("GET", f"/api/events{query}", headers=headers)
    response = connection.getresponse()
    assert response.getheader("content-type", "").startswith("text/event-stream")
    message: dict[str, str] = {}
    try:
        while line := response.readline().decode():
            if line == "\n":
                yield message
                message = {}
            else:
                name, _, value = line.rstrip("\n").partition(":")
                message[name] = value.strip()
    finally:
        connection.close()


def finished(place: Any, service: str = "web") -> dict[str, Any]:
    """A deployment that has run to its end."""
    body = {"service": service, "environment": "staging"}
    name = place.api.post("/api/deployment/restarts", body)["deployments"][0]["id"]
    done = lambda: (found := place.api.get(f"/api/deployment/deployments/{name}"))["outcome"] and found  # noqa: E731
    deployment: dict[str, Any] = place.until(done, "the deployment to end")
    return deployment


def test_what_was_missed_is_replayed_then_what_comes_is_live(served: Any) -> None:
    """Nothing is lost or doubled between the two, and the ids are the journal's."""
    finished(served)
    head = served.api.get("/api/journal/head")["id"]
    messages = stream(served, "?after=0")
    assert "retry" in next(messages)
    replayed = [int(next(messages)["id"]) for _ in range(head)]
    served.api.post("/api/deployment/restarts", {"service": "web", "environment": "staging"})
    live = [int(next(messages)["id"]) for _ in range(3)]
    assert list(range(1, head + 4)) == replayed + live


def test_a_message_has_id_kind_and_the_whole_event(served: Any) -> None:
    """A client needs no second request."""
    finished(served)
    messages = stream(served, "?after=0&kinds=deployment.succeeded")
    next(messages)
    message = next(messages)
    event = json.loads(message["data"])
    assert message["event"] == event["kind"] == "deployment.succeeded"
    assert int(message["id"]) == event["id"]
    assert {"at", "subject", "actor", "data", "hash"} < event.keys()


def test_kinds_and_subject_select(served: Any) -> None:
    """Only what was asked for is sent."""
    finished(served, "web")
    finished(served, "api")
    messages = stream(served, "?after=0&kinds=deployment.requested,deployment.succeeded&subject=staging/api")
    next(messages)
    events = [json.loads(next(messages)["data"]) for _ in range(2)]
    assert [(event["kind"], event["subject"]) for event in events] == [
        ("deployment.requested", "staging/api"),
        ("deployment.succeeded", "staging/api"),
    ]


def test_a_browser_that_comes_back_goes_on_after_what_it_saw_last(served: Any) -> None:
    """Last-Event-ID counts for more than the address, which the browser repeats."""
    finished(served)
    messages = stream(served, "?after=0", **{"Last-Event-ID": "2"})
    next(messages)
    assert next(messages)["id"] == "3"


def test_open_streams_end_with_the_server_within_two_seconds(place: Any) -> None:
    """A watching browser does not keep opsbook from ending."""
    place.serve()
    messages = stream(place)
    next(messages)
    place.process.terminate()
    assert list(messages) == []
    assert place.process.wait(timeout=30) == 0


def test_the_journal_can_be_read_filtered_and_from_its_end(served: Any) -> None:
    """`newest` gives the last ones, still oldest first."""
    finished(served)
    answer = served.api.get("/api/journal/events", {"kinds": "deployment.*", "newest": True, "limit": 2})
    ids = [event["id"] for event in answer["events"]]
    assert [answer["head"] - 1, answer["head"]] == ids


def test_the_journal_verifies_and_its_export_verifies_alone(served: Any) -> None:
    """What was taken away proves itself."""
    finished(served)
    checked = served.api.get("/api/journal/verify")
    exported = list(served.api.lines("/api/journal/export"))
    assert checked["ok"]
    assert verify_export(exported).ok
    assert not verify_export(exported[1:]).ok
