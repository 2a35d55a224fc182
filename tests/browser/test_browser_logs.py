"""The page of logs in a browser: found, opened, followed; on a phone and in the dark."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI

sys.path.insert(0, str(Path(__file__).parents[1] / "monitoring"))

from receiving_house import serving

from opsbook.journal import Journal
from opsbook.monitoring.logs import pages
from opsbook.security.api import signed_in, watching
from opsbook.security.room import local_operator
from opsbook.server import failures
from opsbook.server.console import routes
from opsbook.server.console.assets import Assets
from opsbook.server.console.live import Live
from opsbook.server.console.shell import Shell
from opsbook.server.console.trouble import pages as pages_of_failures
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.logs.search import LogSearch
from opsbook.world.logs.sent import SentLogs
from opsbook.world.logs.words import LogRecord

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def said(text: str, ago: float, level: str = "info") -> LogRecord:
    at = int((time.time() - ago) * 1000)
    return LogRecord(at, "web", "production", "web-1", "2.0", level, text, {"user.id": "7"}, TRACE)


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[tuple[str, SentLogs]]:
    """The address of a console with a page of logs, and where to send more."""
    clock = SystemClock()
    journal = Journal.open(tmp_path / "journal.sqlite", keys=tmp_path / "keys", clock=clock)
    sent = SentLogs(tmp_path / "logs.sqlite", clock)
    sent.write([said(f"line {n}", 3000 - n * 10, "error" if n % 9 == 0 else "info") for n in range(290)])
    live, assets, me = Live(journal, (), threading.Event()), Assets(), local_operator("ana")
    shell = Shell(("opsbook.monitoring",), assets, live, lambda: "shop", watching=True)
    app, stop = FastAPI(), threading.Event()

    @app.middleware("http")
    async def identify(request: Any, call: Any) -> Any:
        request.state.identity = me
        return await call(request)

    failures.install(app)
    found = LogSearch(tmp_path / "logs", sent, clock)
    app.include_router(
        pages.router(found, shell, pages_of_failures(shell), now=clock.now, stopping=stop.is_set)
    )
    app.include_router(routes.router(shell, assets, live, lambda *_: True))
    app.dependency_overrides[signed_in] = lambda: me
    app.dependency_overrides[watching] = lambda: lambda: None
    with serving(app) as client:
        yield str(client.base_url).rstrip("/"), sent
        stop.set()
    live.close()
    sent.close()
    journal.close()


@pytest.mark.parametrize(
    ("size", "scheme"), [((1280, 800), "light"), ((390, 844), "dark")], ids=["desktop", "phone"]
)
def test_found_opened_and_followed(
    chromium: Browser,
    shown: tuple[str, SentLogs],
    picture: Callable[[Page, str], Path],
    size: tuple[int, int],
    scheme: Any,
) -> None:
    """A line opens to its fields and its trace; new lines come on top; nothing is wider than the screen."""
    address, sent = shown
    context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda one: complaints.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda one: complaints.append(str(one)))
    page.goto(f"{address}/logs")
    line = page.locator(".log-line").first
    assert "line 289" == line.locator(".log-text").inner_text()
    line.locator("summary").click()
    assert f"/traces/{TRACE}" == line.locator("dl a", has_text=TRACE).get_attribute("href")
    picture(page, f"logs-{size[0]}")
    line.locator("summary").click()
    page.click("#log-follow")
    page.wait_for_selector("#log-told:has-text('following')")
    sent.write([said("came later", 0, "error")])
    page.wait_for_selector("#log li:first-child >> text=came later")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    picture(page, f"logs-{size[0]}-live")
    page.select_option("select[name=level]", "error")
    page.click("button:has-text('Search')")
    assert {"error"} == set(page.locator(".log-level").all_inner_texts())
    assert [] == complaints
    context.close()
