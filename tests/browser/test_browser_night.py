"""Three in the morning: a telephone, programs that write a lot, sessions that end, connections that break."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "response"))

from respond_stand import PAGES, Responding
from stand import SERVICES

if TYPE_CHECKING:
    from playwright.sync_api import Page

Opened = Callable[..., "Page"]
PATIENCE = 15_000  # milliseconds
LOUD = """\
---
title: A page with a name that is much longer than anybody would want it to be when they are called out at night
params: {gate: {type: string}}
---
```bash run id=loud risk=read timeout=60s
printf '\\033[1;31mfailed\\033[0m <b>bold</b>\\n10%%\\r50%%\\r'
seq -f 'line %g of a log that is long enough to be broken on a telephone' 600
until test -e "$GATE"; do sleep 0.05; done
seq -f 'line %g of a log that is long enough to be broken on a telephone' 601 2000
until test -e "$GATE.end"; do sleep 0.05; done
printf 'the last\\n'
until test -e "$GATE.over"; do sleep 0.05; done
```
```text manual id=look
Is the queue empty?
```
"""
# Whatever is pressed, but for words within a sentence.
TARGETS = """() => [..."a button select textarea summary input:not([type=hidden])".split(" ")]
  .flatMap((name) => [...document.querySelectorAll(name)])
  .filter((one) => one.checkVisibility() && !one.matches(".cover, .skip") && one.getBoundingClientRect().right > 0)
  .filter((one) => (one.closest("label.check") || one).getBoundingClientRect().height < 43.5)
  .filter((one) => !(one.matches("p a, dd a, li a, small a, article a") && !one.matches(".crumbs a, .links a")))
  .map((one) => `${one.tagName} ${one.textContent.trim()}`)"""

pytestmark = pytest.mark.browser


class Loud(Responding):
    """With a page that writes two thousand lines."""

    pages: Mapping[str, str] = {**PAGES, "loud": LOUD}


@pytest.fixture(scope="module")
def house() -> Iterator[Loud]:
    made = Loud()
    try:
        for service in SERVICES:
            made.place("production", service)
        made.address = made.serve()
        yield made
    finally:
        made.end()


@pytest.fixture
def stand(house: Loud) -> Loud:
    """What `opened` opens pages of."""
    return house


@pytest.fixture
def incident(house: Loud) -> Iterator[str]:
    made = house.incidents.declare("Checkout fails", "SEV2", "production", ("checkout",), "ana")
    yield made.id
    house.incidents.resolve(made.id, "ana")


def small(opened: Opened, path: str, **more: Any) -> Page:
    """Ana's page on a small telephone."""
    page = opened("ana", path, size="phone", **more)
    page.set_viewport_size({"width": 360, "height": 740})
    page.reload()
    return page


def test_two_thousand_lines_are_followed(
    stand: Loud, opened: Opened, tmp_path: Path, picture: Callable[..., Any]
) -> None:
    """In colour, to the end, unless one reads further up; then what is waited for stands on the first screen."""
    gate = tmp_path / "gate"
    run, _ = stand.runbooks.run("loud", {"gate": str(gate)}, "ana")
    page = small(opened, f"/runs/{run.id}", scheme="dark")
    box = page.locator("#step-loud pre.output")
    box.filter(has_text="line 600 ").wait_for(timeout=PATIENCE)
    assert "failed" == box.locator(".ansi-bold.ansi-red").inner_text()
    text = box.text_content() or ""
    assert "failed <b>bold</b>\nline 1 of" in text
    assert not {"\x1b", "\r"} & set(text)
    at_the_end = "(one) => one.scrollTop + one.clientHeight >= one.scrollHeight - 8"
    assert box.evaluate(at_the_end)
    box.evaluate("(one) => { one.scrollTop = 400; window.kept = one; }")
    gate.touch()
    box.filter(has_text="line 2000 ").wait_for(timeout=PATIENCE)
    assert not box.evaluate(at_the_end)
    assert "line 1 of" in (box.text_content() or "")
    box.evaluate("(one) => { one.scrollTop = one.scrollHeight; }")
    (tmp_path / "gate.end").touch()
    box.filter(has_text="the last").wait_for(timeout=PATIENCE)
    assert box.evaluate(at_the_end)
    assert len(box.text_content() or "") <= 72 * 1024
    assert box.evaluate("(one) => one === window.kept")
    (tmp_path / "gate.over").touch()
    page.locator("#button-done").wait_for(timeout=PATIENCE)
    picture(page, "night-run-waits")
    asked, bar = page.locator(".point pre").bounding_box(), page.locator(".actions").bounding_box()
    assert asked is not None
    assert bar is not None
    assert asked["y"] + asked["height"] <= bar["y"]
    stand.runbooks.cancel(run.id, "ana")
    stand.ended(run.id)


def test_everything_is_large_enough_for_a_thumb(stand: Loud, opened: Opened, incident: str) -> None:
    """On the smallest telephone: 44 pixels, nothing sideways, the bar whole, the room that one is in to be seen."""
    run, _ = stand.runbooks.run("disk-full", {}, "ana")
    stand.paused(run.id)
    for path in (
        "/",
        "/incidents",
        f"/incidents/{incident}",
        "/runbooks",
        "/runbooks/loud",
        f"/runs/{run.id}",
    ):
        page = small(opened, path)
        page.locator("#connection[data-state=live]").wait_for(timeout=PATIENCE)
        assert (path, []) == (path, page.evaluate(TARGETS))
        wide = "(one) => one.scrollWidth - one.clientWidth"
        assert (path, 0) == (path, page.evaluate(f"({wide})(document.documentElement)"))
        assert (path, []) == (path, [one for one in page.eval_on_selector_all(
            ".actions .buttons", f"(found) => found.map({wide})") if one > 0])  # fmt: skip
        room = page.locator(".top nav [aria-current]").bounding_box()
        assert room is not None
        assert (path, True) == (path, 0 <= room["x"] and room["x"] + room["width"] <= 360)
    stand.runbooks.cancel(run.id, "ana")
    stand.ended(run.id)


def test_a_broken_connection_leaves_the_buttons_free(stand: Loud, opened: Opened, incident: str) -> None:
    """That it is lost is said at the top: the thumb still finds Acknowledge."""
    page = small(opened, f"/incidents/{incident}")
    page.locator("#connection[data-state=live]").wait_for(timeout=PATIENCE)
    page.evaluate("connected(false)")
    page.locator("#lost:not([hidden])").wait_for(timeout=PATIENCE)
    page.locator("#button-acknowledge").click(trial=True, timeout=3000)


def holds(page: Page, words: str) -> None:
    """Wait for what the scripts of a page that was just loaded put back."""
    page.wait_for_function(
        "words => document.querySelector('#note-text')?.value === words", arg=words, timeout=PATIENCE
    )


@pytest.mark.parametrize("noticed", [True, False])
def test_what_was_typed_outlives_the_session(
    stand: Loud, opened: Opened, incident: str, *, noticed: bool
) -> None:
    """It ends while one writes, or before one sends: after signing in the words are there, until they are sent."""
    page = small(opened, f"/incidents/{incident}")
    page.locator("#connection[data-state=live]").wait_for(timeout=PATIENCE)
    page.fill("#note-text", "half an hour of words")
    for session in stand.security.sessions.listed():
        stand.security.sessions.close(session.id, "ana")
    page.evaluate("() => { setTimeout(refresh, 100); }") if noticed else page.click("text=Add the note")
    page.locator(".signin input[name=given]").wait_for(timeout=PATIENCE)
    page.fill("input[name=given]", stand.token("ana"))
    page.click(".signin button")
    holds(page, "half an hour of words")
    page.click("text=Add the note")
    page.locator(".timeline", has_text="half an hour of words").wait_for(timeout=PATIENCE)
    holds(page, "")
    page.reload()
    assert "" == page.input_value("#note-text")
