"""The console's pages of traces, rendered by the console's own shell; and the command line on the same answers."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from receiving_house import serving

from opsbook.book.roles import Grant
from opsbook.cli.session import CommandSession
from opsbook.journal import Journal
from opsbook.monitoring.traces import api, pages
from opsbook.monitoring.traces.cli import traces
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.room import local_operator
from opsbook.server import failures
from opsbook.server.console.assets import Assets
from opsbook.server.console.live import Live
from opsbook.server.console.shell import Shell
from opsbook.server.console.trouble import pages as pages_of_failures
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.traces.store import TraceStore
from opsbook.world.traces.words import Happening, Span


@dataclass
class Seen:
    client: httpx.Client
    store: TraceStore
    who: list[Identity]

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.client.get(path, params=query, headers={"accept": "text/html"})

    def links(self, **query: Any) -> list[str]:
        return re.findall(r'href="/traces/([0-9a-f]{32})"', self.get("/traces", **query).text)


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    clock = SystemClock()
    journal = Journal.open(tmp_path / "journal.sqlite", keys=tmp_path / "keys", clock=clock)
    store = TraceStore(tmp_path / "traces.sqlite", clock)
    live = Live(journal, (), threading.Event())
    shell = Shell(("opsbook.monitoring",), Assets(), live, lambda: "shop", watching=True)
    app, who = FastAPI(), [local_operator("ana")]

    @app.middleware("http")
    async def identify(request: Any, call: Any) -> Any:
        request.state.identity = who[0]
        return await call(request)

    failures.install(app)
    app.include_router(pages.router(store, shell, pages_of_failures(shell), now=clock.now))
    app.include_router(api.router(store, clock.now))
    app.dependency_overrides[signed_in] = lambda: who[0]
    with serving(app) as client:
        yield Seen(client, store, who)
    live.close()
    store.close()
    journal.close()


def order(trace: int, *, at: float, service: str = "web", failed: bool = False, ms: int = 120) -> list[Span]:
    start, trace_id = int(at * 1e9), f"{trace:032x}"
    return [
        Span(trace_id=trace_id, span_id="a" * 16, name="POST /orders <b>", kind="server", service=service,
             environment="production", start_ns=start, duration_ns=ms * 1_000_000,
             attributes={"http.route": "/orders"}),
        Span(trace_id=trace_id, span_id="b" * 16, parent_id="a" * 16, name="INSERT", service="db",
             environment="production", start_ns=start + 20_000_000, duration_ns=60_000_000,
             status="error" if failed else "unset", message="no room" if failed else "",
             happenings=(Happening(start + 30_000_000, "exception", {"exception.type": "Full"}),)),
    ]  # fmt: skip


def test_nothing_sent_yet_says_how(seen: Seen) -> None:
    """The empty page shows the variable and the command."""
    page = seen.get("/traces").text
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in page
    assert "opsbook tokens create --role sender" in page


def test_search_by_what_is_in_the_address(seen: Seen) -> None:
    """Filters live in the URL; the form shows them again; what is wrong in them is said on the page."""
    now = SystemClock().now()
    seen.store.write([
        *order(1, at=now - 60), *order(2, at=now - 50, failed=True), *order(3, at=now - 40, ms=900, service="api"),
        *order(4, at=now - 7200),
    ])  # fmt: skip
    ids = [f"{number:032x}" for number in range(5)]
    assert [ids[3], ids[2], ids[1]] == seen.links()
    assert [ids[2]] == seen.links(error="1")
    assert [ids[3]] == seen.links(service="api") == seen.links(min="500ms")
    assert [ids[3], ids[2]] == [seen.links(order="slowest")[0], seen.links(service="db", error="1")[0]]
    assert 4 == len(seen.links(since="6h", field="http.route=/orders", name="orders"))
    assert "No trace of the last 1h fits" in seen.get("/traces", service="nobody").text
    wrong = seen.get("/traces", min="quick")
    assert (422, True) == (wrong.status_code, 'value="quick"' in wrong.text)


def test_a_waterfall_needs_no_script_and_no_style_attribute(seen: Seen) -> None:
    """Bars are drawn by the server; details open with the keyboard; the log lines are one link away."""
    seen.store.write(order(7, at=SystemClock().now(), failed=True))
    page = seen.get(f"/traces/{7:032x}").text
    assert f'href="/logs?trace={7:032x}"' in page
    assert re.search(r'<rect class="hue-\d failed" x="16.667%" width="50.0%"', page)
    assert ("style=" not in page, "<b>web</b> POST /orders &lt;b&gt;" in page, page.count("<details>")) == (
        True,
        True,
        2,
    )
    assert all(word in page for word in ("no room", "exception.type", "http.route", "1 failed"))
    assert 404 == seen.get(f"/traces/{8:032x}").status_code


def test_one_sees_the_traces_of_ones_environments(seen: Seen) -> None:
    """Neither list nor address tells of others."""
    seen.store.write(order(1, at=SystemClock().now()))
    grants = (Grant.model_validate({"role": "viewer", "environments": ("staging",)}),)
    seen.who[0] = Identity(name="ana", grants=grants, authenticated=True, via="session")
    assert [] == seen.links()
    assert 404 == seen.get(f"/traces/{1:032x}").status_code
    assert {"traces": []} == seen.get("/api/monitoring/traces").json()
    seen.who[0] = Identity(
        name="app", grants=(Grant.model_validate({"role": "sender"}),), authenticated=True, via="session"
    )
    assert 403 == seen.get("/traces").status_code == seen.get("/api/monitoring/traces").status_code


def test_the_command_line_lists_and_shows(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same answers at a terminal: a line a trace, a line a span."""

    class Api:
        def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
            given = {name: value for name, value in (query or {}).items() if value is not None}
            return seen.client.get(path, params=given).json()

    seen.store.write(order(5, at=SystemClock().now(), failed=True))
    monkeypatch.setattr(CommandSession, "api", Api())

    def run(*words: str) -> str:
        session = CommandSession(book="", server="", token="")
        traces.main(list(words), obj=session, standalone_mode=False)
        said = capsys.readouterr()
        return said.out + said.err

    listed = run("list", "web", "--field", "http.route=/orders", "--since", "1h")
    assert all(word in listed for word in (f"{5:032x}", "web POST /orders", "120 ms", "2 spans", "1 error"))
    assert "no trace fits" in run("list", "--min", "1h")
    assert '"spans"' in run("show", f"{5:032x}", "--json")
    shown = run("show", f"{5:032x}", "--attributes")
    assert all(word in shown for word in ("db INSERT", "no room", "http.route /orders", "exception"))
