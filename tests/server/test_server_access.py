"""Who may come in by which door."""

from __future__ import annotations

import http.client
import json
import stat
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit


def ask(place: Any, path: str, *, method: str = "GET", **headers: str) -> tuple[int, Any]:
    """Status and JSON over TCP."""
    running = json.loads((place.state / "server.json").read_text())
    parts = urlsplit(running["url"])
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request(
            method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def bearer(place: Any) -> str:
    return "Bearer " + (place.state / "token").read_text().strip()


def test_the_state_folder_its_token_and_its_socket_are_private(served: Any) -> None:
    """Nobody but the owner can open what lets one in."""
    modes = [
        stat.S_IMODE((served.state / name).stat().st_mode)
        for name in (".", "token", "api.sock", "opsbook.log")
    ]
    assert modes == [0o700, 0o600, 0o600, 0o600]


def test_the_token_has_256_random_bits(served: Any) -> None:
    """43 characters of base64 without padding are 32 bytes."""
    assert len((served.state / "token").read_text().strip()) == 43


def test_health_needs_no_token(served: Any) -> None:
    """A load balancer can ask."""
    status, body = ask(served, "/api/health")
    assert (status, body["ok"]) == (200, True)


def test_without_a_token_tcp_is_refused_in_the_one_shape_of_errors(served: Any) -> None:
    """401, and a hint where the token is."""
    status, body = ask(served, "/api/status")
    assert (status, body["error"]["kind"]) == (401, "not_allowed")
    assert "token" in body["error"]["hint"]


def test_a_wrong_token_is_refused(served: Any) -> None:
    """Nearly right is wrong."""
    assert ask(served, "/api/status", Authorization=bearer(served)[:-1])[0] == 401
    assert ask(served, "/api/status", Authorization=bearer(served).replace("Bearer", "Basic"))[0] == 401


def test_the_token_lets_in(served: Any) -> None:
    """With it, everything the socket gives."""
    assert ask(served, "/api/status", Authorization=bearer(served))[0] == 200


def test_a_foreign_host_name_is_refused_even_with_the_token(served: Any) -> None:
    """A page that points its own name at 127.0.0.1 gets nothing."""
    for host in ("evil.example", "evil.example:7373", "127.0.0.1.evil.example", "localhost.evil.example", ""):
        status, body = ask(served, "/api/health", Authorization=bearer(served), Host=host)
        assert (status, body["error"]["kind"]) == (403, "not_allowed"), host


def test_names_and_addresses_of_this_machine_are_answered(served: Any) -> None:
    """Plain addresses cannot be rebound."""
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:7373", "[::1]:7373", "[::1]", "192.0.2.7"):
        assert ask(served, "/api/health", Host=host)[0] == 200, host


def test_headers_cannot_pretend_to_be_the_socket(served: Any) -> None:
    """Which door it is is known from the door."""
    assert ask(served, "/api/status", X_Opsbook_Actor="root", X_Forwarded_For="unix")[0] == 401


def test_the_actor_is_named_by_the_socket_and_marked_with_a_token(served: Any) -> None:
    """A name that comes with a shared token is a claim, and the journal says so."""
    body = {"service": "web", "environment": "staging"}
    by_socket = served.api.post("/api/deployment/restarts", body)
    running = json.loads((served.state / "server.json").read_text())
    parts = urlsplit(running["url"])
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    headers = {
        "Authorization": bearer(served),
        "X-Opsbook-Actor": "an\x07a",
        "Content-Type": "application/json",
    }
    connection.request("POST", "/api/deployment/restarts", json.dumps(body), headers)
    by_token = json.loads(connection.getresponse().read())
    connection.close()
    assert "(token)" not in by_socket["deployments"][0]["requested_by"]
    assert by_token["deployments"][0]["requested_by"] == "ana (token)"


def test_the_api_describes_itself_but_loads_no_foreign_scripts(served: Any) -> None:
    """OpenAPI is there; the page that would load from elsewhere is not."""
    status, body = ask(served, "/api/openapi.json", Authorization=bearer(served))
    assert status == 200
    assert "/api/events" in body["paths"]
    assert ask(served, "/docs", Authorization=bearer(served))[0] == 404
    assert ask(served, "/api/docs", Authorization=bearer(served))[0] == 404


def test_a_calendar_may_show_the_token_as_a_password(served: Any) -> None:
    """Most calendars know nothing else, and ask for it only when they are told to; that opens nothing beside it."""
    path = "/api/response/oncall/calendar.ics"
    token = (served.state / "token").read_text().strip()
    given = {"Authorization": "Basic " + b64encode(f"anybody:{token}".encode()).decode()}
    parts = urlsplit(json.loads((served.state / "server.json").read_text())["url"])
    answers: dict[str, http.client.HTTPResponse] = {}
    for name, headers in (("with", given), ("without", {})):
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        try:
            connection.request("GET", path, headers=headers)
            answers[name] = connection.getresponse()
            answers[name].read()
        finally:
            connection.close()
    assert answers["with"].status != 401  # which routes there are is not what is asked here
    assert answers["without"].status == 401
    assert 'Basic realm="opsbook"' in str(answers["without"].getheader("WWW-Authenticate"))
    assert ask(served, "/api/response/oncall", **given)[0] == 401
