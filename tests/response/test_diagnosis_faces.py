"""The routes, the page and the command of diagnoses, with real sessions, roles and a real server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "server" / "console"))

from stand import Stand

from opsbook.journal import Durable
from opsbook.monitoring.alerting.model import Alert
from opsbook.response.diagnosis.api import router
from opsbook.response.diagnosis.pages import router as pages
from opsbook.response.diagnosis.ports import Site
from opsbook.response.diagnosis.room import Diagnoses
from opsbook.response.diagnosis.watching import DiagnosisWatch, topic_of
from opsbook.response.runbooks.room import Runbooks
from opsbook.response.runbooks.site import Site as RunbookSite
from opsbook.security.model import Identity
from opsbook.server.access import Access
from opsbook.server.app import create_app
from opsbook.server.console import console as shells
from opsbook.server.console.console import Console, Parts
from opsbook.server.rooms import Rooms
from opsbook.world.commands.places import Machines

PAGE = """\
---
title: Too many errors
alerts: [HighErrorRate]
---
## Diagnose
```bash diagnose
echo "<b>looked</b>"
```
"""
ROOM = "/api/response/diagnoses"


class Diagnosing(Stand):
    """The stand, with a room that diagnoses what it pretends."""

    def _build(self) -> None:
        folder = self.root / "ops" / "runbooks"
        folder.mkdir(exist_ok=True)
        (folder / "high-error-rate.md").write_text(PAGE)
        self.handbook.fresh()
        self.alerts: list[Alert] = []
        self.durable = Durable(self.root / "durable.sqlite")
        self.runbooks = Runbooks(
            RunbookSite(
                book=self.handbook.fresh, journal=self.journal, durable=self.durable, clock=self.clock,
                places=Machines(grace=0.2),
            )
        )  # fmt: skip
        self.durable.launch()
        runtime = self.world.runtime()
        runtime.probe = self.probe
        site = Site(
            book=self.handbook.current, journal=self.journal, clock=self.clock, alerts=lambda: tuple(self.alerts),
            instances=runtime, traffic=self.world.traffic().observe, deployments=self.site.records,
            runbooks=self.runbooks,
        )  # fmt: skip
        self.diagnoses = Diagnoses(site)
        rooms = shells.ROOMS
        try:
            shells.ROOMS = tuple(dict.fromkeys((*rooms, "opsbook.response")))
            self.console = Console(
                Parts(
                    source=self.source,
                    journal=self.journal,
                    handbook=self.handbook,
                    security=self.security,
                    stopping=self.stopping,
                    further=(lambda shell, kind: pages(self.diagnoses, shell, kind),),
                )
            )
        finally:
            shells.ROOMS = rooms
        self.console.live._watches = (*self.console.live._watches, DiagnosisWatch(self.diagnoses))
        self.app = create_app(
            Rooms(
                routers=(router(self.diagnoses, self.stopping.is_set),), events=self.journal,
                status=self.room.status, health=dict, stop=lambda services: None, security=self.security,
            )
        )  # fmt: skip
        self.console.install(self.app)
        self.access = Access(self.app, token="server-token", security=self.security)

    def probe(self, name: str) -> Any:
        from opsbook.world.words import Probe

        time.sleep(0.05)
        return Probe(self.world.healthy.get(name, True), "connection refused", 0.0)

    def end(self) -> None:
        self.diagnoses.close()
        self.runbooks.close()
        self.durable.close(timeout=5.0)
        super().end()


@pytest.fixture(scope="module")
def house() -> Iterator[Diagnosing]:
    made = Diagnosing()
    try:
        made.address = made.serve()
        made.place("production", "web", healthy=1)
        made.place("production", "api")
        made.place("production", "checkout")
        now = time.time()
        made.alerts.append(
            Alert(
                {
                    "alertname": "HighErrorRate",
                    "severity": "critical",
                    "service": "web",
                    "environment": "production",
                },
                {"summary": "web fails <script>alert(1)</script>"},
                starts_at=now - 60,
            )
        )
        yield made
    finally:
        made.end()


@pytest.fixture
def ask(house: Diagnosing) -> Iterator[Callable[[str], httpx.Client]]:
    """``ask("dora")`` asks the API with her token."""
    opened: list[httpx.Client] = []

    def asking(person: str) -> httpx.Client:
        headers = {"authorization": f"Bearer {house.token(person)}"}
        opened.append(httpx.Client(base_url=house.address, headers=headers, timeout=20))
        return opened[-1]

    yield asking
    for client in opened:
        client.close()


def made_by(client: httpx.Client, service: str = "web") -> dict[str, Any]:
    """A diagnosis of production, followed to its end."""
    begun = client.post(ROOM, json={"environment": "production", "service": service})
    assert 202 == begun.status_code, begun.text
    lines = client.get(f"{ROOM}/{begun.json()['id']}/live").text.splitlines()
    news = [json.loads(line) for line in lines if line]
    assert ["check"] * 9 + ["diagnosis"] == [one["type"] for one in news]
    return dict(news[-1])


def test_a_diagnosis_by_http(ask: Callable[[str], httpx.Client]) -> None:
    """Begun, followed, found again, as Markdown; a viewer gets it without the pages' own looks."""
    ana = ask("ana")
    made = made_by(ana)
    assert ("failed", "ended") == (made["state"], made["progress"])
    assert 1 == len(made["runs"])
    view = ana.get(f"{ROOM}/{made['id']}").json()
    assert made == {"type": "diagnosis", **view}
    assert [made["id"]] == [one["id"] for one in ana.get(ROOM, params={"service": "web"}).json()["diagnoses"]]
    text = ana.get(f"{ROOM}/{made['id']}/markdown")
    assert text.headers["content-type"].startswith("text/markdown")
    assert "\\<script\\>" in text.text
    assert [] == made_by(ask("dora"))["runs"]


def test_what_is_refused(ask: Callable[[str], httpx.Client], house: Diagnosing) -> None:
    """What there is not, what nobody may, and what is no question."""
    ana = ask("ana")
    refused = [
        ana.post(ROOM, json={"environment": "production", "service": "none"}),
        ana.post(ROOM, json={"environment": "production", "service": "web", "script": "rm"}),
        ana.get(f"{ROOM}/diag-999/live"),
        httpx.post(f"{house.address}{ROOM}", json={"environment": "production", "service": "web"}),
    ]
    assert [404, 422, 404, 401] == [one.status_code for one in refused]


def browsing(house: Diagnosing, person: str) -> httpx.Client:
    headers = {"accept": "text/html", "origin": house.address}
    cookies = {"opsbook_session": house.cookie(person)}
    return httpx.Client(base_url=house.address, cookies=cookies, headers=headers, timeout=20)


def test_the_page(house: Diagnosing) -> None:
    """Empty, then begun by its button, then the whole of it; a form without its token does nothing."""
    path = "/diagnose/production/checkout"  # of which no other test asks
    with browsing(house, "ana") as browser:
        page = browser.get(path).text
        assert "It was not looked at yet." in page
        assert "opsbook diagnose checkout --in production" in page
        assert 403 == browser.post(path).status_code
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token is not None
        answer = browser.post(path, data={"csrf_token": token[1]})
        assert (303, path) == (answer.status_code, answer.headers["location"])
        deadline = time.monotonic() + 20
        while "What to do next" not in (page := browser.get(path).text):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert 'id="look-health"' in page
        assert "3 of 3 instances well" in page
        assert 404 == browser.get("/diagnose/production/none").status_code


def test_hostile_words_on_the_page(house: Diagnosing) -> None:
    """What alerts and programs say is text, in the page as everywhere."""
    house.diagnoses.make("production", "web", "ana")
    with browsing(house, "dora") as browser:
        page = browser.get("/diagnose/production/web").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;looked&lt;/b&gt;" in page
    assert 'href="/runbooks/high-error-rate"' in page
    assert len(page.encode()) < 50_000


def test_the_page_lives(house: Diagnosing) -> None:
    """It is told when a look ends and when all have; only those who may look are."""
    watch, topic = DiagnosisWatch(house.diagnoses), topic_of("production", "web")
    assert "" == watch.fingerprint(topic)
    before = house.console.live.version((topic,))
    house.diagnoses.make("production", "web", "ana", run_pages=False)
    assert house.console.live.version((topic,)) > before
    nobody = Identity(name="eva", grants=(), authenticated=True, via="token")
    assert False is watch.may_follow(nobody, topic)
    assert (None, None) == (watch.may_follow(nobody, "now"), watch.fingerprint("now"))


def opsbook(house: Diagnosing, *words: str, person: str = "ana") -> subprocess.CompletedProcess[str]:
    environ = {
        **os.environ, "OPSBOOK_SERVER": house.address, "OPSBOOK_TOKEN": house.token(person), "NO_COLOR": "1",
        "TZ": "UTC",
    }  # fmt: skip
    command = [sys.executable, "-m", "opsbook", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_the_command(house: Diagnosing) -> None:
    """Each look in a line, the sentence, the page, the next command; the exit code says whether all is well."""
    ended = opsbook(house, "diagnose", "web", "--in", "production")
    assert 1 == ended.returncode, ended.stderr
    lines = ended.stdout.splitlines()
    health = next(line for line in lines if "health now" in line)
    assert re.fullmatch(r"⚠ warning health now +\d+\.\ds  1 of 3 instances well", health)
    assert "    web-production-202: connection refused" not in ended.stdout
    assert any("web-production-201 (2.0): connection refused" in line for line in lines)
    assert any(line.startswith("✖ failed web fails <script>alert(1)</script> · since") for line in lines)
    assert any(
        re.match(r"Too many errors +runbooks/high-error-rate.md +HighErrorRate fires", line) for line in lines
    )
    assert ended.stderr.startswith("\nnext: opsbook runbooks show high-error-rate")
    assert 0 == opsbook(house, "diagnose", "api", "--in", "production").returncode


def test_the_command_for_scripts(house: Diagnosing) -> None:
    """One JSON document, Markdown, the last one; what is wrong in the words of errors."""
    made = json.loads(
        opsbook(house, "diagnose", "web", "--in", "production", "--json", "--no-runbooks").stdout
    )
    assert (9, [], "failed") == (len(made["checks"]), made["runs"], made["state"])
    last = opsbook(house, "diagnose", "web", "--in", "production", "--last", "--markdown")
    assert last.stdout.startswith("### Diagnosis of web in production\n")
    assert f"{made['id']}, made " in last.stderr
    assert 1 == opsbook(house, "diagnose", "web", "--last").returncode  # the one place where it is deployed
    for environment in ("staging", "production"):
        house.place(environment, "search")
    several = opsbook(house, "diagnose", "search")
    assert (2, True) == (several.returncode, "hint: --in staging, or another of" in several.stderr)
    assert 2 == opsbook(house, "diagnose", "none", "--in", "production").returncode
    assert 2 == opsbook(house, "diagnose", "web", "--in", "production", "--json", "--markdown").returncode
    assert 0 == opsbook(house, "diagnose").returncode
    without = opsbook(house, "diagnose", "api", "--in", "production", person="dora")
    assert (0, True) == (without.returncode, "you may not run runbooks here" in without.stderr)
