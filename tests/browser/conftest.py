"""Chromium on a served console. Skipped, with the reason, where there is none."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "server" / "console"), str(Path(__file__).parent)]

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from stand import Stand

CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
PICTURES = Path(os.environ.get("OPSBOOK_TEST_PICTURES", "/tmp/opsbook-pictures"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser that reaches nobody but us."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next((path for path in CHROMIUM if Path(path).exists()), None) or shutil.which("chromium")
    if program is None:
        pytest.skip("no Chromium: apt install chromium")
    from opsbook.server.console.assets import Assets

    if not Assets().vendored:
        pytest.skip("the console's libraries are missing: make assets")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def stand() -> Iterator[Stand]:
    """Four services in two environments, served."""
    from stand import SERVICES, Stand

    from opsbook.deployment.model import Outcome

    made = Stand()
    try:
        for service in SERVICES:
            made.place("staging", service, replicas=1)
            made.place("production", service)
        made.finished(
            "d-80", "search", "2.2", Outcome.ROLLED_BACK, reason="p95 412 ms > 180 ms of stable", hours=26
        )
        made.finished("d-85", "web", "2.0", Outcome.SUCCEEDED, before="1.9", hours=5)
        made.address = made.serve()
        yield made
    finally:
        made.end()


@pytest.fixture
def opened(chromium: Browser, stand: Stand) -> Iterator[Callable[..., Page]]:
    """``opened("ana", "/")`` is Ana's page; complaints of the browser fail the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_page(
        person: str | None, path: str, *, size: str = "desktop", scheme: str = "light", **more: Any
    ) -> Page:
        width, height = SIZES[size]
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            has_touch=size == "phone",
            **more,
        )  # type: ignore[arg-type]
        contexts.append(context)
        if person is not None:
            cookie = {"name": "opsbook_session", "value": stand.cookie(person), "url": stand.address}
            context.add_cookies([cookie])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(stand.address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    expected = ("401", "403", "404", "422", "ERR_CONNECTION", "ERR_INCOMPLETE", "ERR_EMPTY", "ERR_INTERNET")
    assert [] == [text for text in complaints if not any(word in text for word in expected)]


@pytest.fixture
def picture() -> Callable[[Page, str], Path]:
    """Keeps what a page looks like."""

    def keep(page: Page, name: str) -> Path:
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        page.screenshot(path=str(path))
        return path

    return keep
