"""The summary for who comes next, from a real journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from escalation_house import START, House

import opsbook.deployment.events
from opsbook.response.oncall.handover import HandOver, markdown
from opsbook.response.oncall.plan import by_layer

assert opsbook.deployment.events  # registers the kinds that a summary tells of
DAY = 86_400.0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path)
    yield found
    found.close()


def shift_of(house: House) -> HandOver:
    """A week in which one incident is answered at night, and one is open still."""
    night = START + 2 * DAY + 14 * 3600  # 23:00
    house.clock.at = night
    house.room.begin(house.open(title="<b>web</b> is *down* | `rm`"))
    house.room.tick()
    house.clock.at = night + 120
    house.room.acknowledge("inc-1", "ana")
    house.incidents.change("inc-1", state="resolved")
    house.clock.at = START + 7 * DAY - 3600
    house.room.begin(house.open("inc-2"))
    house.room.tick()
    gone = {"id": "d-1", "version": "2.2", "kind": "deploy", "reason": "p95 412 ms", "seconds": 12}
    house.journal.append("deployment.rolled_back", "production/web", gone, actor="opsbook")
    house.oncall.override("on-call", "ben", START + 8 * DAY, START + 9 * DAY, reason="swap", actor="ana")
    return house.oncall.handover()


def test_what_there_is_to_know(house: House) -> None:
    """From whom to whom, what is open, how often people were woken, what did not go well, what lies ahead."""
    found = shift_of(house)
    assert (("ana",), ("ben",)) == (found.shift.people, found.following.people if found.following else ())
    assert ["inc-2"] == [one.incident for one in found.open]
    assert [("inc-1", 1, "ana", 120.0, "resolved"), ("inc-2", 1, "", None, "")] == [
        (one.incident, one.pages, one.answered_by, one.answered_after, one.state) for one in found.incidents
    ]
    assert (2, 1, 120.0) == (found.pages, found.night, found.median_answer)
    assert {"rolled_back": 1} == found.changes
    assert ["production/web 2.2 rolled back: p95 412 ms"] == list(found.trouble)
    assert ["ben"] == [one.person for one in found.overrides]


def test_what_was_opened_again_is_as_bad_as_it_is_now(house: House) -> None:
    """Not as it was when its first page went out, nor said to be over."""
    house.clock.at = START + 2 * DAY
    house.room.begin(house.open())
    house.room.tick()
    house.incidents.change("inc-1", state="resolved")
    house.incidents.change("inc-1", state="active", severity="SEV3", reopened=1)
    found = house.oncall.handover()
    assert [("inc-1", "SEV3", "open again")] == [
        (one.incident, one.severity, one.state) for one in found.incidents
    ]


def test_as_a_page(house: House) -> None:
    """What comes from alerts is text in it and nothing else."""
    text = markdown(shift_of(house))
    assert "\\<b\\>web\\</b\\> is \\*down\\* \\| \\`rm\\`" in text
    assert "2 incidents, 2 pages, 1 of them at night, answered after 2m 0s (median)." in text
    assert "## Open now" in text


def test_who_has_just_taken_over(house: House) -> None:
    """Is told of the shift before."""
    shift_of(house)
    house.clock.at = START + 7 * DAY + 600
    found = house.oncall.handover("on-call")
    assert (("ana",), ("ben",)) == (found.shift.people, found.following.people if found.following else ())
    house.clock.at = START + 7 * DAY + 3 * 3600
    assert ("ben",) == house.oncall.handover("on-call").shift.people


def test_who_may_see_only_some(house: House) -> None:
    """Is told of those only."""
    shift_of(house)
    found = house.oncall.handover(visible=frozenset({"staging"}))
    assert ((), (), {}) == (found.open, found.incidents, dict(found.changes))


def test_layers_by_themselves(house: House) -> None:
    """Each as if there were no other, cut to the stretch."""
    (schedule,) = house.book.schedules
    ((name, shifts),) = by_layer(schedule, START + DAY, START + 10 * DAY)
    assert "weekly" == name
    assert [(START + DAY, START + 7 * DAY), (START + 7 * DAY, START + 10 * DAY)] == [
        (one.start, one.end) for one in shifts
    ]
