"""The routes and the command of who is on call."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from opsbook.book import TextFiles, load
from opsbook.errors import OpsbookError
from opsbook.journal import Journal
from opsbook.response.oncall.api import router
from opsbook.response.oncall.room import OnCall
from opsbook.security.api import signed_in
from opsbook.security.room import local_operator

YESTERDAY = (datetime.now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
FILES = {
    "opsbook.yaml": b"name: shop\ncontacts: {ana: {email: a@example.com}, ben: {email: b@example.com}}\n",
    "incidents/policy.yaml": (
        "schedules:\n- name: on-call\n  layers:\n"
        f"  - {{name: weekly, people: [ana, ben], from: {YESTERDAY}}}\n"
    ).encode(),
}


class RealClock:
    def now(self) -> float:
        return time.time()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    journal = Journal.open(tmp_path / "journal.sqlite", keys=tmp_path / "keys", clock=RealClock())
    book = load(TextFiles(FILES))
    app = FastAPI()
    app.include_router(router(OnCall(lambda: book, journal, now=time.time)))

    @app.exception_handler(OpsbookError)
    async def refused(_: Request, error: OpsbookError) -> JSONResponse:
        return JSONResponse({"error": error.message}, status_code=error.http_status)

    app.dependency_overrides[signed_in] = lambda: local_operator("ana")
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://opsbook") as asking:
        yield asking
    journal.close()


@pytest.mark.anyio
async def test_an_override_by_http(client: httpx.AsyncClient) -> None:
    """Made, listed, seen in the summary, taken back; what is wrong is refused with its status."""
    now, room = time.time(), "/api/response/oncall"
    body = {"schedule": "on-call", "person": "ben", "start": now - 5, "end": now + 3600, "reason": "ill"}
    made = (await client.post(f"{room}/overrides", json=body)).json()["override"]
    assert made["person"] == "ben"
    (found,) = (await client.get(room)).json()["schedules"]
    assert found["now"]["people"] == ["ben"]
    assert (await client.get(f"{room}/overrides")).json()["overrides"] == [made]
    assert (await client.delete(f"{room}/overrides/{made['id']}")).status_code == 200
    assert (await client.delete(f"{room}/overrides/{made['id']}")).status_code == 404
    assert (await client.post(f"{room}/overrides", json={**body, "person": "eva"})).status_code == 404
    assert (await client.get(f"{room}/schedules/night?since=1&until=2")).status_code == 404


@pytest.mark.anyio
async def test_the_feed_by_http(client: httpx.AsyncClient) -> None:
    """As calendars want it."""
    answer = await client.get("/api/response/oncall/calendar.ics?person=ana")
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    assert answer.text.startswith("BEGIN:VCALENDAR\r\n")
    assert "ana · on-call" in answer.text
