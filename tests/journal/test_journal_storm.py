"""Many events and documents in one transaction."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsbook.errors import Invalid
from opsbook.journal import Entry, Journal, register

register("test.stormed", "Something happened often.", {"number": "which one"})


class Clock:
    def now(self) -> float:
        return 1000.0


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(tmp_path / "journal.sqlite", keys=tmp_path / "keys", clock=Clock())


def entries(count: int) -> list[Entry]:
    return [Entry("test.stormed", "production/web", {"number": n}, "opsbook") for n in range(count)]


def test_a_storm_is_chained_as_if_it_had_come_one_by_one(journal: Journal) -> None:
    """Ten thousand events and as many documents are one transaction, and the chain verifies."""
    with journal:
        journal.append("test.stormed", "production/web", {"number": -1}, actor="opsbook")
        journal.state.put("storm/1", "old")
        found = journal.append_all(entries(10_000), put={f"storm/{n}": {"number": n} for n in range(10_000)})
        assert 10_001 == found[-1].id
        assert journal.verify().ok
        assert {"number": 1} == journal.state.get("storm/1")
        assert 10_000 == len(journal.state.items("storm/"))


def test_nothing_of_a_storm_is_written_when_one_event_is_wrong(journal: Journal) -> None:
    """All or nothing."""
    with journal:
        wrong = Entry("test.unknown", "production/web", {}, "opsbook")
        with pytest.raises(Invalid):
            journal.append_all([*entries(3), wrong], put={"storm/1": 1})
        assert (0, None) == (journal.head().id, journal.state.get("storm/1"))


def test_documents_alone_can_be_written_and_deleted_in_bulk(journal: Journal) -> None:
    """None deletes, in bulk too."""
    with journal:
        journal.append_all([], put={f"storm/{n}": n for n in range(20)})
        journal.append_all([], put={f"storm/{n}": None for n in range(19)})
        assert {"storm/19": 19} == journal.state.items("storm/")
