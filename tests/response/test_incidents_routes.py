"""The routes and the commands of incidents, with a real room behind them."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from incident_house import START, House, alert

from opsbook.book.roles import Grant
from opsbook.errors import Conflict, Invalid, NotAllowed, NotFound, OpsbookError
from opsbook.response.incidents.api import router
from opsbook.response.incidents.cli.changes import incidents, note, resolve
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.room import local_operator
from opsbook.terminal import Terminal

ROOM = "/api/response/incidents"
KINDS: Mapping[int, type[OpsbookError]] = {
    kind.http_status: kind for kind in (NotFound, Conflict, Invalid, NotAllowed)
}


class Web:
    """Asks the routes, one request after the other."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> httpx.Response:
        return asyncio.run(self._ask("GET", path, params=params))

    def post(self, path: str, json: Mapping[str, Any]) -> httpx.Response:
        return asyncio.run(self._ask("POST", path, json=json))

    async def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://opsbook") as client:
            return await client.request(method, path, **given)


class Site:
    """The routes, whoever is asking, and a command line that asks them."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.who = local_operator("ana")
        app = FastAPI()
        app.include_router(router(house.room))

        @app.exception_handler(OpsbookError)
        async def refused(_: Request, error: OpsbookError) -> JSONResponse:
            return JSONResponse({"error": error.message}, status_code=error.http_status)

        app.dependency_overrides[signed_in] = lambda: self.who
        self.web = Web(app)
        self.out, self.messages = io.StringIO(), io.StringIO()
        self.terminal = Terminal(self.out, self.messages, {})

    @property
    def api(self) -> Site:
        return self

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        given = {key: value for key, value in (query or {}).items() if value is not None}
        return self._body(self.web.get(path, params=given))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._body(self.web.post(path, json=dict(body)))

    def _body(self, answer: Any) -> Any:
        if answer.status_code >= 400:
            raise KINDS[answer.status_code](str(answer.json().get("error")))
        return answer.json()

    def run(self, command: Any, *words: str) -> tuple[int, str, str]:
        """Exit code, data and messages of a command."""
        self.out.truncate(self.out.seek(0))
        self.messages.truncate(self.messages.seek(0))
        done = CliRunner().invoke(command, list(words), obj=self, standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        return done.return_value or 0, self.out.getvalue(), self.messages.getvalue()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    house = House(tmp_path)
    yield Site(house)
    house.close()


def test_the_life_of_one_by_http(site: Site) -> None:
    """Declared, acknowledged, noted, told, solved, reopened, closed; each answer is the incident as it is now."""
    made = site.post(
        ROOM, {"title": "Orders fail", "severity": "SEV1", "environment": "production", "services": ["web"]}
    )
    assert (made["id"], made["state"], made["declared_by"]) == ("inc-1", "active", site.who.actor)
    one = f"{ROOM}/inc-1"
    assert site.post(f"{one}/acknowledge", {})["acknowledged_by"] == site.who.actor
    site.post(f"{one}/notes", {"text": "the queue is full"})
    assert site.post(f"{one}/role", {"role": "commander", "person": "ben"})["commander"] == "ben"
    assert site.post(f"{one}/severity", {"severity": "SEV2", "reason": "half of them"})["severity"] == "SEV2"
    assert site.post(f"{one}/updates", {"text": "we roll back", "public": True})["updates"][0]["public"]
    assert site.post(f"{one}/mitigate", {})["state"] == "mitigated"
    site.post(f"{one}/actions", {"text": "alert earlier", "owner": "ana", "due": "2026-12-01"})
    assert site.post(f"{one}/actions/a1/done", {})["actions"][0]["done_at"] == START
    assert site.post(f"{one}/resolve", {"reason": "rolled back"})["state"] == "resolved"
    assert site.post(f"{one}/reopen", {"reason": "again"})["reopened"] == 1
    site.post(f"{one}/resolve", {})
    assert site.post(f"{one}/close", {})["state"] == "closed"
    told = [row["text"] for row in site.get(f"{one}/timeline")["timeline"]]
    assert "the queue is full" in told
    assert "customers are told: we roll back" in told
    assert site.get(f"{ROOM}/figures")["incidents"] == 1
    assert site.get(ROOM, {"state": "open"}) == {"incidents": [], "total": 0}
    assert site.get(one)["state"] == "closed"


def test_what_is_refused(site: Site) -> None:
    """Unknown incidents, states that do not fit, bodies with unknown keys."""
    site.house.fire(alert())
    for path, body, status in (
        ("inc-9/acknowledge", {}, 404),
        ("inc-1/close", {}, 409),
        ("inc-1/merge", {"into": "inc-1"}, 409),
        ("inc-1/merge", {"into": "inc-7"}, 404),
        ("inc-1/severity", {"severity": "bad"}, 422),
        ("inc-1/notes", {"text": ""}, 422),
        ("inc-1/notes", {"text": "x", "actor": "ben"}, 422),
        ("inc-1/role", {"role": "scribe", "person": "eve"}, 404),
    ):
        assert site.web.post(f"{ROOM}/{path}", json=body).status_code == status, path
    assert site.web.get(f"{ROOM}/inc-1/attachments/1").status_code == 404
    assert site.web.get(f"{ROOM}?limit=0").status_code == 422


def test_who_may(site: Site) -> None:
    """A viewer looks and changes nothing; who may look elsewhere only does not know that it is there."""
    site.house.fire(alert())
    site.house.fire(alert("Down", "mail", "staging"))
    site.who = Identity(name="eva", grants=(Grant(role="viewer"),), authenticated=True, via="token")
    assert site.get(ROOM)["total"] == 2
    changes = ("acknowledge", "notes", "role", "severity", "mitigate", "resolve", "reopen", "merge", "close")
    for verb in (*changes, "updates", "actions", "actions/a1/done"):
        assert site.web.post(f"{ROOM}/inc-1/{verb}", json={}).status_code == 403, verb
    assert site.web.post(ROOM, json={"title": "x"}).status_code == 403
    there = (Grant(role="responder", environments=("staging",)),)
    site.who = Identity(name="eva", grants=there, authenticated=True, via="token")
    assert [one["id"] for one in site.get(ROOM)["incidents"]] == ["inc-2"]
    assert site.get(f"{ROOM}/figures")["incidents"] == 1
    assert site.web.get(f"{ROOM}/inc-1").status_code == 403
    assert site.web.get(f"{ROOM}/inc-1/timeline").status_code == 403
    assert site.web.post(f"{ROOM}/inc-2/merge", json={"into": "inc-1"}).status_code == 403
    assert site.post(f"{ROOM}/inc-2/acknowledge", {})["acknowledged_by"] == site.who.actor
    assert site.web.post(ROOM, json={"title": "x", "environment": "production"}).status_code == 403
    assert site.web.post(ROOM, json={"title": "x"}).status_code == 403


def test_attachments_do_nothing(site: Site) -> None:
    """What others wrote is handed out so that nothing of it runs."""
    site.house.fire(alert())
    site.house.room.attach("inc-1", "plot", "svg", "<svg onload='alert(1)'/>")
    answer = site.web.get(f"{ROOM}/inc-1/attachments/1")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_commands(site: Site) -> None:
    """What is open, all about one, and what people do; the id may be left out when one is open."""
    code, _, said = site.run(incidents)
    assert (code, said) == (0, "no incident is open\n")
    with pytest.raises(NotFound):
        site.run(note, "nothing")
    _, _, said = site.run(
        incidents, "declare", "Orders fail", "--severity", "sev1", "--in", "production", "--service", "web"
    )
    assert "inc-1 SEV1 Orders fail" in said
    code, data, said = site.run(incidents, "list")
    assert code == 1
    assert "inc-1" in data
    assert "opsbook ack inc-1" in said
    assert site.run(incidents)[0] == 1
    assert json.loads(site.run(incidents, "--json")[1])["total"] == 1
    site.house.room.acknowledge("inc-1", "ana")
    assert site.run(incidents)[0] == 0
    site.run(note, "the", "queue", "is", "full")
    site.run(incidents, "role", "commander", "ben")
    site.run(incidents, "update", "we roll back", "--public")
    site.run(incidents, "action", "alert earlier", "--owner", "ana", "--due", "2026-12-01")
    with pytest.raises(Invalid):
        site.run(incidents, "action")
    _, data, _ = site.run(incidents, "show")
    for part in (
        "SEV1",
        "ana has it",
        "commander ben",
        "a1 [ ] alert earlier (ana, due 2026-12-01)",
        "we roll back",
    ):
        assert part in data
    _, data, _ = site.run(incidents, "timeline")
    assert "the queue is full" in data
    site.run(incidents, "action", "--done", "a1")
    site.run(incidents, "mitigate", "--reason", "rolled back")
    _, _, said = site.run(resolve, "inc-1", "it was", "the cache")
    assert "resolved inc-1" in said
    _, data, said = site.run(incidents, "figures", "--days", "3660")
    assert "SEV1" in data
    site.run(incidents, "reopen", "inc-1", "--reason", "again")
    site.run(resolve)
    site.run(incidents, "close", "inc-1")
    _, data, _ = site.run(incidents, "list", "--all", "--json")
    assert json.loads(data)["incidents"][0]["state"] == "closed"


def test_which_one_is_meant(site: Site) -> None:
    """Of several one must be named, and a severity is given; merging names both."""
    site.house.fire(alert())
    site.house.fire(alert("Down", "mail"))
    with pytest.raises(Invalid):
        site.run(resolve)
    site.run(incidents, "severity", "SEV1", "--incident", "inc-2")
    site.run(incidents, "merge", "inc-2", "--into", "inc-1")
    _, data, _ = site.run(incidents, "show", "--json")
    assert (json.loads(data)["id"], json.loads(data)["severity"]) == ("inc-1", "SEV1")
    _, data, _ = site.run(incidents, "list", "--all")
    assert "merged" in data
    _, data, _ = site.run(incidents, "timeline", "inc-1")
    assert "inc-2: the incident is opened" in data
    _, _, said = site.run(resolve, "inc-1")
    assert "HighErrorRate, Down still fires; if it is not over: opsbook incidents reopen inc-1" in said


def test_words_that_move_the_cursor(site: Site) -> None:
    """Whatever an alert says, a terminal shows it and obeys nothing."""
    site.house.fire(alert("Down\x1b]0;x\x07", summary="\x1b[2J all is well \x9b31m"))
    site.house.room.update("inc-1", "line one\n\x1b[31mline two", public=False, actor="ana")
    for words in (("list",), ("show",), ("timeline",)):
        _, data, _ = site.run(incidents, *words)
        assert "\x1b" not in data
        assert "\x9b" not in data
