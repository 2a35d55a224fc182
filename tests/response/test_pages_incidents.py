"""The room of an incident in the console: what it shows, what is done there, and what hostile alerts cannot do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from respond_stand import Responding

from opsbook.response.incidents.model import Incident

Browse = Callable[[str | None], httpx.Client]
EVIL = '"><script>alert(1)</script>'


@pytest.fixture(scope="module")
def house() -> Iterator[Responding]:
    made = Responding()
    try:
        made.address = made.serve()
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def browse(house: Responding) -> Iterator[Browse]:
    """``browse("ana")`` is signed in as Ana, and sends what browsers send."""
    opened: list[httpx.Client] = []

    def browsing(person: str | None) -> httpx.Client:
        cookies = {} if person is None else {"opsbook_session": house.cookie(person)}
        headers = {"accept": "text/html", "origin": house.address}
        opened.append(httpx.Client(base_url=house.address, cookies=cookies, headers=headers, timeout=20))
        return opened[-1]

    yield browsing
    for client in opened:
        client.close()


@pytest.fixture
def incident(house: Responding) -> Iterator[Incident]:
    """One that Ana declared; it is over after the test."""
    made = house.incidents.declare("Checkout fails", "SEV2", "production", ("checkout",), "ana")
    yield made
    found = house.incidents.get(made.id)
    if found.open:
        house.incidents.resolve(made.id, "ana")


def hidden(client: httpx.Client, path: str) -> dict[str, str]:
    page = client.get(path).text.partition("<main>")[2]
    return dict(re.findall(r'type="hidden" name="([\w.]+)" value="([^"]*)"', page))


def send(client: httpx.Client, path: str, at: str = "", **fields: str) -> httpx.Response:
    """The form of the page `at` (or `path` itself), filled in and sent to `path`."""
    return client.post(path, data={**hidden(client, at or path), **fields})


def test_declared_in_the_console(house: Responding, browse: Browse) -> None:
    """The form leads to the room; the index has it above everything."""
    client = browse("ana")
    answer = send(
        client,
        "/incidents/declare",
        title="Orders fail",
        severity="SEV1",
        environment="production",
        services="web, api",
    )
    assert 303 == answer.status_code, answer.text
    name = answer.headers["location"].rpartition("/")[2]
    found = house.incidents.get(name)
    assert ("SEV1", "production", ("web", "api")) == (found.severity, found.environment, found.services)
    listed = client.get("/incidents").text
    assert f'id="open-{name}"' in listed
    assert "nobody has it" in listed
    house.incidents.resolve(name, "ana")
    assert f'id="incident-{name}"' in client.get("/incidents").text
    assert f'id="incident-{name}"' not in client.get("/incidents?state=open").text


def test_what_is_tapped_twice_is_done_once(house: Responding, browse: Browse, incident: Incident) -> None:
    """Without JavaScript a second tap sends the same form again: one note, one action, one incident."""
    client, room = browse("ana"), f"/incidents/{incident.id}"
    for path, at, fields in (
        (f"{room}/note", room, {"text": "the tax table is empty"}),
        (f"{room}/action", f"{room}/action", {"text": "watch the tax table"}),
        (f"{room}/update", f"{room}/update", {"text": "we look into it"}),
        (
            "/incidents/declare",
            "/incidents/declare",
            {"title": "Twice", "environment": "production", "severity": "SEV2"},
        ),
    ):
        form = {**hidden(client, at), **fields}
        assert [303, 303] == [client.post(path, data=form).status_code for _ in range(2)], path
    noted = [one.text for one in house.incidents.timeline(incident.id) if one.kind == "note"]
    assert ["the tax table is empty"] == noted
    found = house.incidents.get(incident.id)
    assert (1, 1) == (len(found.actions), len(found.updates))
    (twice,) = [one for one in house.incidents.listed("open") if one.title == "Twice"]
    house.incidents.resolve(twice.id, "ana")
    assert 303 == send(client, f"{room}/note", room, text="the tax table is empty").status_code
    noted = [one.text for one in house.incidents.timeline(incident.id) if one.kind == "note"]
    assert 2 == len(noted)  # said again later, it is said again


def test_a_note_that_is_refused_is_not_lost(house: Responding, browse: Browse, incident: Incident) -> None:
    """It was merged while somebody wrote: the room says so, and what was written is there."""
    client, room = browse("ana"), f"/incidents/{incident.id}"
    form = hidden(client, room)
    other = house.incidents.declare("Another", "SEV2", "production", ("checkout",), "ana")
    house.incidents.merge(incident.id, other.id, "ben")
    answer = client.post(f"{room}/note", data={**form, "text": "half an hour of <b>words</b>"})
    assert 409 == answer.status_code
    assert "Not noted:" in answer.text
    assert "half an hour of &lt;b&gt;words&lt;/b&gt;" in answer.text
    house.incidents.resolve(other.id, "ana")


def test_a_form_after_the_session_ended(house: Responding, browse: Browse, incident: Incident) -> None:
    """It leads to signing in, and from there to the page that the form stood on; to no other site."""
    client, room = browse("ana"), f"/incidents/{incident.id}"
    form = {**hidden(client, room), "text": "too late"}
    client.cookies.clear()
    answer = client.post(f"{room}/note", data=form, headers={"referer": f"{house.address}{room}"})
    assert (303, f"/sign-in?next={room}") == (answer.status_code, answer.headers["location"])
    for before in ("", "http://[", f"https://elsewhere.example{room}"):
        assert 401 == client.post(f"{room}/note", data=form, headers={"referer": before}).status_code
    assert 401 == client.post(f"{room}/note", data=form, headers={"accept": "application/json"}).status_code
    assert "too late" not in str(house.incidents.timeline(incident.id))


def test_a_diagnosis_is_there_to_be_read(house: Responding, browse: Browse, incident: Incident) -> None:
    """Not as Markdown source; what others wrote in it stays text, and its headings have no names."""
    said = (
        "### Diagnosis of web\n\n**it is slow**\n\n#### Suspects\n\n| a | b |\n|---|---|\n| <i>x</i> | y |\n"
    )
    for number in range(2):
        house.incidents.attach(incident.id, "Diagnosis of web", "text", f"{said}\n{number}\n")
    page = browse("ana").get(f"/incidents/{incident.id}").text
    assert page.count("<strong>it is slow</strong>") == 2
    assert "&lt;i&gt;x" in page
    assert 'id="at-' not in page
    assert "**it is slow" not in page


def test_from_acknowledged_to_resolved(house: Responding, browse: Browse, incident: Incident) -> None:
    """Each step changes what the room offers; the reason is in the timeline."""
    client, room = browse("ben"), f"/incidents/{incident.id}"
    assert 'id="button-acknowledge"' in client.get(room).text
    send(client, f"{room}/acknowledge")
    page = client.get(room).text
    assert 'id="button-acknowledge"' not in page
    assert "ben" == house.incidents.get(incident.id).acknowledged_by
    send(client, f"{room}/mitigate", reason="rolled back")
    assert "mitigated" == house.incidents.get(incident.id).state
    send(client, f"{room}/resolve", reason="fixed the tax table")
    assert not house.incidents.get(incident.id).open
    over = client.get(room).text
    assert "fixed the tax table" in over
    assert 'id="button-reopen"' in over
    assert 409 == send(client, f"{room}/acknowledge").status_code


def test_notes_roles_severity_actions_and_updates(
    house: Responding, browse: Browse, incident: Incident
) -> None:
    """What people say and promise is kept under their names."""
    client, room = browse("ana"), f"/incidents/{incident.id}"
    assert 303 == send(client, f"{room}/note", at=room, text="the tax table is empty").status_code
    send(client, f"{room}/role", role="commander", person="ben")
    send(client, f"{room}/severity", severity="SEV1")
    send(client, f"{room}/update", text="We are looking at it")
    send(client, f"{room}/action", text="Alert on tax", owner="ben", due="2026-12-01")
    found = house.incidents.get(incident.id)
    assert ("ben", "SEV1", "We are looking at it", "Alert on tax") == (
        found.commander, found.severity, found.updates[0].text, found.actions[0].text,
    )  # fmt: skip
    assert not found.updates[0].public
    page = client.get(room).text
    assert all(said in page for said in ("the tax table is empty", "due 2026-12-01", "We are looking at it"))
    send(client, f"{room}/actions/{found.actions[0].id}/done")
    assert house.incidents.get(incident.id).actions[0].done_at is not None


def test_two_become_one(house: Responding, browse: Browse, incident: Incident) -> None:
    """The other is chosen from what is open; the merged one says where it went and offers nothing."""
    other = house.incidents.declare("Payments fail", "SEV2", "staging", ("api",), "ben")
    client = browse("ana")
    assert f'<option value="{other.id}"' in client.get(f"/incidents/{incident.id}/merge").text
    answer = send(client, f"/incidents/{incident.id}/merge", into=other.id)
    assert 303 == answer.status_code, answer.text
    page = client.get(f"/incidents/{incident.id}").text
    assert f"merged into {other.id}" in page
    assert 'id="button-' not in page
    house.incidents.resolve(other.id, "ana")


def test_what_an_alert_says_stays_text(house: Responding, browse: Browse) -> None:
    """Labels, summary, and what is attached: shown, never run."""
    made = house.incidents.declare(EVIL, "SEV3", "production", ("web",), "ana")
    attached = house.incidents.attach(made.id, EVIL, "text", EVIL, "opsbook")
    picture = house.incidents.attach(made.id, "plot", "svg", "<svg onload='x'/>", "opsbook")
    del attached, picture
    client = browse("ana")
    for path in ("/incidents", f"/incidents/{made.id}", f"/incidents/{made.id}/merge"):
        page = client.get(path).text
        assert "<script>alert" not in page
    for one in house.incidents.get(made.id).attachments:
        answer = client.get(f"/incidents/{made.id}/attachments/{one.id}")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "nosniff" == answer.headers["x-content-type-options"]
    assert 404 == client.get(f"/incidents/{made.id}/attachments/none").status_code
    house.incidents.resolve(made.id, "ana")


def test_who_may_only_look(browse: Browse, incident: Incident) -> None:
    """The room is there; its buttons say why they do nothing, and forms are refused."""
    client, room = browse("dora"), f"/incidents/{incident.id}"
    page = client.get(room).text
    assert "Checkout fails" in page
    assert "dora may not run runbooks" in page
    token = hidden(client, "/runbooks/disk-full")
    for path in ("acknowledge", "resolve", "note"):
        assert 403 == client.post(f"{room}/{path}", data={**token, "text": "x"}).status_code
    refused = client.post(
        "/incidents/declare", data={**token, "title": "x", "severity": "SEV2", "environment": ""}
    )
    assert 403 == refused.status_code


def test_what_is_run_for_it_stands_in_its_room(house: Responding, browse: Browse, incident: Incident) -> None:
    """From the room to the page with the incident known, from the run back to the room."""
    client = browse("ana")
    answer = send(
        client, "/runbooks/contacts", at=f"/runbooks/disk-full?incident={incident.id}"
    )  # a page to read: refused in words
    assert "page to read" in answer.text
    form = hidden(client, f"/runbooks/disk-full?incident={incident.id}")
    assert incident.id == form["incident"]
    started = client.post("/runbooks/disk-full", data={**form, "do": "run"}).headers["location"]
    name = started.rpartition("/")[2]
    house.paused(name)
    assert f'href="/incidents/{incident.id}"' in client.get(started).text
    house.incidents.add_run(incident.id, name)
    assert f'id="run-{name}"' in client.get(f"/incidents/{incident.id}").text
    house.runbooks.cancel(name, "ana")
    house.ended(name)


def test_the_room_is_told_of_changes(house: Responding, browse: Browse, incident: Incident) -> None:
    """Its region has an ETag, and is another one after a note."""
    client, region = browse("ana"), f"/incidents/{incident.id}?region=live"
    first = client.get(region)
    assert 304 == client.get(region, headers={"if-none-match": first.headers["etag"]}).status_code
    house.incidents.note(incident.id, "something new", "ben")
    deadline = time.monotonic() + 10
    while "something new" not in client.get(region).text:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "csrf_token" not in client.get(region).text


def test_it_fits_on_a_phone_at_night(house: Responding, browse: Browse, incident: Incident) -> None:
    """Under 50 KB before it is packed, also after a long night; the rest of it is a click away."""
    for number in range(80):
        house.incidents.note(incident.id, f"{number}: {'what was seen and tried ' * 8}", "ben")
    for number in range(6):
        house.incidents.attach(incident.id, f"diagnosis {number}", "text", f"{number} line\n" * 4000)
    client, room = browse("ana"), f"/incidents/{incident.id}"
    page = client.get(room)
    assert len(page.content) < 50_000
    assert ("<div>79: what" in page.text, "<div>0: what" in page.text) == (True, False)
    assert "older lines" in page.text
    assert "<div>0: what" in client.get(f"{room}?whole=1").text


@pytest.mark.parametrize(
    "path", ["/incidents/inc-999", "/incidents/inc-999/resolve", "/incidents/x/postmortem"]
)
def test_what_is_not_there_is_a_page_that_says_so(path: str, browse: Browse) -> None:
    """With the status for it."""
    assert 404 == browse("ana").get(path).status_code


def test_the_first_screen_says_what_is_open(house: Responding, browse: Browse, incident: Incident) -> None:
    """The headline is the worst of it; who is on call stands beside; over, it is gone."""
    client = browse("ana")
    page = client.get("/").text
    headline = page.partition('role="status"')[2].partition("</div>")[0]
    assert "SEV2: Checkout fails." in headline
    assert f'id="open-{incident.id}"' in page
    assert 'id="duty-title"' in page
    house.incidents.resolve(incident.id, "ana")
    assert f'id="open-{incident.id}"' not in client.get("/").text
