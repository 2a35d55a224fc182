"""An incident in a browser: at night on a phone, live, without JavaScript; its post-mortem."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "response"))

from monitored import Monitored
from respond_stand import Heard, Responding
from stand import SERVICES

from opsbook.deployment.model import Outcome
from opsbook.errors import NotFound
from opsbook.response.pages.source import Source
from opsbook.server.console.console import Parts

if TYPE_CHECKING:
    from playwright.sync_api import Page

Opened = Callable[..., "Page"]
PATIENCE = 15_000  # milliseconds

pytestmark = pytest.mark.browser


class Paging:
    """The team lead comes next, in some minutes."""

    def get(self, incident_id: str) -> str:
        return incident_id

    def due(self, escalation: object) -> float:
        return time.time() + 190

    def next_in_words(self, escalation: object) -> str:
        return "team-lead in 3m 10s"

    def acknowledge(self, incident_id: str, actor: str) -> None:
        raise NotFound(f"nobody was paged about {incident_id}")


class Night(Monitored, Responding):
    """A shop whose checkout fails, and people who are woken for it."""

    def _build(self) -> None:
        Monitored._build(self)
        self.console.live.close()
        Responding._build(self)

    def parts(self) -> Parts:
        return Parts(
            source=self.source,
            journal=self.journal,
            handbook=self.handbook,
            security=self.security,
            stopping=self.stopping,
            watched=self.watched,
        )

    def respond(self) -> Source:
        return Source(
            book=self.handbook.current,
            now=self.clock.now,
            runbooks=self.runbooks,
            incidents=self.incidents,
            escalations=Paging(),  # type: ignore[arg-type]  # as much of it as pages ask for
            charts=True,
        )

    def fires(self) -> dict[str, Any]:
        """The alert of the checkout."""
        return next(one for one in self.monitoring.view.alerts() if one["name"] == "CheckoutErrors")


@pytest.fixture(scope="module")
def house() -> Iterator[Night]:
    made = Night()
    try:
        for service in SERVICES:
            made.place("staging", service, replicas=1)
            made.place("production", service)
        made.finished("d-90", "checkout", "2.1", Outcome.SUCCEEDED, hours=0.17)
        made.address = made.serve()
        made.watch()
        yield made
    finally:
        made.end()


@pytest.fixture
def stand(house: Night) -> Night:
    """What `opened` opens pages of."""
    return house


@pytest.fixture
def incident(house: Night) -> Iterator[str]:
    """By the alert that fires; over after the test."""
    alert = house.fires()
    told = {**alert["annotations"], "runbook": "disk-full"}
    name = house.open_by(alert["labels"], told, str(alert["fingerprint"]))
    yield name
    if house.incidents.get(name).open:
        house.incidents.resolve(name, "ana")
    for one in house.incidents.every():
        for known in one.firing:
            heard = Heard(known.fingerprint, known.labels, {}, known.started_at, house.clock.now())
            house.incidents.receive([], [heard])


def waits_for(page: Page, selector: str, text: str) -> None:
    page.locator(selector, has_text=text).first.wait_for(timeout=PATIENCE)


def test_at_night_on_a_phone(
    stand: Night, opened: Opened, incident: str, picture: Callable[..., Any]
) -> None:
    """All that one has to know is on the first screen, and Acknowledge is under the thumb."""
    page = opened("ana", f"/incidents/{incident}", size="phone", scheme="dark")
    page.locator("#connection[data-state=live]").wait_for(timeout=PATIENCE)
    page.locator("#panels canvas").first.wait_for(timeout=PATIENCE)
    picture(page, "incident-at-night")
    for said in ("SEV2", "checkout", "production", "team-lead in 3m", "step 1"):
        box = page.locator("main", has_text=said)
        assert box.count(), said
    glance = page.locator(".glance").bounding_box()
    assert glance is not None
    assert glance["y"] + glance["height"] < 844 - 64
    thumb = page.locator("#button-acknowledge").bounding_box()
    assert thumb is not None
    assert (thumb["height"] >= 48, 844 - 64 <= thumb["y"] < 844) == (True, True)
    page.click("#button-acknowledge")
    page.locator("#sheet button", has_text="I have it").click()
    page.locator("#button-mitigate").wait_for(timeout=PATIENCE)
    assert "ana" == stand.incidents.get(incident).acknowledged_by


def test_two_people_in_one_room(stand: Night, opened: Opened, incident: str) -> None:
    """What one writes the other reads without a reload, and what the other types meanwhile stays."""
    ana, ben = (opened(person, f"/incidents/{incident}") for person in ("ana", "ben"))
    ben.fill("#note-text", "I am still typing")
    ben.locator("#connection[data-state=live]").wait_for(timeout=PATIENCE)
    ana.fill("#note-text", "the tax table is empty")
    ana.click("text=Add the note")
    waits_for(ana, ".timeline", "the tax table is empty")
    waits_for(ben, ".timeline", "the tax table is empty")
    assert "I am still typing" == ben.input_value("#note-text")


def test_the_first_screen_has_what_is_open(
    stand: Night, opened: Opened, incident: str, picture: Callable[..., Any]
) -> None:
    """The index, from which one comes into the room."""
    page = opened("dora", "/incidents", size="phone")
    waits_for(page, f"#open-{incident}", "checkout")
    picture(page, "incidents-phone")
    page.click(f"#open-{incident} a.cover")
    waits_for(page, "h1", "checkout")
    assert page.locator("#button-acknowledge").is_disabled()


def test_all_of_it_works_without_javascript(stand: Night, opened: Opened, incident: str) -> None:
    """Acknowledged, noted, resolved by plain forms."""
    page = opened("ana", f"/incidents/{incident}", size="phone", java_script_enabled=False)
    page.click("#button-acknowledge")
    page.click("button:has-text('I have it')")
    page.fill("#note-text", "by plain forms")
    page.click("text=Add the note")
    assert "by plain forms" in page.inner_text(".timeline")
    page.click("#button-resolve")
    page.click("button:has-text('It is resolved')")
    deadline = time.monotonic() + 10
    while stand.incidents.get(incident).open:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_nothing_is_wider_than_the_screen(
    size: str, scheme: str, stand: Night, opened: Opened, incident: str, picture: Callable[..., Any]
) -> None:
    """Also with a word that has no end."""
    stand.incidents.note(incident, "x" * 300, "ben")
    for path, name in (("/incidents", "incidents"), (f"/incidents/{incident}", "incident")):
        page = opened("ana", path, size=size, scheme=scheme)
        page.locator("#connection[data-state=live]").wait_for(timeout=PATIENCE)
        picture(page, f"{name}-{size}-{scheme}")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert (path, 0) == (path, wide)
