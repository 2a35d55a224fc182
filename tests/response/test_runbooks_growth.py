"""Thousands of runs: found without reading the others, judged by what outlives them, forgotten in small parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import runbook_house

from opsbook.book import TextFiles, load
from opsbook.journal import Journal
from opsbook.response.runbooks.evidence import JUDGED, Evidence
from opsbook.response.runbooks.kinds import ENDED
from opsbook.response.runbooks.model import Run, Step, number_of
from opsbook.response.runbooks.records import (
    Records,
    evidence_key,
    found_by,
    output_key,
    page_key,
    run_key,
)
from opsbook.response.runbooks.retention import Retention, Rule
from opsbook.response.runbooks.room import Runbooks
from opsbook.response.runbooks.site import Site

START = 1_763_712_000.0
DAY = 86_400.0


class Clock:
    """Stands where it is put."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> float:
        return self.at


def run_of(number: int, page: str = "p", **changes: Any) -> Run:
    """One that has ended; each a minute after the one before."""
    at = START + number * 60.0
    step = Step(step="a", role="run", number=1, state="ok", started_at=at, ended_at=at + 5)
    run = Run(
        id=f"run-{number}", page=page, title=page, commit="c", digest=f"text-of-{page}", params={}, lock=page,
        requested_by="ana", requested_at=at, state="ended", outcome="succeeded", started_at=at,
        ended_at=at + 10, steps=(step,),
    )  # fmt: skip
    return run.but(**changes)


def kept(journal: Journal, *runs: Run) -> None:
    """These runs, as the room keeps them."""
    records, put = Records(journal), dict[str, Any]()
    evidence = records.every_evidence()
    for run in runs:
        evidence[run.page] = evidence.get(run.page, Evidence()).begun(run)
        put |= {run_key(run.id): run.to_json(), **found_by(run), page_key(run.digest): f"# {run.page}\n"}
        put[output_key(run.id, 1)] = {"text": "done", "dropped": 0, "sensitive": False}
    put |= {evidence_key(page): one.to_json() for page, one in evidence.items()}
    journal.append_all((), put=put)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal.sqlite", keys=tmp_path / "keys", clock=clock) as opened:
        yield opened


def ids(runs: list[Run]) -> list[int]:
    return [number_of(run.id) for run in runs]


def test_the_newest_runs_come_first_however_many_there_are(journal: Journal) -> None:
    """Also past a power of ten, of all pages or of one whose name begins another's."""
    kept(journal, *(run_of(n, "p" if n % 3 else "p/q") for n in range(1, 1201)))
    records = Records(journal)

    assert [1200, 1199, 1198] == ids(records.runs(limit=3))
    assert [1199, 1198, 1196] == ids(records.runs(page="p", limit=3))
    assert [1200, 1197] == ids(records.runs(page="p/q", limit=2))
    assert list(range(1200, 0, -1)) == ids(records.runs(limit=5000))
    assert 800 == len(records.runs(page="p", limit=5000))
    assert [] == records.runs(page="none")


def test_runs_are_looked_for_among_the_newest(journal: Journal) -> None:
    """Those that are wanted, and how many more there are."""
    kept(journal, *(run_of(n, outcome="failed" if n % 10 == 0 else "succeeded") for n in range(1, 301)))

    found, more = Records(journal).search(lambda run: run.outcome == "failed", limit=2)
    assert ([300, 290], 28) == (ids(found), more)
    assert "a" == found[0].steps[0].step
    every, more = Records(journal).search(None, limit=2)
    assert ([300, 299], 298) == (ids(every), more)
    assert 298 == Records(journal).search(None, page="p", limit=2)[1]
    assert [300] == ids(Records(journal).runs(limit=1, wanted=lambda run: run.outcome == "failed"))


def test_the_run_before_is_the_one_of_the_same_page_that_has_ended(journal: Journal) -> None:
    """One that goes on is none, and neither is another page's."""
    kept(journal, run_of(1), run_of(2, state="running", outcome=None), run_of(3, "q"), run_of(4))

    before = Records(journal).previous(run_of(4))
    assert before is not None
    assert "run-1" == before.id
    assert Records(journal).previous(run_of(1)) is None


@pytest.mark.parametrize("name", ["run-", "run-0", "run-01", "run-x", "7", "", "run-99999999999", "run-²"])
def test_what_is_no_id_of_a_run_is_no_run(journal: Journal, name: str) -> None:
    """Whatever somebody asks for is not found, rather than taken for another."""
    kept(journal, run_of(1), run_of(7))

    assert 0 == number_of(name)
    assert {} == Records(journal).several([name])


def test_a_page_is_judged_by_its_newest_runs_that_say_something(journal: Journal) -> None:
    """Fifty of them; the last one is told whatever became of it; looks and wishes to end do not count."""
    evidence = Evidence()
    for n in range(1, 101):
        evidence = evidence.begun(run_of(n, outcome="failed" if n % 2 else "succeeded"))
    evidence = evidence.begun(run_of(101, outcome="cancelled"))
    evidence = evidence.begun(run_of(102, state="running", outcome=None, ended_at=None))
    evidence = evidence.begun(run_of(103, looking=True))

    view = evidence.view()
    assert (102, "run-102", None) == (view["runs"], view["last"]["id"], view["last"]["outcome"])
    assert (0.5, 10.0) == (view["success_rate"], view["median_seconds"])
    assert JUDGED + 1 == len(evidence.seen)


def test_a_run_that_ends_late_or_twice_counts_once() -> None:
    """It is judged where it belongs, and not at all while it goes on after its end."""
    first = run_of(1, state="running", outcome=None, ended_at=None)
    evidence = Evidence().begun(first).begun(run_of(2, outcome="failed"))
    evidence = evidence.changed(run_of(1))
    assert (2, 0.5, "run-2") == (evidence.runs, evidence.view()["success_rate"], evidence.last)

    going_on = evidence.changed(run_of(2, state="running", outcome=None, ended_at=None))
    assert 1.0 == going_on.view()["success_rate"]
    again = going_on.changed(run_of(2))
    assert (2, 1.0) == (again.runs, again.view()["success_rate"])


def test_runs_of_an_earlier_version_are_found_after_the_upgrade(journal: Journal) -> None:
    """Under the keys of now, with the evidence that they give; once."""
    old = {f"runbooks/run/{run.id}": run.to_json() for run in (run_of(n) for n in range(1, 451))}
    journal.append_all((), put=old)

    records = Records(journal)
    assert 450 == records.upgrade()
    assert 0 == records.upgrade()
    assert [450, 449] == ids(records.runs(limit=2))
    assert [450, 449] == ids(records.runs(page="p", limit=2))
    assert "run-7" == records.run("run-7").id
    assert (450, "run-450") == (records.evidence("p").runs, records.evidence("p").last)
    assert not journal.state.keys("runbooks/run/run-")


# --- forgetting


class Durable:
    """Durable work that nobody asks for here."""

    def workflow(self, name: str, function: object) -> None:
        del name, function

    def collect(self, older_than_seconds: float) -> int:
        del older_than_seconds
        return 0


class House:
    """A room over a journal in which runs have come together."""

    def __init__(self, journal: Journal, clock: Clock, *, settings: str = "", **site: Any) -> None:
        pages = {f"runbooks/{name}.md": f"---\ntitle: {name}\n---\n" for name in ("p", "q")}
        cover = f"name: shop\nowner: ana\ncontacts: {{ana: {{email: ana@example.com}}}}\n{settings}"
        self.book = load(TextFiles.of({"opsbook.yaml": cover, **pages}))
        stands: Any = {"durable": Durable(), "places": None, "clock": clock, "journal": journal}
        self.site = Site(book=lambda: self.book, **stands, **site)
        self.room = Runbooks(self.site)
        self.records, self.look = self.room.records, self.room.retention.look

    def ids(self) -> list[int]:
        return ids(self.records.runs(limit=5000))


def test_runs_are_forgotten_once_their_time_is_over(journal: Journal, clock: Clock) -> None:
    """With their output and the text that none needs any more; how they went stays, and so do their events."""
    kept(journal, *(run_of(n) for n in range(1, 131)), *(run_of(n, "q") for n in range(131, 141)))
    journal.append(ENDED.name, "runbook/p", {"id": "run-1"}, actor="opsbook")
    house = House(journal, clock, settings="runbooks: {retention: 2d}\n")
    before = house.records.evidence("p").view()

    clock.at = START + 120 * 60.0 + 10 + 2 * DAY
    assert 119 == house.look()
    assert list(range(140, 119, -1)) == house.ids()
    assert before == house.records.evidence("p").view()
    assert "" == house.records.output("run-1", 1)["text"]
    assert "done" == house.records.output("run-120", 1)["text"]
    assert ["runbook.ended"] == [one.kind for one in journal.events(kinds=["runbook.ended"])]
    told = [one.data for one in journal.events(kinds=["runbook.forgotten"])]
    assert (119, "run-1") == (sum(one["runs"] for one in told), told[0]["first"])
    assert 0 == house.look()


def test_the_last_run_of_a_page_is_kept_and_the_texts_of_those_that_are(
    journal: Journal, clock: Clock
) -> None:
    """However old it is: evidence names it. A text that no run was started with goes, also one that a crash left."""
    kept(journal, *(run_of(n) for n in range(1, 4)), run_of(4, "q", digest="old"), run_of(5, "q"))
    journal.append_all((), put={page_key("left"): "# left\n"})
    house = House(journal, clock)

    clock.at = START + 2000 * DAY
    assert 3 == house.look()
    assert [5, 3] == house.ids()
    assert {page_key("text-of-p"), page_key("text-of-q")} == house.records.texts()


def test_what_goes_on_and_what_belongs_to_an_incident_is_kept(journal: Journal, clock: Clock) -> None:
    """As long as the incident is; whether the run says so or the incident does."""
    kept(
        journal,
        run_of(1, state="paused", outcome=None, ended_at=None),
        run_of(2, incident="inc-1"),
        run_of(3),
        run_of(4, incident="inc-9"),
        run_of(5),
    )
    incidents = {"inc-1": (), "inc-2": ("run-3",)}
    house = House(journal, clock, incident_runs=lambda: incidents)

    clock.at = START + 2000 * DAY
    assert 1 == house.look()
    assert [5, 3, 2, 1] == house.ids()
    incidents.clear()
    assert 2 == house.look()
    assert [5, 1] == house.ids()


def test_a_crash_leaves_each_run_whole_or_gone(journal: Journal, clock: Clock) -> None:
    """Whether it comes before a batch or after it; the next look does the rest."""
    kept(journal, *(run_of(n) for n in range(1, 121)))
    places: list[str] = []

    class Crash(BaseException):
        pass

    def boundary(place: str) -> None:
        places.append(place)
        if len(places) in {1, 4}:
            raise Crash

    house = House(journal, clock, boundary=boundary)
    clock.at = START + 2000 * DAY
    with pytest.raises(Crash):
        house.look()
    assert 120 == len(house.ids())
    with pytest.raises(Crash):
        house.look()
    assert 120 > len(left := house.ids())
    outputs = {key.split("/")[2] for key in journal.state.keys("runbooks/output/")}
    assert {f"run-{n}" for n in left} == outputs
    assert len(left) - 1 == house.look()
    assert [120] == house.ids()


def test_a_run_that_somebody_has_go_on_meanwhile_is_kept(journal: Journal, clock: Clock) -> None:
    """What was seen to be over may not be so any more when it is written: it is looked at again under the lock."""
    kept(journal, run_of(1, outcome="failed"), run_of(2), run_of(3))
    house = House(journal, clock)
    again = run_of(1, state="running", outcome=None, ended_at=None)

    class Lock:
        def __enter__(self) -> None:
            journal.append_all((), put={run_key("run-1"): again.to_json()})

        def __exit__(self, *error: object) -> None:
            pass

    clock.at = START + 2000 * DAY
    assert 1 == Retention(house.site, house.records, Lock()).look()
    assert [3, 1] == house.ids()


def test_a_page_that_rests_longer_than_runs_are_kept_is_not_forgotten(journal: Journal, clock: Clock) -> None:
    """Else an alert would start it again too soon."""
    rule = Rule(now=START + 10 * DAY, retention=DAY, rests={"p": 20 * DAY}, last=(), incidents={})
    assert not rule.forgets(run_of(1))
    assert rule.forgets(run_of(1, "q"))


def test_durable_work_of_what_has_ended_is_needed_by_nobody(tmp_path: Path) -> None:
    """A real room whose runs and their work are forgotten goes on with the next run."""
    house = runbook_house.House(tmp_path, {"p": "## Steps\n```bash run id=a risk=read\ntrue\n```\n"})
    try:
        first, last = house.go("p"), house.go("p")
        house.journal.append_all(
            (), put={run_key(first.id): first.but(ended_at=60.0, requested_at=50.0).to_json()}
        )
        house.durable.wait(first.id, 20)
        assert 1 == house.room.retention.look()
        assert [last.id] == [run.id for run in house.room.records.runs()]
        assert 2 == house.durable.collect(-5)
        assert house.durable.status(first.id) is None
        again = house.go("p")
        assert ("succeeded", 3) == (again.outcome, house.room.records.evidence("p").runs)
    finally:
        house.close()
