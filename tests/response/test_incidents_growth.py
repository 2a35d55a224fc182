"""Incidents of hundreds of alerts, and hundreds of incidents: what a change writes, and what a restart reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from incident_house import START, House, alert

from opsbook.response.incidents.model import Incident, IncidentAlert
from opsbook.response.incidents.placing import ALERTS, changes, placed
from opsbook.response.incidents.records import PREFIX

DAY = 86_400.0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def kept(fingerprint: str, ended_at: float | None = None) -> IncidentAlert:
    return IncidentAlert(fingerprint, {"alertname": fingerprint}, started_at=1.0, ended_at=ended_at)


def test_an_alert_keeps_its_place_and_one_that_comes_again_gets_the_last() -> None:
    """What stays as it was is not written."""
    before = placed({}, [kept("a"), kept("b"), kept("c")])
    assert [1, 2, 3] == [place for place, _ in before.values()]

    after = placed(before, [kept("a"), kept("c", 9.0), kept("b")])
    assert {"a": 1, "c": 3, "b": 4} == {name: place for name, (place, _) in after.items()}
    written = changes(7, before, after)
    assert ["00000002", "00000003", "00000004"] == sorted(key.rpartition("/")[2] for key in written)
    assert written[f"{ALERTS}0000000007/00000002"] is None


def test_a_change_of_one_alert_does_not_write_the_others(house: House) -> None:
    """However many they are: an hour of flapping writes what flaps."""
    many = [alert(f"Alert{n}", host=f"h{n}") for n in range(100)]
    house.fire(*many)
    before = house.journal.state.items("incidents/")

    house.clock.at += 30
    house.end(alert("Alert7", host="h7", ends=house.clock.at))
    after = house.journal.state.items("incidents/")
    differ = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert {f"{ALERTS}0000000001/00000008"} == differ
    assert [] == after[f"{PREFIX}0000000001"]["alerts"]

    house.clock.at += 30
    house.fire(alert("Alert7", host="h7", at=house.clock.at))
    assert 100 == len(house.journal.state.keys(ALERTS))


def test_a_restart_reads_the_alerts_in_their_order(house: House) -> None:
    """Also when one of them came again, and with what became of each."""
    house.fire(*(alert(f"Alert{n}", host=f"h{n}") for n in range(12)))
    house.clock.at += 30
    house.end(*(alert(f"Alert{n}", host=f"h{n}", ends=house.clock.at) for n in (3, 5)))
    house.clock.at += 30
    house.fire(alert("Alert3", host="h3", at=house.clock.at))
    before = house.room.get("inc-1")
    assert "Alert3" == before.alerts[-1].name

    house.again()
    assert before == house.room.get("inc-1")
    assert 11 == len(house.room.get("inc-1").firing)
    house.end(alert("Alert0", host="h0", ends=house.clock.at))
    changed = house.room.get("inc-1")
    house.again()
    assert changed == house.room.get("inc-1")


def test_an_incident_that_has_its_alerts_in_its_own_document_is_read_as_well(house: House) -> None:
    """As an earlier version wrote it; the next change puts them apart."""
    old = Incident(
        id="inc-4", title="web fails", environment="production", services=("web",), state="active",
        started_at=START, declared_at=START, alerts=(kept("a"), kept("b")),
    )  # fmt: skip
    house.journal.append_all((), put={f"{PREFIX}0000000004": old.to_json()})
    house.again()
    assert old == house.room.get("inc-4")

    noted = house.room.acknowledge("inc-4", "ana")
    assert 2 == len(house.journal.state.keys(ALERTS))
    house.again()
    assert noted == house.room.get("inc-4")
    assert ["inc-5"] == house.fire(alert("Other", "mail"))


def test_of_many_that_are_over_the_right_one_is_opened_again(house: House) -> None:
    """The newest that had the alert, when it was over a moment ago; else it is a new one."""
    for n in range(30):
        house.fire(alert(f"Alert{n % 3}", "mail", at=house.clock.at))
        house.room.resolve(f"inc-{n + 1}", "ana")
        house.end(alert(f"Alert{n % 3}", "mail", ends=house.clock.at))
        house.clock.at += DAY
    house.again()
    assert [] == house.room.listed("open")

    house.clock.at -= DAY - 60
    assert ["inc-30"] == house.fire(alert("Alert2", "mail", at=house.clock.at))
    assert ["inc-31"] == house.fire(alert("Alert1", "web", at=house.clock.at))
    assert ["inc-31", "inc-30"] == [one.id for one in house.room.listed("open")]
    assert ["inc-31", "inc-30"] == [one.id for one in house.room.waiting()]


def test_what_cannot_be_written_changes_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what is open, nor where alerts are kept: the same again is the same as at first."""
    house.fire(alert("First"))
    with monkeypatch.context() as broken:
        broken.setattr(house.journal, "append_all", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            house.fire(alert("Second", "mail"))
    assert ["inc-1"] == [one.id for one in house.room.listed("open")]
    assert ["inc-2"] == house.fire(alert("Second", "mail"))
    house.again()
    assert ["Second"] == [one.name for one in house.room.get("inc-2").alerts]
