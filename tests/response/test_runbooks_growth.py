"""Thousands of runs: found without reading the others, judged by what outlives them, forgotten in small parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsbook.journal import Journal
from opsbook.response.runbooks.evidence import JUDGED, Evidence
from opsbook.response.runbooks.model import Run, Step, number_of
from opsbook.response.runbooks.records import (
    Records,
    evidence_key,
    found_by,
    output_key,
    page_key,
    run_key,
)

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
