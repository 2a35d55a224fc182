"""The page, the routes and the command of logs, on the real search."""

from __future__ import annotations

import json
import re
import threading
import time
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
from opsbook.errors import NotAllowed, OpsbookError
from opsbook.journal import Journal
from opsbook.monitoring.logs import api, pages
from opsbook.monitoring.logs.cli import logs as command
from opsbook.security.api import signed_in, watching
from opsbook.security.model import Identity
from opsbook.security.plan import visible
from opsbook.security.room import local_operator
from opsbook.server import failures
from opsbook.server.console.assets import Assets
from opsbook.server.console.live import Live
from opsbook.server.console.shell import Shell
from opsbook.server.console.trouble import pages as pages_of_failures
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.logs.search import LogSearch
from opsbook.world.logs.sent import SentLogs
from opsbook.world.logs.words import LogRecord

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@dataclass
class Seen:
    client: httpx.Client
    sent: SentLogs
    who: list[Identity]
    ended: threading.Event

    def page(self, **query: Any) -> str:
        return self.client.get("/logs", params=query, headers={"accept": "text/html"}).text

    def texts(self, **query: Any) -> list[str]:
        found = self.client.get("/api/monitoring/logs/search", params=query).json()
        return [record["text"] for record in found["records"]]

    def say(self, text: str, *, ago: float = 5, **more: Any) -> None:
        at = int((time.time() - ago) * 1000)
        self.sent.write(
            [LogRecord(at, **{"service": "web", "environment": "production", "text": text, **more})]
        )


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    clock = SystemClock()
    journal = Journal.open(tmp_path / "journal.sqlite", keys=tmp_path / "keys", clock=clock)
    sent = SentLogs(tmp_path / "logs.sqlite", clock)
    found = LogSearch(tmp_path / "logs", sent, clock)
    live = Live(journal, (), threading.Event())
    shell = Shell(("opsbook.monitoring",), Assets(), live, lambda: "shop", watching=True)
    app, who, ended, stop = FastAPI(), [local_operator("ana")], threading.Event(), threading.Event()

    @app.middleware("http")
    async def identify(request: Any, call: Any) -> Any:
        request.state.identity = who[0]
        return await call(request)

    def seeing() -> Any:
        def now() -> frozenset[str] | None:
            if ended.is_set():
                raise NotAllowed("the token was revoked")
            return visible(who[0])

        return now

    failures.install(app)
    app.include_router(
        pages.router(found, shell, pages_of_failures(shell), now=clock.now, stopping=stop.is_set)
    )
    app.include_router(api.router(found, clock, stopping=stop.is_set))
    app.dependency_overrides[signed_in] = lambda: who[0]
    app.dependency_overrides[watching] = seeing
    with serving(app) as client:
        yield Seen(client, sent, who, ended)
        stop.set()
    live.close()
    sent.close()
    journal.close()


def test_the_page_finds_and_links(seen: Seen) -> None:
    """Lines with their level, fields, trace and histogram; text is text; filters live in the address."""
    seen.say("order <b> refused", level="error", fields={"user.id": "7"}, trace_id=TRACE, span_id="a" * 16)
    seen.say("fine", level="info", service="api")
    page = seen.page()
    assert "order &lt;b&gt; refused" in page
    assert f'href="/traces/{TRACE}#span-{"a" * 16}"' in page
    assert re.search(r'<rect class="log-error" x="\d+"', page)
    assert ("style=" in page, page.count('class="log-line '), "field=user.id%3D7" in page) == (False, 2, True)
    assert ["order &lt;b&gt; refused"] == re.findall(r'class="log-text">([^<]*)<', seen.page(level="warning"))
    assert "No line of this time fits" in seen.page(text="nothing")
    assert "opsbook logs web --level error --since 1h" in seen.page(service="web", level="error")
    assert 'value="("' in seen.page(grep="(")


def test_an_empty_page_says_how(seen: Seen) -> None:
    """Where nothing was written yet, the page tells how lines come."""
    assert "/v1/logs" in seen.page()


def test_pages_of_lines(seen: Seen) -> None:
    """More than one page shows has a link to older ones; the API has a cursor."""
    for number in range(230):
        seen.say(f"line {number}", ago=300 - number)
    older = re.search(r'href="(/logs\?[^"]*cursor=[^"]*)"', seen.page())
    assert older is not None
    rest = seen.client.get(older[1].replace("&amp;", "&"), headers={"accept": "text/html"}).text
    assert 30 == rest.count('class="log-line ')
    first = seen.client.get("/api/monitoring/logs/search", params={"limit": 200}).json()
    second = seen.client.get("/api/monitoring/logs/search", params={"cursor": first["next"]}).json()
    assert (200, 30, None) == (len(first["records"]), len(second["records"]), second["next"])


def test_one_sees_the_lines_of_ones_environments(seen: Seen) -> None:
    """Neither list, histogram nor choices tell of others."""
    seen.say("unseen words", environment="production")
    seen.say("shown", environment="staging", service="api")
    grants = (Grant.model_validate({"role": "viewer", "environments": ("staging",)}),)
    seen.who[0] = Identity(name="ana", grants=grants, authenticated=True, via="session")
    assert ["shown"] == seen.texts()
    page = seen.page()
    assert ("unseen words" in page, ">web<" in page, "shown" in page) == (False, False, True)
    counts = seen.client.get("/api/monitoring/logs/histogram").json()["counts"]
    assert 1 == sum(map(sum, counts.values()))
    seen.who[0] = Identity(
        name="app", grants=(Grant.model_validate({"role": "sender"}),), authenticated=True, via="session"
    )
    assert 403 == seen.client.get("/logs").status_code
    assert 403 == seen.client.get("/api/monitoring/logs/search").status_code


@pytest.mark.parametrize("path", ["/api/monitoring/logs/follow", "/logs/live"])
def test_a_followed_stream_ends_with_the_right_to_look(seen: Seen, path: str) -> None:
    """Lines come while one may look; once the token is revoked the stream ends by itself."""
    with seen.client.stream("GET", path, timeout=15) as answer:
        lines = answer.iter_lines()
        next(lines)
        seen.say("came later")
        said = next(line for line in lines if "came later" in line)
        assert "came later" == json.loads(said.removeprefix("data: "))["text"]
        seen.ended.set()
        assert [] == [line for line in lines if "came" in line]


def test_the_command_line(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Oldest first, with level and fields; JSON a line; what is mistyped is said before anything is asked."""
    seen.say("slow", ago=9, level="warning", fields={"took": "3 s"}, instance="web-1")
    seen.say("lost", ago=3, level="error", service="api", trace_id=TRACE)

    class Api:
        def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
            given = {name: value for name, value in (query or {}).items() if value is not None}
            return seen.client.get(path, params=given).json()

    monkeypatch.setattr(CommandSession, "api", Api())

    def run(*words: str) -> tuple[int, str]:
        session = CommandSession(book="", server="", token="")
        try:
            command.main(args=list(words), obj=session, standalone_mode=False)
        except OpsbookError as error:
            return error.exit_code, ""
        return 0, capsys.readouterr().out

    code, said = run()
    assert 0 == code
    assert re.search(r'web-1 WARN  slow took="3 s"\n.* api ERROR lost trace=4bf92', said)
    assert ["lost"] == [json.loads(line)["text"] for line in run("api", "--json")[1].splitlines()]
    assert "slow" in run("web", "--level", "warn", "--field", "took=3 s", "--env", "production")[1]
    assert "lost" in run("--trace", TRACE, "-n", "1")[1]
    for wrong in (("--grep", "("), ("--level", "loud"), ("--since", "soon"), ("--field", "x")):
        assert 0 != run(*wrong)[0]
