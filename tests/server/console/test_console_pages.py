"""What the pages say, to whom, and what of hostile names reaches a browser."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import httpx
import pytest
from stand import Scene

from opsbook.deployment.model import Outcome, Phase
from opsbook.server.console.assets import FOLDER

if TYPE_CHECKING:
    from stand import Stand

Browse = Callable[..., httpx.Client]

PAGES = (
    "/", "/deployments", "/deployments?environment=production&outcome=rolled_back&by=an", "/deployments/d-80",
    "/deployments/d-85", "/environments/production", "/environments/production/search",
    "/environments/production/search/deploy", "/environments/production/search/promote",
    "/environments/production/search/rollback", "/environments/production/search/scale",
    "/environments/production/search/restart",
    "/environments/production/search/release-hold?release=search-22", "/environments/differences",
    "/environments/differences?from=staging&to=production", "/journal", "/journal?kind=deployment.*&since=2h",
    "/handbook", "/handbook/services/api.yaml", "/handbook/deployment/checklist.md",
)  # fmt: skip


class Well(HTMLParser):
    """Notes what a page must not have, and whether ids are unique and elements closed."""

    VOID = frozenset({"meta", "link", "input", "br", "img", "use", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.ids += [str(names["id"])] if "id" in names else []
        self.wrong += [f"{tag} {name}" for name in names if name == "style" or name.startswith("on")]
        if tag == "script" and "src" not in names:
            self.wrong.append("a script of its own")
        for name in ("src", "href", "action", "hx-get"):
            if str(names.get(name, "")).startswith(("http", "//", "javascript:", "data:")):
                self.wrong.append(f"{tag} {name}={names[name]}")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes nothing")


def well(page: str) -> Well:
    """Read it; fails when it is no good page."""
    found = Well()
    found.feed(page)
    assert [] == found.wrong
    assert [] == [tag for tag in found.open if tag not in ("html", "head", "body")]
    assert sorted(found.ids) == sorted(set(found.ids)), "an id stands twice"
    return found


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_well_formed_strict_and_small(path: str, stand: Stand, browse: Browse) -> None:
    """No inline script or style, no foreign host; with our own CSS and JavaScript under 50 KB on the line."""
    del stand
    answer = browse("ana").get(path)
    assert 200 == answer.status_code
    well(answer.text)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    own = sum(len(gzip.compress(file.read_bytes())) for file in FOLDER.iterdir() if file.is_file())
    assert int(answer.headers["content-length"]) + own < 50_000


def test_the_first_page_says_in_one_sentence_how_things_are(stand: Stand, browse: Browse) -> None:
    """And lists the worst first, in the environment that is in trouble."""
    del stand
    page = browse("ana").get("/").text
    assert "production/search is degraded: 1 of 3 instances not healthy." in page
    rows = re.findall(r'id="row-(\w+)-(\w+)"', page)
    assert ("production", "search") == rows[0]
    assert 8 == len(rows)


def test_the_service_page_puts_the_handbook_beside_what_is(stand: Stand, browse: Browse) -> None:
    """What differs is marked; the hold and its reason are there, and a way to release it."""
    placement = stand.site.records.placement("production", "web")
    stand.put(placement.but(replicas=2))
    page = browse("ana").get("/environments/production/web").text
    stand.put(placement)
    assert re.search(r'class="differs"><th scope="row">instances</th><td>3</td>', page)
    held = browse("ana").get("/environments/production/search").text
    assert "p95 412 ms &gt; 180 ms of stable" in held
    assert "/environments/production/search/release-hold?release=search-22" in held


def test_a_deployment_that_was_taken_back_says_why(stand: Stand, browse: Browse) -> None:
    """The sentence, the stage at which it failed, and the way back."""
    del stand
    page = browse("ana").get("/deployments/d-80").text
    assert "Taken back by opsbook: p95 412 ms &gt; 180 ms of stable" in page
    assert re.search(r'<li class="failed"[^>]*>.*?10 %', page, re.DOTALL)
    assert "taken back" in page


def test_filters_live_in_the_address(stand: Stand, browse: Browse) -> None:
    """Only what matches is shown, and the form shows what was asked for."""
    del stand
    client = browse("ana")
    page = client.get("/deployments?environment=staging").text
    assert 'id="deployment-d-70"' in page
    assert 'id="deployment-d-80"' not in page
    assert "<option selected>staging</option>" in page
    events = client.get("/journal?kind=deployment.rolled_back").text
    # Other tests of this stand roll back, too: all that is shown is of the kind, and something is.
    assert 0 < events.count('<tr id="event-') == events.count('<td class="kind">deployment.rolled_back</td>')
    assert "No event matches" in client.get("/journal?actor=nobody").text


@pytest.mark.parametrize("query", ["since=yesterday", "before=-1", "before=x", "since=2026-13-01"])
def test_a_filter_that_is_none_is_refused_with_a_hint(query: str, stand: Stand, browse: Browse) -> None:
    """As a page, with the status that says whose fault it is."""
    del stand
    answer = browse("ana").get(f"/journal?{query}")
    assert 422 == answer.status_code
    well(answer.text)


def test_the_journal_is_verified_on_demand(stand: Stand, browse: Browse) -> None:
    """By a form: it reads the whole chain."""
    del stand
    client = browse("ana")
    page = client.get("/journal").text
    csrf = re.findall(r'name="csrf_token" value="(\w+)"', page)[-1]
    assert 303 == client.post("/journal/verification", data={"csrf_token": csrf}).status_code
    assert "chain whole up to event" in client.get("/journal").text


def test_problems_lead_to_their_line(stand: Stand, browse: Browse) -> None:
    """And the line says what is wrong with it."""
    del stand
    client = browse("ana")
    assert 'href="/handbook/services/api.yaml#line-1"' in client.get("/handbook").text
    assert "it counts as well when its port is open" in client.get("/handbook/services/api.yaml").text
    for outside in ("../journal.sqlite", "%2e%2e/journal.sqlite", "services/none.yaml"):
        assert 404 == client.get(f"/handbook/{outside}").status_code


def test_hostile_names_are_text(stand: Stand, browse: Browse) -> None:
    """A version, a reason, a commit message, a log line and an actor that are markup stay text everywhere."""
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    scene = Scene(stand, "d-60", "checkout", version="6.6")
    scene.to(Phase.PENDING, evil)
    stand.release("production", "checkout", "6.6", message=evil, author=evil, commit=evil)
    scene.deployment = scene.deployment.but(version=evil, requested_by=evil)
    scene.take_back(evil, Outcome.ROLLED_BACK)
    client = browse("ana")
    for path in ("/", "/deployments", "/deployments/d-60", "/environments/production/checkout", "/journal",
                 "/environments/production/checkout/rollback", f"/journal?subject={evil}",
                 f"/deployments?by={evil}", "/deployments/d-60/abort"):  # fmt: skip
        answer = client.get(path)
        assert 200 == answer.status_code, path
        well(answer.text)
        assert "<img" not in answer.text
        assert "<script>" not in answer.text
    for path in (f"/environments/{evil}", f"/deployments/{evil}", f"/sign-in/{evil}", f"/{evil}"):
        well(client.get(path).text)


def test_nothing_is_shown_of_an_environment_one_may_not_look_at(stand: Stand, browse: Browse) -> None:
    """Not its services, not its deployments, not its events; its pages are not there."""
    roles = stand.root / "ops" / "security" / "roles.yaml"
    kept = roles.read_text()
    roles.write_text(kept.replace("dora: [viewer]", "dora: [{role: viewer, environments: [staging]}]"))
    stand.handbook.refresh()
    try:
        client = browse("dora")
        for path in ("/", "/deployments", "/journal", "/handbook", "/environments/differences"):
            page = client.get(path)
            assert 200 == page.status_code
            shown = (
                page.text
                if path != "/handbook"
                else page.text.partition('<h2 id="drift')[2].partition("<aside>")[0]
            )
            assert "production" not in shown, path
        for path in ("/deployments/d-80", "/environments/production", "/environments/production/web",
                     "/environments/differences?from=staging&to=production", "/deployments/d-80/analysis",
                     "/environments/production/web/deploy"):  # fmt: skip
            assert 404 == client.get(path).status_code, path
    finally:
        roles.write_text(kept)
        stand.handbook.refresh()


def test_an_empty_opsbook_says_what_fills_it() -> None:
    """The file and the command."""
    from stand import Stand

    made = Stand()
    try:
        made.address = made.serve()
        cookies = {"opsbook_session": made.cookie("ana")}
        with httpx.Client(base_url=made.address, cookies=cookies) as client:
            now, history = client.get("/").text, client.get("/deployments").text
            service = client.get("/environments/production/api").text
    finally:
        made.end()
    assert "Nothing is deployed yet." in now
    assert "opsbook deploy SERVICE --to ENV" in history
    assert "opsbook deploy api --to production" in service
