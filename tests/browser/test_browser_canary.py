"""What people do with a canary in a browser: sign in, watch, approve, abort, see why."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from stand import Scene

from opsbook.deployment.model import Outcome, Phase

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from stand import Stand

Opened = Callable[..., "Page"]
PATIENCE = 15_000  # milliseconds

pytestmark = pytest.mark.browser


def live(page: Page) -> None:
    """Wait until the page follows."""
    page.wait_for_selector('#connection[data-state="live"]', timeout=PATIENCE)


def scene_at_gates(stand: Stand, **more: Any) -> Scene:
    scene = Scene(stand, **more)
    scene.to(Phase.PENDING, "prepared")
    scene.to(Phase.GATED, "prepared; what the gates say comes next")
    return scene


def places(page: Page, *selectors: str) -> list[dict[str, float]]:
    """Where things are."""
    found = [page.locator(selector).first.bounding_box() for selector in selectors]
    assert None not in found
    return [{key: round(value, 1) for key, value in box.items()} for box in found if box]


def test_signing_in_leads_to_where_one_wanted_to_go(stand: Stand, opened: Opened) -> None:
    """With a personal token, and once with a link; neither by looking alone."""
    page = opened(None, "/deployments/d-80")
    assert page.url.endswith("/sign-in?next=/deployments/d-80")
    page.fill("input[name=given]", stand.token("ana"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/deployments/d-80", timeout=PATIENCE)
    assert "p95 412 ms > 180 ms of stable" in page.inner_text(".verdict")
    identity, _ = stand.security.by_cookie(stand.cookie("ana"))
    _, secret = stand.security.sessions.offer_link(identity, "ben")
    other = opened(None, f"/sign-in/{secret}")
    other.click("text=Sign in >> nth=-1")
    other.wait_for_url(stand.address + "/", timeout=PATIENCE)
    assert "ben" in other.inner_text(".me")


def test_a_good_canary_is_watched_approved_and_never_jumps(
    stand: Stand, opened: Opened, picture: Callable[..., Any]
) -> None:
    """Ana asks and watches, Ben approves as a second person; nothing that is looked at or pressed moves meanwhile."""
    scene = scene_at_gates(stand)
    page = opened("ana", "/deployments/d-91")
    live(page)
    assert "Waits at the gates" in page.inner_text(".verdict")
    assert not page.locator("#button-approve:not([disabled])").count()

    ben = opened("ben", "/deployments/d-91")
    live(ben)
    ben.click("#button-approve")
    ben.wait_for_selector("#sheet[open]", timeout=PATIENCE)
    assert "api 2.1 → production" in ben.inner_text("#sheet")
    ben.fill("#sheet input[name=comment]", "looks good")
    ben.click("#sheet button.first")
    ben.wait_for_url("**/deployments/d-91", timeout=PATIENCE)
    page.wait_for_selector("text=approved by ben", timeout=PATIENCE)

    scene.start()
    page.wait_for_selector('.stages [aria-current="step"]:has-text("10 %")', timeout=PATIENCE)
    scene.looked(30)
    page.wait_for_selector("#chart canvas", timeout=PATIENCE)
    watched = (
        "#button-abort", ".stages", '[data-plot="difference"]', '[data-plot="pair"]', ".rules", "#traffic-title",
    )  # fmt: skip
    before = places(page, *watched)
    for _ in range(4):
        scene.look()
        page.wait_for_timeout(600)
        assert before == places(page, *watched)
    picture(page, "canary-live")
    scene.weigh(1)
    scene.looked(5)
    page.wait_for_selector('.stages [aria-current="step"]:has-text("50 %")', timeout=PATIENCE)
    assert before == places(page, *watched)
    assert "50 %" in page.inner_text(".shares")


def test_a_bad_canary_says_why_while_one_watches(
    stand: Stand, opened: Opened, picture: Callable[..., Any]
) -> None:
    """The chart marks where it crossed; the sentence, the rule and the log say why it was taken back."""
    scene = scene_at_gates(stand, bad=0.06)
    scene.start()
    page = opened("ana", "/deployments/d-91")
    live(page)
    verdict = scene.looked(60)
    assert "fail" == verdict
    page.wait_for_selector("#chart canvas", timeout=PATIENCE)
    page.wait_for_selector(".rules .critical", timeout=PATIENCE)
    scene.take_back("errors 5.8 % of 1,200 requests against 0.2 % of 10,800 of stable: evidence over 1,000:1")
    page.wait_for_selector("h1 .state.critical", timeout=PATIENCE)
    said = page.inner_text(".verdict")
    assert "Taken back by opsbook: errors 5.8 %" in said
    assert "KeyError: 'tax'" in page.inner_text(".log")
    assert "taken back" in page.inner_text(".stages")
    assert page.locator("#button-rollback").is_visible()
    picture(page, "canary-taken-back")


def test_abort_is_held_down_or_pressed_twice(stand: Stand, opened: Opened) -> None:
    """One press only arms it; the reason comes along, and the page shows that it is being done."""
    scene = scene_at_gates(stand)
    scene.start()
    page = opened("ana", "/deployments/d-91")
    live(page)
    page.click("#button-abort")
    page.wait_for_selector("#sheet[open]", timeout=PATIENCE)
    assert "all requests go back to 2.0" in page.inner_text("#sheet")
    page.fill("#sheet input[name=reason]", "wrong tax")
    page.click("#sheet button.danger")
    assert "press again" in page.inner_text("#sheet button.danger")
    assert stand.site.records.deployment("d-91").abort is None
    page.click("#sheet button.danger")
    page.wait_for_url("**/deployments/d-91", timeout=PATIENCE)
    abort = stand.site.records.deployment("d-91").abort
    assert abort is not None
    assert ("ana", "wrong tax") == (abort.by, abort.reason)
    scene.take_back("wrong tax", Outcome.ABORTED)
    page.wait_for_selector("h1 .state:has-text('aborted')", timeout=PATIENCE)


def test_abort_by_holding_and_by_keyboard_alone(stand: Stand, opened: Opened) -> None:
    """700 ms of pressing; or Tab and Enter, and Escape to leave it."""
    scene_at_gates(stand).start()
    page = opened("ana", "/deployments/d-91")
    live(page)
    page.focus("#button-abort")
    page.keyboard.press("Enter")
    page.wait_for_selector("#sheet[open]", timeout=PATIENCE)
    assert "INPUT" == page.evaluate("document.activeElement.tagName")
    page.keyboard.press("Escape")
    page.wait_for_selector("#sheet:not([open])", state="attached", timeout=PATIENCE)
    assert "button-abort" == page.evaluate("document.activeElement.id")
    assert stand.site.records.deployment("d-91").abort is None
    page.keyboard.press("Enter")
    page.wait_for_selector("#sheet[open]", timeout=PATIENCE)
    page.hover("#sheet button.danger")
    page.mouse.down()
    page.wait_for_function("true", timeout=100)
    with page.expect_navigation(timeout=PATIENCE):
        page.wait_for_timeout(900)
    page.mouse.up()
    assert stand.site.records.deployment("d-91").abort is not None


def test_everything_is_reached_with_the_keyboard(stand: Stand, opened: Opened) -> None:
    """The first Tab offers to skip; each stop shows where one is."""
    del stand
    page = opened("ana", "/")
    live(page)
    seen = []
    for _ in range(14):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim()"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert "none" != outline, seen[-1]
    assert "To the content" == seen[0]
    assert {"Now", "Deployments", "Journal", "Handbook", "Sign out"} <= set(seen)


def test_without_javascript_it_all_works(stand: Stand, opened: Opened) -> None:
    """Links and forms: the page that asks, and the deed."""
    scene_at_gates(stand).start()
    page = opened("ana", "/deployments/d-91", java_script_enabled=False)
    assert "UTC" in page.inner_text(".timeline time >> nth=0")
    page.click("#button-abort")
    page.wait_for_url("**/deployments/d-91/abort", timeout=PATIENCE)
    page.fill("input[name=reason]", "no script")
    page.click("button.danger")
    page.wait_for_url(re.compile(r".*/deployments/d-91$"), timeout=PATIENCE)
    abort = stand.site.records.deployment("d-91").abort
    assert abort is not None
    assert "no script" == abort.reason
