"""Signing in, and doing things: who may, what is asked before, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
from stand import Scene

from opsbook.deployment.model import Outcome, Phase

if TYPE_CHECKING:
    from stand import Stand

Browse = Callable[..., httpx.Client]


def csrf(client: httpx.Client, path: str) -> dict[str, str]:
    """The hidden fields of a page's form."""
    page = client.get(path).text.partition("<main>")[2]
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))


@pytest.fixture
def gated(stand: Stand) -> Iterator[Scene]:
    """A deployment of Ana's that waits at the gates."""
    number = (
        200
        + len(stand.site.records.unfinished())
        + len(stand.journal.events(kinds=("deployment.requested",)))
    )
    scene = Scene(stand, f"d-{number}")
    scene.to(Phase.PENDING, "prepared")
    scene.to(Phase.GATED, "prepared; what the gates say comes next")
    yield scene
    scene.take_back("the test is over", Outcome.ABORTED)


def test_nobody_is_shown_anything_before_signing_in(stand: Stand, browse: Browse) -> None:
    """They come to the page that signs in, and from there to where they wanted to go."""
    client = browse(None)
    answer = client.get("/deployments/d-80")
    assert 303 == answer.status_code
    assert "/sign-in?next=/deployments/d-80" == answer.headers["location"]
    page = client.get(answer.headers["location"]).text
    assert 'name="next" value="/deployments/d-80"' in page
    given = {"given": stand.token("ana"), "next": "/deployments/d-80"}
    signed = client.post("/sign-in", data=given)
    assert (303, "/deployments/d-80") == (signed.status_code, signed.headers["location"])
    cookie = signed.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert 200 == client.get("/deployments/d-80").status_code


@pytest.mark.parametrize(
    "next_", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_never_leads_away(next_: str, stand: Stand, browse: Browse) -> None:
    """Where one wanted to go is a path of this site, or the first page."""
    signed = browse(None).post("/sign-in", data={"given": stand.token("ana"), "next": next_})
    assert "/" == signed.headers["location"]


def test_a_link_signs_in_once_and_only_when_asked_to(stand: Stand, browse: Browse) -> None:
    """Looking at it (as mail scanners do) uses nothing up."""
    identity, _ = stand.security.by_cookie(stand.cookie("ana"))
    _, secret = stand.security.sessions.offer_link(identity, "ben")
    client = browse(None)
    assert 200 == client.get(f"/sign-in/{secret}").status_code
    assert 200 == client.get(f"/sign-in/{secret}").status_code
    assert 303 == client.post("/sign-in", data={"given": secret}).status_code
    assert "ben" in client.get("/").text
    again = browse(None).post("/sign-in", data={"given": secret})
    assert 401 == again.status_code
    assert "has been used" in again.text


def test_a_link_from_elsewhere_is_followed_once_more_from_here(stand: Stand, browse: Browse) -> None:
    """A strict cookie does not come along from a chat; our own page asks again, with it."""
    del stand
    answer = browse(None).get("/sign-in?next=/deployments/d-80", headers={"sec-fetch-site": "cross-site"})
    assert 'content="0; url=/deployments/d-80"' in answer.text


def test_signing_out_ends_the_session(stand: Stand, browse: Browse) -> None:
    """The cookie is worth nothing from then on, also where it was kept."""
    cookie = stand.cookie("ana")
    client = browse(None)
    client.cookies.set("opsbook_session", cookie)
    token = re.findall(r'name="csrf_token" value="(\w+)"', client.get("/").text)[0]
    assert 303 == client.post("/sign-out", data={"csrf_token": token}).status_code
    client.cookies.set("opsbook_session", cookie)
    assert 303 == client.get("/").status_code


def test_a_second_person_approves(stand: Stand, browse: Browse, gated: Scene) -> None:
    """What is asked says what it is about; what comes of it is in the journal under their name."""
    client = browse("ben")
    path = f"/deployments/{gated.name}/approve"
    page = client.get(path).text
    assert "api 2.1 → production" in page
    assert f"opsbook approve {gated.name}" in page
    answer = client.post(path, data={**csrf(client, path), "comment": "looks good"})
    assert (303, f"/deployments/{gated.name}") == (answer.status_code, answer.headers["location"])
    approved = stand.journal.events(kinds=("deployment.approved",), newest=True)[0]
    assert ("ben", gated.name, "looks good") == (
        approved.actor,
        approved.data["id"],
        approved.data["comment"],
    )
    assert "approved by ben" in client.get(f"/deployments/{gated.name}").text


def test_nobody_approves_their_own(stand: Stand, browse: Browse, gated: Scene) -> None:
    """The button says why; a form sent all the same is refused."""
    roles = stand.root / "ops" / "security" / "roles.yaml"
    kept = roles.read_text()
    roles.write_text(kept.replace("ana: [operator]", "ana: [operator, approver]"))
    stand.handbook.refresh()
    try:
        client = browse("ana")
        path = f"/deployments/{gated.name}"
        page = client.get(path).text
        assert "somebody else must approve" in page
        refused = client.post(f"{path}/approve", data=csrf(client, f"{path}/approve"))
        assert 403 == refused.status_code
        assert "Not done:" in refused.text
    finally:
        roles.write_text(kept)
        stand.handbook.refresh()


def test_what_is_approved_is_the_plan_that_was_looked_at(stand: Stand, browse: Browse, gated: Scene) -> None:
    """A plan that changed between looking and pressing is refused."""
    client = browse("ben")
    path = f"/deployments/{gated.name}/approve"
    fields = csrf(client, path)
    assert fields["plan"]
    gated.to(Phase.GATED, "changed", replicas=5)
    refused = client.post(path, data=fields)
    assert 409 == refused.status_code
    assert "the plan changed" in refused.text
    assert [] == stand.room.gatekeeper.approvals.of(gated.name)


def test_a_checklist_is_signed(stand: Stand, browse: Browse, gated: Scene) -> None:
    """By somebody other than who asked."""
    client = browse("ben")
    page = client.get(f"/deployments/{gated.name}").text
    path = re.findall(rf'href="(/deployments/{gated.name}/sign/[^"]+)"', page)[0]
    assert "Customer service knows" in client.get(path).text
    answer = client.post(path, data={**csrf(client, path), "note": "told them"})
    assert 303 == answer.status_code
    assert "signed by ben" in re.sub(r"\s+", " ", client.get(f"/deployments/{gated.name}").text)
    own = browse("ana").get(f"/deployments/{gated.name}").text
    assert "you asked for it yourself" in own
    del stand


def test_abort_is_asked_for_and_recorded(stand: Stand, browse: Browse, gated: Scene) -> None:
    """With the reason, and the name of who pressed."""
    client = browse("ana")
    path = f"/deployments/{gated.name}/abort"
    assert "all requests go back to 2.0" in client.get(path).text
    assert 303 == client.post(path, data={**csrf(client, path), "reason": "wrong tax"}).status_code
    abort = stand.site.records.deployment(gated.name).abort
    assert abort is not None
    assert ("ana", "wrong tax") == (abort.by, abort.reason)


def test_a_viewer_sees_the_buttons_and_why_they_do_nothing(
    stand: Stand, browse: Browse, gated: Scene
) -> None:
    """Forms sent all the same are refused, and nothing is done."""
    client = browse("dora")
    page = client.get(f"/deployments/{gated.name}").text
    assert re.search(r'<button type="button" id="button-abort"[^>]* disabled', page)
    assert "dora may not" in page
    for verb in ("abort", "approve", "go-on"):
        refused = client.post(
            f"/deployments/{gated.name}/{verb}", data=csrf(client, f"/deployments/{gated.name}/{verb}")
        )
        assert 403 == refused.status_code, verb
    for verb in ("deploy", "promote", "rollback", "scale", "restart", "release-hold"):
        path = f"/environments/production/search/{verb}"
        refused = client.post(path, data={**csrf(client, path), "replicas": "3", "release": "search-22"})
        assert 403 == refused.status_code, verb
    assert stand.site.records.deployment(gated.name).abort is None


def test_forms_of_other_sites_and_of_other_sessions_do_nothing(
    stand: Stand, browse: Browse, gated: Scene
) -> None:
    """Without our token, with another session's, from another origin, and by looking."""
    client, path = browse("ana"), f"/deployments/{gated.name}/abort"
    good = csrf(client, path)
    other = csrf(browse("ana"), path)
    assert good["csrf_token"] != other["csrf_token"]
    assert 403 == client.post(path, data={}).status_code
    assert 403 == client.post(path, data=other).status_code
    assert 403 == client.post(path, data=good, headers={"origin": "https://evil.example"}).status_code
    assert 403 == client.post(path, data=good, headers={"origin": "null"}).status_code
    assert 200 == client.get(f"{path}?reason=x").status_code
    assert stand.site.records.deployment(gated.name).abort is None


def test_deploying_and_going_back_begin_deployments(stand: Stand, browse: Browse) -> None:
    """The page that follows is the deployment's; a stale plan, a bad number and an unknown version are refused."""
    client, path = browse("ana"), "/environments/staging/web"
    fields = csrf(client, f"{path}/deploy")
    assert fields["check_index"].isdigit()
    assert 409 == client.post(f"{path}/deploy", data={**fields, "check_index": "1"}).status_code
    refused = client.post(f"{path}/scale", data={**csrf(client, f"{path}/scale"), "replicas": "many"})
    assert 422 == refused.status_code
    assert "expected a number of instances" in refused.text
    answer = client.post(f"{path}/deploy", data={**fields, "version": "2.4", "strategy": ""})
    assert 303 == answer.status_code, answer.text
    assert re.fullmatch(r"/deployments/d-\d+", answer.headers["location"])
    assert 200 == client.get(answer.headers["location"]).status_code
    begun = stand.journal.events(kinds=("deployment.requested",), newest=True)[0]
    assert ("ana", "2.4", "staging/web") == (begun.actor, begun.data["version"], begun.subject)
    again = client.post(
        "/environments/staging/api/rollback", data=csrf(client, "/environments/staging/api/rollback")
    )
    assert again.status_code in (303, 404)


def test_a_hold_is_released(stand: Stand, browse: Browse) -> None:
    """And is gone from the service's page."""
    client = browse("ana")
    path = "/environments/production/search/release-hold"
    fields = csrf(client, f"{path}?release=search-22")
    assert "search-22" == fields["release"]
    assert 303 == client.post(path, data=fields).status_code
    assert () == stand.site.records.placement("production", "search").holds


def test_a_sheet_is_the_same_form_made_for_this_session(stand: Stand, browse: Browse, gated: Scene) -> None:
    """Not kept for others: it carries the token of who asked."""
    del stand
    one, two = browse("ana"), browse("ana")
    path = f"/deployments/{gated.name}/abort?region=sheet"
    tokens = [re.findall(r'csrf_token" value="(\w+)"', client.get(path).text) for client in (one, two)]
    assert 1 == len(tokens[0])
    assert tokens[0] != tokens[1]
