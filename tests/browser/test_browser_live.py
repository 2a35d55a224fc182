"""Live without jumping, honest without a connection, readable on every screen."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from stand import Scene

from opsbook.deployment.model import Phase

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from stand import Stand

Opened = Callable[..., "Page"]
PATIENCE = 15_000  # milliseconds

pytestmark = pytest.mark.browser


def live(page: Page) -> None:
    page.wait_for_selector('#connection[data-state="live"]', timeout=PATIENCE)


def test_the_order_does_not_change_under_the_pointer(stand: Stand, opened: Opened) -> None:
    """A service that falls ill moves to the top, but not while one points at the table: then one is asked."""
    page = opened("ana", "/")
    live(page)
    page.wait_for_timeout(1200)  # the server has looked once
    row = "#row-production-web"
    page.hover(f"{row} th")
    before = page.locator(row).bounding_box()
    for number in range(3):
        stand.world.healthy[f"web-production-20{number}"] = False
    page.wait_for_selector("#pill:not([hidden])", timeout=PATIENCE)
    assert before == page.locator(row).bounding_box()
    assert "well" in page.inner_text(row)
    page.click("#pill button")
    page.wait_for_selector(f"{row} .critical", timeout=PATIENCE)
    assert "row-production-web" == page.locator("[data-ranked] tbody tr").first.get_attribute("id")
    assert "production/web is down" in page.inner_text(".headline")


def test_a_list_says_that_there_is_news_and_waits(stand: Stand, opened: Opened) -> None:
    """The history is not pushed down while it is read."""
    page = opened("ana", "/deployments")
    live(page)
    assert 2 == page.locator(".history tbody tr").count()
    Scene(stand)
    page.wait_for_selector("#pill:not([hidden])", timeout=PATIENCE)
    assert 2 == page.locator(".history tbody tr").count()
    page.click("#pill button")
    page.wait_for_selector("#deployment-d-91", timeout=PATIENCE)


def test_what_is_open_or_focused_stays_so(stand: Stand, opened: Opened) -> None:
    """Through an update: the focus, what was unfolded, and the chart itself."""
    scene = Scene(stand)
    scene.to(Phase.PENDING, "prepared")
    scene.start()
    scene.looked(20)
    page = opened("ana", "/deployments/d-91")
    live(page)
    page.wait_for_selector("#chart canvas", timeout=PATIENCE)
    page.click("summary:has-text('The last points')")
    page.focus("#button-abort")
    page.evaluate("document.querySelector('#chart canvas').dataset.mine = 'yes'")
    scene.to(Phase.ANALYSING, "still watching")
    page.wait_for_selector("text=still watching", timeout=PATIENCE)
    assert "button-abort" == page.evaluate("document.activeElement.id")
    assert page.locator(".points").is_visible()
    assert 1 == page.locator("#chart canvas[data-mine=yes]").count()


def test_a_lost_connection_shows_and_comes_back(stand: Stand, opened: Opened) -> None:
    """Never a page that looks well and is old; what happened meanwhile is there when it is back."""
    scene = Scene(stand)
    scene.to(Phase.PENDING, "prepared")
    page = opened("ana", "/deployments/d-91")
    live(page)
    assert page.locator("#lost").is_hidden()
    page.context.set_offline(True)
    stand.hang_up()
    page.wait_for_selector("#lost:not([hidden])", timeout=PATIENCE)
    assert "No connection to opsbook" in page.inner_text("#lost")
    assert "not live" in page.inner_text("#connection")
    opacity = float(page.evaluate("getComputedStyle(document.getElementById('live')).opacity"))
    assert opacity < 1
    page.context.set_offline(False)
    scene.to(Phase.STARTING, "meanwhile it started")
    stand.serve_again()
    page.wait_for_selector("text=meanwhile it started", timeout=40_000)
    live(page)
    assert page.locator("#lost").is_hidden()


def test_whoever_is_signed_out_elsewhere_is_asked_to_sign_in(stand: Stand, opened: Opened) -> None:
    """The page does not go on showing what it may not."""
    page = opened("ana", "/")
    live(page)
    for session in stand.security.sessions.listed():
        stand.security.sessions.close(session.id, "root")
    stand.world.healthy["web-production-200"] = False
    page.wait_for_url(re.compile("/sign-in"), timeout=PATIENCE)


def test_a_form_that_is_being_filled_in_is_left_alone(stand: Stand, opened: Opened) -> None:
    """A sheet stands over the page; the page under it goes on living."""
    scene = Scene(stand)
    scene.to(Phase.PENDING, "prepared")
    page = opened("ana", "/deployments/d-91")
    live(page)
    page.click("#button-abort")
    page.wait_for_selector("#sheet[open]", timeout=PATIENCE)
    page.fill("#sheet input[name=reason]", "half a sen")
    scene.to(Phase.STARTING, "it goes on")
    page.wait_for_selector("text=it goes on", state="attached", timeout=PATIENCE)
    assert "half a sen" == page.input_value("#sheet input[name=reason]")


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_every_screen(
    size: str, scheme: str, stand: Stand, opened: Opened, picture: Callable[..., Any]
) -> None:
    """No page is wider than the screen; on a phone what one presses is large and text is 16 px; pictures are kept."""
    stand.hold("production", "search", "2.2", "p95 412 ms > 180 ms of stable", "d-80")
    stand.warm("production", "web", "1.9")
    stand.world.healthy["search-production-200"] = False
    waiting = Scene(stand, "d-91", "checkout", by="ben")
    waiting.to(Phase.PENDING, "prepared")
    waiting.to(Phase.GATED, "prepared")
    scene = Scene(stand, "d-92", bad=0.05)
    scene.to(Phase.PENDING, "prepared")
    scene.start()
    scene.looked(40)
    names = {
        "now": "/", "canary": "/deployments/d-92", "gates": "/deployments/d-91",
        "service": "/environments/production/search",
        "environment": "/environments/production", "deployments": "/deployments", "journal": "/journal",
        "handbook": "/handbook", "differences": "/environments/differences?from=staging&to=production",
        "confirm": "/deployments/d-92/abort",
    }  # fmt: skip
    page = opened("ana", "/", size=size, scheme=scheme)
    for name, path in names.items():
        page.goto(stand.address + path)
        page.wait_for_timeout(300)
        if name == "canary":
            page.wait_for_selector("#chart canvas", timeout=PATIENCE)
            page.wait_for_timeout(300)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= page.viewport_size["width"], name
        if size == "phone":
            assert "16px" == page.evaluate("getComputedStyle(document.body).fontSize")
            heights = page.evaluate(
                "[...document.querySelectorAll('main button, main .button')].filter(e => !e.matches('.quiet'))"
                ".map(e => e.getBoundingClientRect().height)"
            )
            assert all(height >= 48 for height in heights), name
        picture(page, f"{name}-{size}-{scheme}")
