"""What people do with runbooks in a browser: read, fill in, try, run, watch, decide; also without JavaScript."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "response"))

from respond_stand import Responding
from stand import SERVICES

if TYPE_CHECKING:
    from playwright.sync_api import Page

Opened = Callable[..., "Page"]
PATIENCE = 15_000  # milliseconds

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def house() -> Iterator[Responding]:
    made = Responding()
    try:
        for service in SERVICES:
            made.place("production", service)
        made.address = made.serve()
        yield made
    finally:
        made.end()


@pytest.fixture
def stand(house: Responding) -> Responding:
    """What `opened` opens pages of."""
    return house


def waits_for(page: Page, selector: str, text: str) -> None:
    page.locator(selector, has_text=text).first.wait_for(timeout=PATIENCE)


def test_output_comes_as_it_is_written(
    stand: Responding, opened: Opened, tmp_path: Path, picture: Callable[..., Any]
) -> None:
    """Lines appear in the step that runs; the next step, the end and its buttons come without a reload."""
    gate = tmp_path / "gate"
    run, _ = stand.runbooks.run("slow", {"gate": str(gate)}, "ana")
    page = opened("ana", f"/runs/{run.id}", size="phone", scheme="dark")
    waits_for(page, "#step-wait pre.output", "line one")
    picture(page, "run-live")
    page.evaluate("window.kept = 'yes'")
    gate.touch()
    waits_for(page, "#step-broken .note", "exit code 3")
    waits_for(page, "#step-wait pre.output", "line two")
    waits_for(page, "[role=status]", "Broken failed")
    page.locator("#button-retry").wait_for(timeout=PATIENCE)
    assert "yes" == page.evaluate("window.kept")
    assert 0 == page.locator("script:text('alert(1)')").count()


def test_from_the_page_to_a_finished_run(
    stand: Responding, opened: Opened, picture: Callable[..., Any]
) -> None:
    """Filled in, tried without doing anything, run; what only a person can do is done in a sheet."""
    page = opened("ana", "/runbooks/disk-full")
    page.fill("input[name='param.keep_mb']", "900")
    page.click("button[value=dry]")
    waits_for(page, ".planned", "nothing was done")
    assert "900" == page.input_value("input[name='param.keep_mb']")
    picture(page, "runbook-dry-run")
    page.click("button[value=run]")
    page.wait_for_url("**/runs/run-*", timeout=PATIENCE)
    page.locator("#button-done").wait_for(timeout=PATIENCE)
    assert "freed to 900 MB" in page.inner_text("#step-vacuum")
    page.click("#button-done")
    page.locator("#sheet textarea, #sheet input[name=note]").first.fill("emptier")
    page.locator("#sheet button", has_text="It is done").click()
    waits_for(page, "[role=status]", "Succeeded")
    picture(page, "run-succeeded")


def test_what_is_dangerous_is_pressed_twice(stand: Responding, opened: Opened) -> None:
    """Ben approves what Ana asked for: the script is on the sheet, one press is not enough."""
    run, _ = stand.runbooks.run("fail-over", {"environment": "staging"}, "ana")
    stand.paused(run.id)
    page = opened("ben", f"/runs/{run.id}")
    page.click("#button-approve")
    waits_for(page, "#sheet .script", "echo switched")
    yes = page.locator("#sheet [data-hold]")
    yes.click()
    assert "press again" in yes.inner_text()
    assert "paused" == stand.runbooks.records.run(run.id).state
    yes.click()
    waits_for(page, "[role=status]", "Succeeded")


def test_all_of_it_works_without_javascript(stand: Responding, opened: Opened) -> None:
    """Forms, the pages that ask, and where they lead."""
    page = opened("ana", "/runbooks/disk-full", size="phone", java_script_enabled=False)
    page.click("button[value=run]")
    name = page.url.rpartition("/")[2]
    stand.paused(name)
    page.reload()
    page.click("#button-done")
    page.click("button:has-text('It is done')")
    assert page.url.endswith(f"/runs/{name}")
    assert "succeeded" == stand.ended(name).outcome


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_nothing_is_wider_than_the_screen(
    size: str, scheme: str, stand: Responding, opened: Opened, picture: Callable[..., Any]
) -> None:
    """Pages do not scroll sideways; what one presses on a phone is large enough."""
    run, _ = stand.runbooks.run("disk-full", {}, "ana")
    stand.paused(run.id)
    for path, name in (
        ("/runbooks", "runbooks"),
        ("/runbooks/disk-full", "runbook"),
        (f"/runs/{run.id}", "run"),
    ):
        page = opened("ana", path, size=size, scheme=scheme)
        page.locator("#connection[data-state=live]").wait_for(timeout=PATIENCE)
        picture(page, f"{name}-{size}-{scheme}")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert (path, 0) == (path, wide)
        if size == "phone":
            heights = page.eval_on_selector_all(
                "main button, main a.button, main select, main input:not([type=hidden], [type=checkbox])",
                "found => found.map((one) => one.getBoundingClientRect().height)",
            )
            assert (path, []) == (path, [height for height in heights if height < 47.5])
    stand.runbooks.cancel(run.id, "ana")
    stand.ended(run.id)
