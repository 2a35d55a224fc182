"""A post-mortem in the console: read, written, edited by two people at once, complete."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from postmortem_house import Clock, Desk, House, incident
from respond_stand import Responding

from opsbook.promql import Engine
from opsbook.response.incidents.model import Incident
from opsbook.response.pages.source import Source
from opsbook.response.postmortems.room import Postmortems
from opsbook.response.postmortems.site import Site
from opsbook.world.hosts.pages import FolderPages
from opsbook.world.hosts.publishing import publish
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore

Browse = Callable[[str], httpx.Client]
PAGE = "/incidents/inc-7/postmortem"


class Known(Desk):
    """As pages ask for them."""

    def listed(self, state: str | None = None, limit: int = 50) -> list[Incident]:
        return list(self.known.values())


class Written(Responding):
    """The stand, with a post-mortem to write."""

    def declared(self) -> Any:
        known = Known()
        known.put(incident(runbook="disk-full", title="Orders <script>alert(1)</script> fail"))
        return known

    def respond(self) -> Source:
        ops = self.root / "ops"
        self.storage = Storage(HotStore())
        self.postmortems = Postmortems(
            Site(
                book=self.handbook.current,
                folder=ops,
                journal=self.journal,
                incidents=self.incidents,
                pages=FolderPages(ops, self.root / "patches", use_git=False),
                now=Clock().now,
                publish=publish,
                queries=Engine(self.storage),
            )
        )
        return Source(
            book=self.handbook.current,
            now=self.clock.now,
            runbooks=self.runbooks,
            incidents=self.incidents,
            postmortems=self.postmortems,
        )


@pytest.fixture
def house() -> Iterator[Written]:
    made = Written()
    try:
        made.address = made.serve()
        yield made
    finally:
        made.end()


@pytest.fixture
def browse(house: Written) -> Iterator[Browse]:
    opened: list[httpx.Client] = []

    def browsing(person: str) -> httpx.Client:
        cookies = {"opsbook_session": house.cookie(person)}
        headers = {"accept": "text/html", "origin": house.address}
        opened.append(httpx.Client(base_url=house.address, cookies=cookies, headers=headers, timeout=20))
        return opened[-1]

    yield browsing
    for client in opened:
        client.close()


def form(client: httpx.Client, path: str) -> dict[str, str]:
    """The hidden fields of a page's form, and its text."""
    page = client.get(path).text.partition("<main>")[2]
    found = dict(re.findall(r'type="hidden" name="([\w.]+)" value="([^"]*)"', page))
    text = re.search(r"<textarea[^>]*>\n?(.*?)</textarea>", page, re.DOTALL)
    return found | ({"text": html.unescape(text[1])} if text else {})


def test_written_read_and_complete(house: Written, browse: Browse) -> None:
    """The page says that there is none; then it is there, its words are words, and somebody says it is complete."""
    client = browse("ana")
    assert "There is no post-mortem of inc-7" in client.get(PAGE).text
    assert 303 == client.post(f"{PAGE}/write", data=form(client, f"{PAGE}/write")).status_code
    page = client.get(PAGE).text
    assert "web 2.2 went live" in page
    assert "<script>alert" not in page
    assert "opsbook:summary" not in page
    assert "draft" in page
    assert f'href="/handbook/{house.postmortems.show("inc-7")["path"]}"' in page
    assert 303 == client.post(f"{PAGE}/finish", data=form(client, f"{PAGE}/finish")).status_code
    assert "complete" in client.get(PAGE).text
    assert 'id="button-finish"' not in client.get(PAGE).text


def test_nobodys_changes_are_overwritten(house: Written, browse: Browse) -> None:
    """Whoever saves second keeps what they typed, and sees what the page says by now."""
    house.postmortems.write("inc-7", "opsbook")
    ana, ben = browse("ana"), browse("ben")
    of_ana, of_ben = form(ana, f"{PAGE}/edit"), form(ben, f"{PAGE}/edit")
    saved = ana.post(f"{PAGE}/edit", data={**of_ana, "text": of_ana["text"] + "\nWritten by Ana.\n"})
    assert (303, PAGE) == (saved.status_code, saved.headers["location"])
    late = ben.post(
        f"{PAGE}/edit", data={**of_ben, "text": of_ben["text"] + "\nWritten by Ben </textarea>.\n"}
    )
    assert 409 == late.status_code
    assert "somebody has changed the page meanwhile" in late.text
    assert "Written by Ben &lt;/textarea&gt;." in late.text
    assert "Written by Ana." in late.text
    text = house.postmortems.show("inc-7")["text"]
    assert ("Written by Ana." in text, "Written by Ben" in text) == (True, False)


def test_a_page_that_would_be_about_nothing_is_refused(house: Written, browse: Browse) -> None:
    """Its front matter has to say which incident it is about; what was typed stays in the form."""
    house.postmortems.write("inc-7", "opsbook")
    client = browse("ana")
    answer = client.post(f"{PAGE}/edit", data={**form(client, f"{PAGE}/edit"), "text": "No head at all."})
    assert 422 == answer.status_code
    assert "which incident it is about" in answer.text
    assert "No head at all." in answer.text


def test_who_may_not_write_it(house: Written, browse: Browse) -> None:
    """They read it; the editor says why it does not save."""
    house.postmortems.write("inc-7", "opsbook")
    client = browse("dora")
    assert "web 2.2 went live" in client.get(PAGE).text
    fields = form(client, f"{PAGE}/edit")
    assert "dora may not run runbooks" in client.get(f"{PAGE}/edit").text
    for verb in ("edit", "write", "finish", "lesson"):
        assert 403 == client.post(f"{PAGE}/{verb}", data={**fields, "text": "x"}).status_code
    assert 404 == client.get("/incidents/inc-8/postmortem").status_code


def test_the_plot_stands_in_the_page(house: Written, browse: Browse) -> None:
    """Where something was measured; nothing in it could run. Without samples its address says so."""
    client = browse("ana")
    house.postmortems.write("inc-7", "opsbook")
    assert 404 == client.get(f"{PAGE}/plot.svg").status_code
    House.measure(house)  # type: ignore[arg-type]  # it asks for the storage only
    house.postmortems.write("inc-7", "opsbook")
    assert f'<img src="{PAGE}/plot.svg"' in client.get(PAGE).text
    answer = client.get(f"{PAGE}/plot.svg")
    assert (200, "image/svg+xml") == (answer.status_code, answer.headers["content-type"].partition(";")[0])
    assert "sandbox" in answer.headers["content-security-policy"]
