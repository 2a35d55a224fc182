"""Who is on call, in a browser; and the page behind a link at night on a phone, without JavaScript."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "response"))

from duty_stand import Duty

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Opened = Callable[..., "Page"]
PATIENCE = 15_000  # milliseconds

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def house() -> Iterator[Duty]:
    made = Duty()
    try:
        made.address = made.serve()
        yield made
    finally:
        made.end()


@pytest.fixture
def stand(house: Duty) -> Duty:
    """What `opened` opens pages of."""
    return house


@pytest.mark.parametrize(("size", "scheme"), [("phone", "dark"), ("desktop", "light")])
def test_the_calendar(
    stand: Duty, opened: Opened, picture: Callable[..., Any], size: str, scheme: str
) -> None:
    """Rows and days are drawn, nothing is wider than the screen, and a change shows without a reload."""
    page = opened("ana", "/oncall", size=size, scheme=scheme)
    page.locator(".layer .track svg text:not(.thin)", has_text="ana").first.wait_for(timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("window.kept = 'yes'")
    now = stand.clock.now()
    made = stand.oncall.override("on-call", "dora", now - 60, now + 86_400, reason="ana is ill", actor="ben")
    page.locator(".feed", has_text="ana is ill").wait_for(timeout=PATIENCE)
    assert "yes" == page.evaluate("window.kept")
    picture(page, f"oncall-{size}-{scheme}")
    stand.oncall.remove(made.id, actor="ben")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_link_of_a_page(stand: Duty, chromium: Browser, picture: Callable[..., Any], scheme: Any) -> None:
    """One tap, without signing in and without JavaScript; what is tapped is large enough."""
    link = stand.opens(f"inc-{scheme}")
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, color_scheme=scheme, java_script_enabled=False
    )
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(stand.address + link)
    page.get_by_text("Nobody has answered yet").wait_for(timeout=PATIENCE)
    picture(page, f"answer-{scheme}")
    for name in ("#acknowledge", "#next"):
        box = page.locator(name).bounding_box()
        assert box is not None
        assert box["height"] >= 48
    page.locator("#acknowledge").click()
    page.get_by_text("has it.").wait_for(timeout=PATIENCE)
    picture(page, f"answered-{scheme}")
    assert [] == complaints
    assert "acknowledged" == stand.escalations.get(f"inc-{scheme}").state
    context.close()
