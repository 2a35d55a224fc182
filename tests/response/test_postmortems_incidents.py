"""From the alert to the page, with the real room of incidents: nothing in between is made up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from postmortem_house import START, House

from opsbook.response.incidents.room import Incidents
from opsbook.response.postmortems.room import Postmortems

POLICY = "status_page: {to: ../public, services: {web: Web shop}}\n"


@dataclass(frozen=True, slots=True)
class Heard:
    """An alert as it comes in."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float | None = None


class Whole(House):
    """The house with real incidents."""

    def open(self) -> Postmortems:
        self.incidents = Incidents(self.book, self.journal, now=self.clock.now)
        self.desk = self.incidents  # type: ignore[assignment]
        return super().open()

    def until(self, wanted: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not wanted():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Whole]:
    made = Whole(tmp_path, {"incidents/policy.yaml": POLICY})
    made.room.start()
    yield made
    made.close()


def test_the_whole_way(house: Whole) -> None:
    """An alert opens it, customers are told, it is resolved: the page is there, and the incident knows of it."""
    house.measure()
    house.clock.at = START + 25
    labels = {
        "alertname": "HighErrorRate",
        "service": "web",
        "environment": "production",
        "severity": "critical",
    }
    heard = Heard("f1", labels, {"summary": "web answers with errors", "runbook": "storefront"}, START + 20)
    (opened,) = house.incidents.receive([heard], [])
    name = opened.id
    house.clock.at += 60
    house.incidents.acknowledge(name, "ana")
    house.incidents.note(name, "the new release | is <b>broken</b>", "ana")
    house.incidents.update(name, "Orders fail for some of you.", True, "ana")
    public = house.folder / "public" / "index.html"
    house.until(lambda: public.exists() and "Orders fail for some of you." in public.read_text())
    house.clock.at = START + 600
    house.incidents.resolve(name, "ana", reason="rolled back")
    house.until(lambda: bool(house.incidents.get(name).postmortem))
    found = house.incidents.get(name)
    text = house.read(found.postmortem)
    assert f"incident: {name}\n" in text
    assert "the new release \\| is &lt;b&gt;broken&lt;/b&gt; | ana |" in text
    assert "acknowledged by ana" in text
    assert "requests failed" in text
    assert found.impact is not None
    assert found.impact["services"][0]["service"] == "web"
    house.until(lambda: "Everything works" in public.read_text())
    house.incidents.add_action(name, "Add a canary", "ben", "2025-12-01", "ana")
    house.until(
        lambda: "- [ ] Add a canary (owner: ben, due: 2025-12-01) `a1`" in house.read(found.postmortem)
    )
    house.incidents.reopen(name, "again", "ana")
    house.clock.at += 60
    house.incidents.resolve(name, "ana")
    house.until(lambda: "Opened again once." in house.read(found.postmortem))
    house.room.close()  # which finishes what it is writing
    assert house.git("status", "--porcelain") == ""
    subjects = house.git("log", "--format=%s").split("\n")
    assert set(subjects) == {"begin", f"Write the post-mortem of {name}"}
    assert [one.text for one in house.room.actions()] == ["Add a canary"]


def test_a_crash_leaves_it_to_the_next_start(house: Whole) -> None:
    """An incident that was resolved while nobody was there gets its page after the start."""
    house.room.close()
    made = house.incidents.declare("Orders fail", "SEV1", "production", ["web"], "ana")
    house.incidents.resolve(made.id, "ana")
    house.room = house.open()
    house.room.start()
    house.until(lambda: bool(house.incidents.get(made.id).postmortem))
    assert "No alert fired: ana declared it" in house.read(house.incidents.get(made.id).postmortem)
