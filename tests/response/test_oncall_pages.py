"""The page of who is on call, and the page behind a link, through the real doors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
from duty_stand import Duty

Browse = Callable[[str | None], httpx.Client]
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(scope="module")
def duty() -> Iterator[Duty]:
    made = Duty()
    try:
        made.address = made.serve()
        yield made
    finally:
        made.end()


@pytest.fixture
def browse(duty: Duty) -> Iterator[Browse]:
    opened: list[httpx.Client] = []

    def browsing(person: str | None) -> httpx.Client:
        cookies = {} if person is None else {"opsbook_session": duty.cookie(person)}
        headers = {"accept": "text/html", "origin": duty.address}
        opened.append(httpx.Client(base_url=duty.address, cookies=cookies, headers=headers, timeout=20))
        return opened[-1]

    yield browsing
    for client in opened:
        client.close()


def local(hours: float) -> str:
    return (datetime.now(BERLIN) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M")


def csrf(client: httpx.Client, path: str = "/oncall") -> dict[str, str]:
    return {"csrf_token": re.findall(r'name="csrf_token" value="([^"]*)"', client.get(path).text)[-1]}


def test_now_next_and_two_weeks(browse: Browse) -> None:
    """Every schedule with who it is, who comes next, its gaps, and a row for each layer."""
    page = browse("ana").get("/oncall").text
    for part in ("The shop · Europe/Berlin", "weekly", "office-hours", "nobody is on call from", "As a list"):
        assert part in page
    assert "calendar.ics?person=ana" in page
    live = browse("ana").get("/oncall?region=live").text
    assert "<form" not in live
    assert "<svg" in live
    assert "style=" not in page.partition("<body")[2]


def test_somebody_stands_in(duty: Duty, browse: Browse) -> None:
    """By the form, in the schedule's time; taken back after being asked once more."""
    client = browse("ana")
    given = {"schedule": "on-call", "person": "dora", "instead_of": "", "reason": "ill <b>now</b>"}
    given |= {"start": local(-1), "end": local(3), **csrf(client)}
    assert 303 == client.post("/oncall/override", data=given).status_code
    page = client.get("/oncall").text
    assert "ill &lt;b&gt;now&lt;/b&gt;" in page
    assert ("dora",) == duty.oncall.people("on-call")
    (made,) = duty.oncall.overrides()
    path = f"/oncall/overrides/{made.id}/remove"
    assert made.end - made.start == 4 * 3600
    assert "dora stands in on on-call" in client.get(path).text
    assert 303 == client.post(path, data=csrf(client, path)).status_code
    assert () == duty.oncall.overrides()
    assert 404 == client.get(path).status_code


def test_what_is_refused_keeps_what_was_filled_in(duty: Duty, browse: Browse) -> None:
    """With its reason; nothing is changed."""
    client = browse("ana")
    given = {"schedule": "on-call", "person": "dora", "reason": "because", **csrf(client)}
    answer = client.post("/oncall/override", data=given | {"start": local(3), "end": local(1)})
    assert 422 == answer.status_code
    assert "must end after it begins" in answer.text
    assert 'value="because"' in answer.text
    for wrong in (
        {"schedule": "night"},
        {"person": "nobody"},
        {"start": "soon"},
        {"start": "0001-01-01T00:00"},
    ):
        answer = client.post("/oncall/override", data=given | {"start": local(0), "end": local(1)} | wrong)
        assert answer.status_code in {404, 422}
    moments = {"first": local(0), "second": local(0)}
    assert 409 == client.post("/oncall/swap", data=given | moments).status_code
    assert () == duty.oncall.overrides()


def test_who_may_change_nothing(duty: Duty, browse: Browse) -> None:
    """Sees why instead of the forms, and is refused; who is not signed in is asked to."""
    client = browse("dora")
    page = client.get("/oncall").text
    assert "may not change who is on call" in page
    assert 'action="/oncall/override"' not in page
    given = {"schedule": "on-call", "person": "ben", "start": local(0), "end": local(1)}
    assert 403 == client.post("/oncall/override", data=given | csrf(client)).status_code
    assert 403 == client.post("/oncall/override", data=given).status_code
    assert "/sign-in" in browse(None).get("/oncall").headers["location"]
    assert () == duty.oncall.overrides()


def test_the_link_of_a_page_needs_no_signing_in(duty: Duty, browse: Browse) -> None:
    """Opened as often as one likes; its button acknowledges; another site's form does nothing."""
    link = duty.opens()
    client = browse(None)
    page = client.get(link)
    assert 200 == page.status_code
    assert len(page.content) < 50 * 1024
    for part in (
        "Restart it",
        "opsbook restart web --in production",
        "0 of 2 instances answer",
        "2m 10s before",
    ):
        assert part in page.text
    assert "paging" == duty.escalations.get("inc-7").state
    foreign = httpx.post(f"{duty.address}{link}/acknowledge", headers={"origin": "https://evil.example"})
    assert 403 == foreign.status_code
    assert "paging" == duty.escalations.get("inc-7").state
    assert 303 == client.post(f"{link}/acknowledge").status_code
    assert duty.pages[-1].person
    assert f"{duty.pages[-1].person} (link)" == duty.escalations.get("inc-7").acknowledged_by
    signed = browse("ben")
    assert 403 == signed.post(f"{link}/acknowledge").status_code
    assert 303 == signed.post(f"{link}/acknowledge", data=csrf(signed, link)).status_code
    for path in ("/answer/../api/status", "/answer/%2e%2e/api/status", "/answer/"):
        assert client.get(path).status_code in {303, 401, 403, 404, 307}
