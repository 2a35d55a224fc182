"""Post-mortems and the status page over HTTP and at the terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import click
import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from postmortem_house import House, action, incident, update

from opsbook.book.roles import Grant
from opsbook.errors import NotFound, OpsbookError, from_json
from opsbook.response.postmortems.api import router
from opsbook.response.postmortems.cli import postmortem, status_page
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.room import local_operator
from opsbook.terminal import Terminal

ROOM = "/api/response/postmortems"
POLICY = "status_page: {services: {web: Web shop}}\n"


class Web:
    """Requests to the routes, each in an event loop of its own."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> httpx.Response:
        return self._ask("GET", path, params=params)

    def post(self, path: str, json: Any) -> httpx.Response:
        return self._ask("POST", path, json=json)

    def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://opsbook") as asking:
                return await asking.request(method, path, **given)

        return anyio.run(ask)


class Face:
    """The routes over a room, and the commands over the routes; `who` is asking."""

    def __init__(self, folder: Path) -> None:
        self.house = House(folder, {"incidents/policy.yaml": POLICY})
        self.house.desk.put(incident(actions=(action("a1", "Add a canary", due="2025-11-20"),)))
        self.house.room.look()
        self.who = local_operator("ana")
        app = FastAPI()
        app.include_router(router(self.house.room))
        app.dependency_overrides[signed_in] = lambda: self.who

        @app.get("/api/response/incidents")
        def incidents() -> dict[str, Any]:
            return {"incidents": [one.to_json() for one in self.house.desk.every()]}

        @app.exception_handler(OpsbookError)
        async def refused(_: Request, error: OpsbookError) -> JSONResponse:
            return JSONResponse(error.to_json(), status_code=error.http_status)

        self.web = Web(app)

    # what a command is handed
    @property
    def api(self) -> Face:
        return self

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        given = {key: value for key, value in (query or {}).items() if value is not None}
        return self._answer(self.web.get(path, params=given))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._answer(self.web.post(path, json=dict(body)))

    def _answer(self, answer: Any) -> Any:
        if answer.status_code >= 400:
            raise from_json(answer.json())
        return answer.json()

    def call(self, command: click.Command, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        out, messages = io.StringIO(), io.StringIO()
        self.terminal = Terminal(out, messages, {})
        code = command.main(list(arguments), obj=self, standalone_mode=False)
        return code or 0, out.getvalue(), messages.getvalue()


@pytest.fixture
def face(tmp_path: Path) -> Iterator[Face]:
    made = Face(tmp_path)
    yield made
    made.house.close()


def test_the_commands(face: Face) -> None:
    """List, show, write, actions, lesson and final, each as text and as JSON."""
    code, out, err = face.call(postmortem)
    assert (code, out.split()[:2]) == (0, ["inc-7", "SEV2"])
    assert "1 of 1 open action overdue" in out
    assert "overdue" in err
    _, out, _ = face.call(postmortem, "list", "--json")
    assert [one["incident"] for one in json.loads(out)["postmortems"]] == ["inc-7"]
    _, out, _ = face.call(postmortem, "show")
    assert out == face.house.read("incidents/2025-11-21-orders-fail.md")
    _, out, err = face.call(postmortem, "write", "inc-7")
    assert (out, "incidents/2025-11-21-orders-fail.md" in err) == ("", True)
    assert "git merge lesson/inc-7" in err
    code, out, _ = face.call(postmortem, "actions")
    assert (code, "overdue" in out, "Add a canary" in out) == (1, True, True)
    _, out, _ = face.call(postmortem, "actions", "--owner", "ben", "--json")
    assert json.loads(out) == {"actions": []}
    _, out, err = face.call(postmortem, "lesson", "--patch")
    assert out.startswith("--- a/runbooks/storefront.md\n+++ b/runbooks/storefront.md\n")
    _, out, _ = face.call(postmortem, "lesson", "--again", "--json")
    assert json.loads(out)["lesson"]["place"] == "lesson/inc-7"
    face.call(postmortem, "final")
    assert "state: final" in face.house.read("incidents/2025-11-21-orders-fail.md")
    with pytest.raises(NotFound, match="inc-99"):
        face.call(postmortem, "write", "inc-99")


def test_the_status_page_at_the_terminal(face: Face, tmp_path: Path) -> None:
    """What it says now; built into a folder of this machine."""
    told = (update("We are on it.\nSoon more."),)
    face.house.desk.put(
        incident(id="inc-8", state="active", resolved_at=None, mitigated_at=None, updates=told)
    )
    _, out, _ = face.call(status_page)
    assert "Problem with Web shop: partial outage" in out
    assert "inc-8  Problem with Web shop  investigating  We are on it." in out
    _, _, err = face.call(status_page, "build", "--to", str(tmp_path / "out"))
    assert str(tmp_path / "out") in err
    names = sorted(one.name for one in (tmp_path / "out").iterdir())
    assert names == ["feed.xml", "history.html", "index.html", "status.json"]
    with pytest.raises(NotFound, match="no folder"):
        face.call(status_page, "build")


def test_editing_by_http(face: Face) -> None:
    """With the digest of what one began from; 409 for who was slower, 422 for nonsense."""
    shown = face.web.get(f"{ROOM}/inc-7").json()
    body = {"text": shown["text"] + "\nMore.\n", "base": shown["digest"]}
    edited = face.web.post(f"{ROOM}/inc-7/text", json=body)
    assert (edited.status_code, edited.json()["text"].endswith("More.\n")) == (200, True)
    assert face.web.post(f"{ROOM}/inc-7/text", json=body).status_code == 409
    assert (
        face.web.post(
            f"{ROOM}/inc-7/text", json={**body, "base": edited.json()["digest"], "text": "x"}
        ).status_code
        == 422
    )
    assert face.web.post(f"{ROOM}/inc-7/text", json={"text": "x"}).status_code == 422
    assert face.web.get(f"{ROOM}/inc-9").status_code == 404
    assert face.web.get(f"{ROOM}/inc-7/plot.svg").status_code == 404


def test_the_plot_by_http(face: Face) -> None:
    """As a picture that may load and run nothing."""
    face.house.measure()
    face.house.room.write("inc-7", "ana")
    answer = face.web.get(f"{ROOM}/inc-7/plot.svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_who_may(face: Face) -> None:
    """A viewer of another environment sees nothing of it; a viewer of this one changes nothing."""
    elsewhere = (Grant(role="viewer", environments=("staging",)),)
    face.who = Identity(name="eve", grants=elsewhere, authenticated=True, via="token")
    assert face.web.get(ROOM).json() == {"postmortems": []}
    assert face.web.get("/api/response/postmortem-actions").json() == {"actions": []}
    for path in (f"{ROOM}/inc-7", f"{ROOM}/inc-7/lesson", f"{ROOM}/inc-7/plot.svg"):
        assert face.web.get(path).status_code == 403
    here = (Grant(role="viewer", environments=("production",)),)
    face.who = Identity(name="eve", grants=here, authenticated=True, via="token")
    assert face.web.get(f"{ROOM}/inc-7").status_code == 200
    for path in (f"{ROOM}/inc-7", f"{ROOM}/inc-7/final", f"{ROOM}/inc-7/lesson", "/api/response/status-page"):
        assert face.web.post(path, json={}).status_code == 403
    answer = face.web.post(f"{ROOM}/inc-7/text", json={"text": "x", "base": "y"})
    assert answer.status_code == 403
