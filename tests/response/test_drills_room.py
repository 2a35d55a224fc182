"""Results of drills as evidence, those on a schedule, and what others are told of them; no drill is run here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from drill_house import COVER, PAGE
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from opsbook.book import Book, TextFiles, load
from opsbook.book.roles import Grant
from opsbook.errors import Failed, NotFound, OpsbookError, Unreachable
from opsbook.journal import Event, Journal
from opsbook.response.drills.api import router
from opsbook.response.drills.model import Result
from opsbook.response.drills.room import KEPT, Drills
from opsbook.response.drills.schedule import Schedule, in_a_process
from opsbook.response.drills.words import in_a_cell, in_a_line, verdict
from opsbook.response.pages.states import Condition
from opsbook.response.pages.tested import evidence
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.room import local_operator
from opsbook.world.hosts.clock import SystemClock

DAY = 86_400.0


def handbook(page: str = PAGE, every: str = "30d") -> Book:
    """A handbook of two pages, both of which are drilled on a schedule."""
    return load(
        TextFiles.of(
            {
                "opsbook.yaml": COVER,
                "runbooks/switch.md": page,
                "runbooks/other.md": PAGE,
                "incidents/policy.yaml": f"drills: {{pages: [switch, other], every: {every}}}\n",
            }
        )
    )


class House:
    """Drills over a real journal, a handbook that can be changed and a clock that is set."""

    def __init__(self, folder: Path) -> None:
        self.now, self.book = 1_000_000.0, handbook()
        self.journal = Journal.open(folder / "journal.sqlite", keys=folder / "keys", clock=SystemClock())
        self.drills = Drills(
            lambda: self.book,
            self.journal,
            now=lambda: self.now,
            mask=lambda text: text.replace("s3cret", "***"),
        )
        self.log: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.outcome: dict[str, str] = {}
        self.run: list[str] = []
        self.broken: OpsbookError | None = None
        self.schedule = self.planned()

    def planned(self) -> Schedule:
        return Schedule(
            lambda: self.book,
            self.drills,
            now=lambda: self.now,
            rehearse=self.rehearse,
            tell=lambda page, why: self.told.append((page, why)),
            log=self.log.append,
        )

    def rehearse(self, page: str) -> Result:
        self.run.append(page)
        if self.broken is not None:
            raise self.broken
        return self.result(page=page, **self.outcome)

    def events(self) -> list[Event]:
        return list(self.journal.events(kinds=["drill.*"]))

    def result(self, **given: Any) -> Result:
        kept = {"page": "switch", "state": "passed", "digest": self.book.runbooks["switch"].digest}
        return Result.model_validate(kept | given)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.journal.close()


def test_results_are_kept_the_newest_first(house: House) -> None:
    """So many of each page, at this opsbook's time, without secrets; the journal has each of them."""
    for number in range(KEPT + 2):
        house.now += 1
        house.drills.record(house.result(state="failed", reason=f"{number} s3cret", at=5.0), "ana")
    found = house.drills.of("switch")
    assert (KEPT, f"{KEPT + 1} ***", house.now) == (len(found), found[0].reason, found[0].at)
    events = house.events()
    assert (KEPT + 2, "runbook/switch", "ana", "0 ***") == (
        len(events),
        events[0].subject,
        events[0].actor,
        events[0].data["reason"],
    )
    assert () == house.drills.of("other")


def test_a_result_of_a_page_that_is_not_there_is_refused(house: House) -> None:
    """Evidence stands beside a page."""
    with pytest.raises(NotFound):
        house.drills.record(house.result(page="gone"), "ana")


def test_evidence_is_of_the_page_as_it_is(house: House) -> None:
    """A page that has been changed since is said to be; one that is gone is left out."""
    house.drills.record(house.result(), "ana")
    assert house.drills.evidence()["switch"]["changed_since"] is False
    house.book = handbook(PAGE + "\nMore.\n")
    assert house.drills.evidence()["switch"]["changed_since"] is True


def test_a_drill_that_was_skipped_hides_none_that_was_not(house: House) -> None:
    """It says nothing of the page; where there is no other, that it was skipped is all that is known."""
    house.drills.record(house.result(state="skipped", reason="needs root"), "ana")
    assert "skipped" == house.drills.evidence()["switch"]["state"]
    house.drills.record(house.result(state="failed"), "ana")
    house.drills.record(house.result(state="skipped"), "ana")
    assert "failed" == house.drills.evidence()["switch"]["state"]


def test_the_console_and_the_terminal_say_how_it_went(house: House) -> None:
    """In the same words: passed, failed, skipped, or that the page is not the one that was tried."""
    results = {
        state + str(changed): {"state": state, "at": 5.0, "changed_since": changed}
        for state, changed in (("passed", False), ("passed", True), ("failed", True), ("skipped", False))
    }
    expected = [
        Condition("ok", "passed"),
        Condition("warning", "changed since"),
        Condition("critical", "failed"),
        Condition("paused", "skipped"),
    ]
    shown = evidence(results)
    assert expected == [one["condition"] for one in shown.values()]
    assert [one.word for one in expected] == [verdict(one) for one in results.values()]
    assert {5.0} == {one["at"] for one in shown.values()}
    house.drills.record(house.result(detect_seconds=2.04, fix_seconds=61.0), "ana")
    house.book = handbook(PAGE + "\nMore.\n")
    kept = house.drills.evidence()["switch"]
    assert "3d changed since" == in_a_cell(kept, house.now + 3 * DAY)
    assert "drilled 3d ago, passed, detected in 2.0s, fixed in 1m 1s; the page has been changed since" == (
        in_a_line(kept, house.now + 3 * DAY)
    )
    assert "never" == in_a_cell(None, house.now)


# --- on a schedule


def test_what_is_due_is_run_once(house: House) -> None:
    """At once when it never was, then after `every`; whoever ran it, and also after a restart."""
    house.schedule.look()
    assert ["switch", "other"] == house.run
    house.now += 20 * DAY
    house.drills.record(house.result(), "ana")
    house.now += 11 * DAY
    house.planned().look()
    assert ["switch", "other", "other"] == house.run
    assert "opsbook" == house.events()[-1].actor


def test_a_clock_that_was_set_back_stops_no_drill(house: House) -> None:
    """A result of the future is none to wait for."""
    house.schedule.look()
    house.now -= 365 * DAY
    house.planned().look()
    assert ["switch", "other"] * 2 == house.run


def test_a_drill_that_cannot_be_run_is_said_and_not_tried_at_once_again(house: House) -> None:
    """The others are run all the same."""
    house.broken = Failed("no room in /tmp")
    house.schedule.look()
    house.schedule.look()
    assert ["switch", "other"] == house.run
    assert ["the drill of switch could not be run: no room in /tmp"] == house.log[:1]
    assert ("switch", "it could not be run: no room in /tmp") == house.told[0]
    house.now += 31 * DAY
    house.broken = None
    house.schedule.look()
    assert "passed" == house.drills.of("switch")[0].state


def test_whoever_answers_for_a_page_is_told_that_it_failed(house: House) -> None:
    """Once each time, with what went wrong; of one that passed or was skipped nobody hears."""
    house.outcome = {"state": "failed", "stage": "detect", "reason": "SwitchOn did not fire, s3cret"}
    house.schedule.look()
    assert ("switch", "detect: SwitchOn did not fire, ***") == house.told[0]
    assert ["switch", "other"] == [page for page, _ in house.told]
    house.schedule.look()
    for state in ("passed", "skipped"):
        house.outcome = {"state": state}
        house.now += 31 * DAY
        house.schedule.look()
    assert ["switch", "other"] == [page for page, _ in house.told]


def test_none_is_begun_after_the_end(house: House) -> None:
    """Stopping opsbook waits for no drill, and begins none."""
    house.schedule.start()
    house.schedule.close()
    house.schedule.look()
    assert [] == house.run


def test_a_store_that_is_away_ends_no_schedule(house: House) -> None:
    """What cannot be read now is said, and looked at again later."""

    def away() -> Book:
        raise Unreachable("the store is away")

    schedule = Schedule(
        away, house.drills, now=lambda: 0.0, rehearse=house.rehearse, tell=print, log=house.log.append
    )
    schedule.look()
    assert ["drills on a schedule: the store is away"] == house.log


def test_a_drill_in_a_process_is_that_of_the_command(tmp_path: Path) -> None:
    """A result is read from it; what it says when it cannot be run is the reason."""
    (tmp_path / "opsbook.yaml").write_text(COVER)
    with pytest.raises(Failed, match="there is no drill for gone"):
        in_a_process(tmp_path)("gone")


# --- the API


class Web:
    """Asks the routes, whoever is asking."""

    def __init__(self, drills: Drills) -> None:
        self.who = local_operator("ana")
        self._app = FastAPI()
        self._app.include_router(router(drills))
        self._app.dependency_overrides[signed_in] = lambda: self.who

        @self._app.exception_handler(OpsbookError)
        async def refused(_: Request, error: OpsbookError) -> JSONResponse:
            return JSONResponse({"error": error.message}, error.http_status)

    def get(self, path: str = "") -> Any:
        answer = asyncio.run(self._ask("GET", path))
        assert 200 == answer.status_code
        return answer.json()

    def post(self, body: Any) -> httpx.Response:
        return asyncio.run(self._ask("POST", "", json=body))

    async def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://opsbook") as client:
            return await client.request(method, f"/api/response/drills{path}", **given)


@pytest.fixture
def web(house: House) -> Web:
    return Web(house.drills)


def test_the_api_takes_results_and_gives_evidence(web: Web, house: House) -> None:
    """Written down by whoever sent it; what is too long or of no page is refused."""
    sent = web.post(house.result(detect_seconds=2.0).to_json())
    assert (201, house.now) == (sent.status_code, sent.json()["at"])
    assert "ana" == house.events()[-1].actor
    assert {"switch"} == web.get()["drills"].keys()
    assert [2.0] == [one["detect_seconds"] for one in web.get("/switch")["results"]]
    assert [] == web.get("/other")["results"]
    assert 404 == web.post(house.result(page="gone").to_json()).status_code
    assert 422 == web.post(house.result().to_json() | {"reason": "x" * 10_000}).status_code


def test_only_who_may_run_pages_records_results(web: Web, house: House) -> None:
    """Others may look."""
    web.who = Identity(name="vera", grants=(Grant(role="viewer"),), authenticated=True, via="token")
    assert {} == web.get()["drills"]
    assert 403 == web.post(house.result().to_json()).status_code
    assert () == house.drills.of("switch")
