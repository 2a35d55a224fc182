"""The routes of escalation, and the page behind a link: looking changes nothing, its buttons do."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from escalation_house import START, House
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from opsbook.book.roles import Grant
from opsbook.errors import OpsbookError
from opsbook.response.escalation import answering
from opsbook.response.escalation.api import router
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.room import local_operator

pytestmark = pytest.mark.anyio


class Site:
    def __init__(self, house: House) -> None:
        self.house = house
        self.who = local_operator("ana")
        app = FastAPI()
        book, now = (lambda: house.book), house.clock.now
        app.include_router(router(house.room, book, house.oncall.people))
        app.include_router(
            answering.router(house.room, book, now=now, spark=lambda *_: (0.0, None, 2.0, 4.0, 1.0))
        )

        @app.exception_handler(OpsbookError)
        async def refused(_: Request, error: OpsbookError) -> JSONResponse:
            return JSONResponse({"error": error.message}, status_code=error.http_status)

        app.dependency_overrides[signed_in] = lambda: self.who
        self.web = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="https://ops.example.com"
        )

    @property
    def link(self) -> str:
        return self.house.sent[-1].link


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    house = House(tmp_path)
    house.room.begin(
        house.open(services=("web",), symptom="5 % of <b>requests</b> fail", change="2.2 went live")
    )
    house.at(0)
    yield Site(house)
    house.close()


async def test_answering_by_http(site: Site) -> None:
    """Listed, shown, acknowledged without a name as long as there is one, hurried."""
    room = "/api/response/escalations"
    (found,) = (await site.web.get(room)).json()["escalations"]
    assert ("inc-1", "paging", "team-lead in 5m 0s") == (
        found["incident"], found["state"], found["next"]["words"],
    )  # fmt: skip
    assert ["ana-chat"] == [page["channel"] for page in found["pages"]]
    answer = (await site.web.post(f"{room}/acknowledge", json={})).json()
    assert ("acknowledged", "ana", START + 1800) == (
        answer["state"], answer["acknowledged_by"], answer["again_at"],
    )  # fmt: skip
    answer = (await site.web.post(f"{room}/next", json={"incident": "inc-1"})).json()
    assert ["ana-chat", "lead-chat"] == [page["channel"] for page in answer["pages"]]
    assert 404 == (await site.web.get(f"{room}/inc-9")).status_code
    site.house.room.begin(site.house.open("inc-2"))
    assert 422 == (await site.web.post(f"{room}/acknowledge", json={})).status_code
    (chain,) = (await site.web.get(f"{room}/chains")).json()["chains"]
    assert [["ana"], ["team-lead"]] == [[one["person"] for one in step["now"]] for step in chain["steps"]]


async def test_who_may_not(site: Site) -> None:
    """A viewer sees it and may not answer; who may look elsewhere only sees nothing."""
    room = "/api/response/escalations"
    viewer = (Grant(role="viewer"),)
    site.who = Identity(name="eva", grants=viewer, authenticated=True, via="token")
    assert 1 == len((await site.web.get(room)).json()["escalations"])
    assert 403 == (await site.web.post(f"{room}/acknowledge", json={"incident": "inc-1"})).status_code
    elsewhere = (Grant(role="responder", environments=("staging",)),)
    site.who = Identity(name="eva", grants=elsewhere, authenticated=True, via="token")
    assert [] == (await site.web.get(room)).json()["escalations"]
    assert 403 == (await site.web.get(f"{room}/inc-1")).status_code
    assert 404 == (await site.web.post(f"{room}/acknowledge", json={})).status_code
    assert "paging" == site.house.room.get("inc-1").state


async def test_looking_changes_nothing(site: Site) -> None:
    """Mail scanners open links too. It is small, has no scripts, and says what there is to know."""
    for method in ("GET", "GET"):
        answer = await site.web.request(method, site.link)
        assert 200 == answer.status_code
    assert "paging" == site.house.room.get("inc-1").state
    assert len(answer.content) < 50 * 1024
    text = answer.text
    for part in ("SEV1", "web is down", "2.2 went live", "team-lead in 5m 0s", "Acknowledge", "<path d="):
        assert part in text
    assert "5 % of &lt;b&gt;requests" in text
    assert "<script" not in text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "no-store" == answer.headers["cache-control"]


async def test_one_tap(site: Site) -> None:
    """Without being signed in: acknowledged by the person of the link, and back to the page, which says so."""
    answer = await site.web.post(f"{site.link}/acknowledge")
    assert 303 == answer.status_code
    page = await site.web.get(answer.headers["location"])
    assert "ana (link) has it" in page.text
    assert "Still on it" in page.text
    assert "ana (link)" == site.house.room.get("inc-1").acknowledged_by
    assert 303 == (await site.web.post(f"{site.link}/next")).status_code
    assert "lead-chat" == site.house.sent[-1].channel
    assert "escalation.hurried" in [event.kind for event in site.house.journal.events()]


def _seen(text: str) -> dict[str, str]:
    return {"seen": html.unescape(re.findall(r'name="seen" value="([^"]*)"', text)[0])}


async def test_a_second_tap_does_nothing_more(site: Site) -> None:
    """Who taps Page the next twice pages one step; the answer says that it was done."""
    seen = _seen((await site.web.get(site.link)).text)
    link = site.link
    assert 303 == (await site.web.post(f"{link}/next", data=seen)).status_code
    paged = len(site.house.sent)
    again = await site.web.post(f"{link}/next", data=seen)
    assert (409, paged) == (again.status_code, len(site.house.sent))
    assert "team-lead was paged meanwhile" in again.text
    assert 303 == (await site.web.post(f"{link}/acknowledge", data=seen)).status_code
    assert 303 == (await site.web.post(f"{link}/acknowledge", data=seen)).status_code


async def test_somebody_was_faster(site: Site) -> None:
    """What is pressed on a page that was loaded before takes nothing from whoever has it; again it does."""
    before = await site.web.get(site.link)
    site.house.room.acknowledge("inc-1", "ben")
    answer = await site.web.post(f"{site.link}/acknowledge", data=_seen(before.text))
    assert 409 == answer.status_code
    assert "ben has it by now" in answer.text
    assert "ben" == site.house.room.get("inc-1").acknowledged_by
    assert 303 == (await site.web.post(f"{site.link}/acknowledge", data=_seen(answer.text))).status_code
    assert "ana (link)" == site.house.room.get("inc-1").acknowledged_by


async def test_it_says_of_when_it_is(site: Site) -> None:
    """On the clocks of its reader, and how long ago that is; it is not loaded anew by itself."""
    text = (await site.web.get(site.link)).text
    assert "Since 08:59 UTC · 30s" in text.replace("30.0s", "30s")
    assert "As of 09:00 UTC" in text
    assert 'http-equiv="refresh"' not in text
    contacts = dict(site.house.book.contacts)
    contacts["ana"] = contacts["ana"].model_copy(update={"timezone": "Europe/Berlin"})
    object.__setattr__(site.house.book, "contacts", contacts)
    assert "As of 10:00 CET" in (await site.web.get(site.link)).text


async def test_links_that_do_not_count(site: Site) -> None:
    """None of ours, too old, of somebody who is gone, of an incident that is over: nothing happens, in words."""
    link = site.link
    broken = link[:-1] + ("a" if link[-1] != "a" else "b")
    for path in (broken, f"{broken}/acknowledge"):
        answer = await site.web.request("POST" if path.endswith("acknowledge") else "GET", path)
        assert 403 == answer.status_code
        assert "none of ours" in answer.text
        assert "web is down" not in answer.text
    contacts = dict(site.house.book.contacts)
    kept = site.house.book
    del contacts["ana"]
    object.__setattr__(kept, "contacts", contacts)
    assert "is not in the handbook" in (await site.web.post(f"{link}/acknowledge")).text
    object.__setattr__(kept, "contacts", {**contacts, "ana": contacts["ben"]})
    site.house.incidents.change("inc-1", state="resolved")
    answer = await site.web.post(f"{link}/acknowledge")
    assert 409 == answer.status_code
    assert "Not done:" in answer.text
    assert not re.search(r'<button id="acknowledge"', answer.text)
    site.house.clock.at += 86_401
    assert "too old" in (await site.web.get(link)).text
