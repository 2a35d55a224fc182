"""The room of escalation with a real journal: who is paged, what stops it, what outlives what."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from escalation_house import COVER, POLICY, START, House, Time

from opsbook.errors import Conflict, Failed, NotFound
from opsbook.response.escalation.model import Page

DAY = 86_400.0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path)
    yield found
    found.close()


@pytest.fixture
def building(tmp_path: Path) -> Iterator[Callable[..., House]]:
    made: list[House] = []

    def build(**given: object) -> House:
        made.append(House(tmp_path, **given))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for one in made:
        one.close()


def test_from_the_first_to_the_last(house: House) -> None:
    """Whoever is on call, then the lead, then the owner; the journal tells all of it."""
    house.room.begin(house.open())
    assert house.at(0) == ["ana-chat"]
    assert house.at(299) == []
    assert house.at(300) == ["lead-chat"]
    assert house.at(600) == ["cto-chat"]
    assert house.kinds() == ["begun", "paged", "paged", "exhausted", "paged"]
    assert house.at(600 + 1800) == ["cto-chat"]


def test_what_a_page_says(house: House) -> None:
    """What, where, since when, what changed, who is next, how to answer; nothing of it on two lines."""
    said = {"symptom": "5 % of\nrequests fail", "change": "2.2 went live", "runbook": "service-down"}
    house.room.begin(house.open(services=("web",), **said), not_before=START + 10)
    assert house.at(0) == []
    house.room.release("inc-1", diagnosis="health: 0 of 2 instances answer")
    assert house.at(0.1) == ["ana-chat"]
    (page,) = house.sent
    assert (page.person, page.severity, page.title) == ("ana", "SEV1", "SEV1 production web: web is down")
    for part in (
        "changed before: 2.2 went live",
        "opsbook run service-down",
        "next, without an answer: team-lead in 5m 0s",
        "https://ops.example.com/answer/",
        "opsbook ack inc-1",
        "health: 0 of 2 instances answer",
        "for 30.1s · inc-1",
    ):
        assert part in page.text
    assert page.url == "https://ops.example.com/incidents/inc-1"
    assert page.labels["runbook"] == "service-down"


def test_without_a_diagnosis_it_goes_out_all_the_same(house: House) -> None:
    """After the ten seconds that it was held for."""
    house.room.begin(house.open(), not_before=START + 10)
    assert house.at(9.9) == []
    assert house.at(10) == ["ana-chat"]


def test_who_is_on_call_is_asked_when_the_step_is_due(house: House) -> None:
    """The shift changes between the incident and the page."""
    week = 7 * DAY
    house.clock.at = START + week - 1
    house.room.begin(house.open())
    house.oncall.override("on-call", "ben", START + week - 10, START + week + 60, reason="", actor="ana")
    assert house.at(week) == ["ben-chat"]


def test_the_chain_is_the_one_that_held_when_it_began(house: House, building: Callable[..., House]) -> None:
    """Editing the handbook meanwhile changes nothing of it, also not after a restart."""
    house.room.begin(house.open())
    house.at(0)
    again = building(policy=POLICY.replace("team-lead", "cto"), clock=house.clock)
    again.incidents.known = house.incidents.known
    assert again.at(300) == ["lead-chat"]


def test_acknowledging(house: House) -> None:
    """It stops, the incident knows, and what runs out begins anew; acknowledging again counts from then."""
    house.room.begin(house.open())
    house.at(0)
    house.clock.at = START + 60
    house.room.acknowledge("inc-1", "ana")
    assert house.incidents.answers == [("inc-1", "ana")]
    assert house.at(300) == []
    house.clock.at = START + 1000
    house.room.acknowledge("inc-1", "ana")
    assert house.at(60 + 1800) == []
    assert house.at(1000 + 1800) == ["ana-chat"]
    assert "not solved since" in house.sent[-1].text
    assert house.kinds() == ["begun", "paged", "acknowledged", "acknowledged", "retriggered", "paged"]


def test_an_incident_that_is_acknowledged_elsewhere(house: House) -> None:
    """In the console, say: escalation follows. Solving ends it, opening again begins it anew."""
    house.room.begin(house.open())
    house.at(0)
    house.incidents.acknowledge("inc-1", "ben")
    assert house.room.get("inc-1").acknowledged_by == "ben"
    assert house.at(300) == []
    house.incidents.change("inc-1", state="resolved")
    assert house.at(4000) == []
    with pytest.raises(Conflict, match="over"):
        house.room.acknowledge("inc-1", "ana")
    house.incidents.change("inc-1", state="active", reopened=1, acknowledged_at=None)
    assert house.at(4001) == ["ana-chat"]
    with pytest.raises(NotFound):
        house.room.get("inc-2")


def test_an_alert_that_makes_it_worse_wakes_who_has_it(house: House) -> None:
    """The SEV3 was acknowledged and slept upon; a SEV1 is another matter, and the page says so."""
    house.room.begin(house.open(severity="SEV3", alerts=1))
    assert house.at(0) == ["ana-chat"]
    house.room.acknowledge("inc-1", "ana")
    house.incidents.change("inc-1", alerts=2)
    house.incidents.change("inc-1", severity="SEV4")
    assert house.at(400) == []
    house.incidents.change("inc-1", severity="SEV1", alerts=3)
    assert house.at(400) == ["ana-chat"]
    assert "it is SEV1 now, and was SEV4" in house.sent[-1].text
    assert house.at(700) == ["lead-chat"]


def test_a_person_who_says_that_it_is_worse_is_awake(building: Callable[..., House]) -> None:
    """Those are paged who are paged about incidents so bad, if they are others; else nobody."""
    house = building(policy=POLICY + "  - {name: everybody, steps: [{page: [cto, ben]}]}\n")
    house.room.begin(house.open(severity="SEV3"))
    assert house.at(0) == ["ana-chat"]
    house.room.acknowledge("inc-1", "ana")
    house.incidents.change("inc-1", severity="SEV2")
    assert house.at(60) == []
    house.incidents.change("inc-1", severity="SEV1", escalation="everybody")
    assert sorted(house.at(60)) == ["ben-chat", "cto-chat"]
    assert house.room.get("inc-1").chain.name == "everybody"


def test_late_news_of_what_is_over_wake_nobody(house: House) -> None:
    """Two people at once: what is told out of order does not begin it again."""
    before = house.open()
    house.room.begin(before)
    house.incidents.change("inc-1", state="resolved")
    house.room.follow(before)
    assert house.at(10) == []


def test_paging_the_next_by_hand(house: House) -> None:
    """At once, and the time of the one after begins then."""
    house.room.begin(house.open())
    house.at(0)
    house.clock.at = START + 20
    house.room.escalate("inc-1", "ana")
    assert house.sent[-1].channel == "lead-chat"
    assert house.at(319) == []
    assert house.at(320) == ["cto-chat"]


def test_nobody_is_on_call_tonight(building: Callable[..., House]) -> None:
    """The lead is paged at once."""
    house = building(policy=POLICY.replace("from: 2026-01-05T09:00", "from: 2027-01-05T09:00"))
    house.room.begin(house.open())
    assert house.at(0) == ["lead-chat"]
    assert house.kinds() == ["begun", "skipped", "paged"]


def test_nobody_at_all_can_be_reached(building: Callable[..., House]) -> None:
    """Every channel there is."""
    cover = "name: shop\nchannels: {one: {webhook: 'http://127.0.0.1:9/'}, two: {webhook: 'http://127.0.0.1:9/'}}\n"
    house = building(policy="{}", cover=cover)
    house.room.begin(house.open())
    assert house.at(0) == ["one", "two"]


def test_a_mail_server_that_is_down(house: House) -> None:
    """The person's next channel; when that does not work either, the next person soon."""
    house.room.begin(house.open())
    assert house.at(0) == ["ana-chat"]
    house.down = {"ana-chat"}
    assert house.at(1) == ["ana-sms"]
    house.down = {"ana-chat", "ana-sms"}
    assert house.at(14) == []
    assert house.at(16.1) == ["lead-chat"]


def test_a_channel_that_refuses(building: Callable[..., House]) -> None:
    """What cannot even be put into the outbox is a channel that fails."""
    taken: list[str] = []

    def send(channel: str, page: Page) -> None:
        if channel == "ana-chat":
            raise NotFound("there is no such channel")
        taken.append(channel)

    house = building(send=send)
    house.room.begin(house.open())
    house.at(0)
    assert taken == []
    house.at(1)
    assert taken == ["ana-sms"]
    assert "does not take a page" in house.log[0]


def test_the_store_is_down_during_an_escalation(house: House, tmp_path: Path) -> None:
    """People are paged all the same, once each; their answer counts; and all of it is written when it can be."""
    house.room.begin(house.open())
    house.at(0)
    with sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        house.incidents.down = True
        assert house.at(300) == ["lead-chat"]
        assert house.at(301) == []
        assert house.room.trouble
        assert house.watchdog.trouble
        house.room.acknowledge("inc-1", "ana")
        assert house.at(900) == []
        assert house.kinds() == ["begun", "paged"]
        other.execute("ROLLBACK")
    other.close()
    house.incidents.down = False
    house.room.tick()
    assert (house.room.trouble, house.kinds()) == ("", ["begun", "paged", "paged", "acknowledged"])
    assert house.incidents.answers == [("inc-1", "ana")]
    assert house.journal.verify().ok


def test_an_hour_of_downtime(house: House, building: Callable[..., House]) -> None:
    """One level at once, the next one after its full time."""
    policy = POLICY.replace("5m}]", "5m}, {page: cto, after: 5m}]")
    first = building(policy=policy)
    first.room.begin(first.open())
    first.at(0)
    again = building(policy=policy, clock=Time(), incidents=first.incidents)
    assert again.at(3600) == ["lead-chat"]
    assert again.at(3899) == []
    assert again.at(3900) == ["cto-chat"]


def test_what_was_solved_while_opsbook_was_not_there(house: House, building: Callable[..., House]) -> None:
    """Pages nobody; and an answer that the incident has not heard of is told."""
    house.room.begin(house.open())
    house.room.begin(house.open("inc-2"))
    house.at(0)
    house.incidents.told = lambda one: None
    house.incidents.change("inc-1", state="resolved")
    house.incidents.down = True
    house.room.acknowledge("inc-2", "ana")
    house.incidents.down = False
    again = building(clock=house.clock, incidents=house.incidents)
    assert again.at(900) == []
    assert again.room.get("inc-1").state == "ended"
    assert again.incidents.answers == [("inc-2", "ana")]


def test_the_watchdog(house: House) -> None:
    """What is late is told to the owner once; what was never begun is begun."""
    house.room.begin(house.open())
    house.at(0)
    house.clock.at = START + 300 + 61
    assert house.watchdog.look() == ("inc-1 is 1m 1s late: nobody has been paged when it was due",)
    assert [page.channel for page in house.sent] == ["ana-chat", "cto-chat"]
    assert "not escalated" in house.sent[-1].title
    assert "gone round" in house.watchdog.trouble
    house.watchdog.look()
    assert len(house.sent) == 2
    assert house.kinds()[-1] == "overdue"
    house.open("inc-2")
    assert len(house.watchdog.look()) == 1
    house.clock.at += 10
    assert house.watchdog.look()[-1] == "inc-2 is open, and nobody was paged about it"
    house.room.tick()
    assert {"inc-1", "inc-2"} == {page.incident for page in house.sent[-2:]}


def test_the_thread(tmp_path: Path) -> None:
    """Pages at once when an incident opens, and goes on by itself."""
    clock = Time(time.time())
    house = House(tmp_path, clock=clock)
    try:
        house.room.start()
        house.watchdog.start()
        clock.now = time.time  # type: ignore[method-assign]
        house.room.begin(house.open())
        deadline = time.monotonic() + 20
        while not house.sent:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        house.watchdog.close()
    finally:
        house.close()


def test_hostile_labels_stay_labels(house: House) -> None:
    """A megabyte, line breaks, right-to-left marks, lone surrogates: a page stays one that can be read."""

    class Alert:
        summary = "x\ud800\n\r\u202e\0" * 100_000

    class Suspect:
        text = "changed\n\nacknowledge: https://evil.example"

    class Incident:
        id, title, severity, state = "inc-9", "down\n" + "A" * 1_000_000, "SEV2", "triage"
        environment, services, runbook = "prod\nuction", ("we\0b",), "page\nacknowledge: https://evil.example"
        started_at, acknowledged_at, acknowledged_by, escalation, reopened = START, None, "", "", 0
        alerts, suspects = (Alert(),), (Suspect(),)

    house.room.begin(Incident())
    assert house.at(0) == ["ana-chat"]
    (page,) = house.sent
    assert len(page.text) < 3000
    assert len(page.title) <= 240
    assert "\n" not in page.title
    evil = [line for line in page.text.splitlines() if line.startswith("acknowledge: ")]
    assert [line.split("/answer/")[0] for line in evil] == ["acknowledge: https://ops.example.com"]
    page.text.encode()
    assert house.journal.verify().ok


def test_the_default_chain(building: Callable[..., House]) -> None:
    """On call, lead, CTO: a handbook that says nothing has it too."""
    house = building(policy=POLICY.partition("escalations:")[0], cover=COVER)
    house.room.begin(house.open())
    seen = [channel for seconds in (0, 300, 600) for channel in house.at(seconds)]
    assert seen == ["ana-chat", "lead-chat", "cto-chat"]


def test_two_at_once_do_no_harm(house: House) -> None:
    """Begun twice, acknowledged by two: one chain, and the last one has it."""
    subject = house.open()
    house.room.begin(subject)
    house.room.begin(subject)
    assert house.at(0) == ["ana-chat"]
    house.room.acknowledge("inc-1", "ana")
    house.room.acknowledge("inc-1", "ben")
    assert house.room.get("inc-1").acknowledged_by == "ben"


def test_what_is_long_over_is_forgotten(house: House) -> None:
    """After 90 days; what is open stays."""
    house.room.begin(house.open())
    house.room.begin(house.open("inc-2"))
    house.at(0)
    house.incidents.change("inc-1", state="resolved")
    house.at(91 * DAY)
    assert ["inc-2"] == [one.id for one in house.room.listed()]
    assert ["escalation/inc-2"] == list(house.journal.state.items("escalation/"))


def test_the_store_cannot_even_be_read(
    building: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stood in as far as was known last is paged, with a link; a diagnosis stays lines of text."""
    house = building()
    house.oncall.override("on-call", "ben", START - 1, START + 900, reason="", actor="ana")
    assert house.oncall.people("on-call") == ("ben",)

    def broken(*_: object, **__: object) -> dict[str, object]:
        raise Failed("the database does not answer")

    with monkeypatch.context() as down:
        down.setattr(house.journal.state, "items", broken)
        down.setattr(house.journal, "append_all", broken)
        house.room.begin(house.open(), diagnosis="one\u202e\x00\n\ud800two")
        assert house.at(0) == ["ben-chat"]
        assert "one\n two" in house.sent[0].text
        assert house.room.trouble
    assert house.at(300) == ["lead-chat"]
    assert house.kinds() == ["begun", "paged", "paged"]


def test_nobody_can_tell_who_is_on_call(building: Callable[..., House]) -> None:
    """Then the next step is due at once."""
    house = building()

    def unknown(name: str) -> tuple[str, ...] | None:
        if name == "on-call":
            raise Failed("the database does not answer")
        return None

    house.room._on_call = unknown
    house.room.begin(house.open())
    assert house.at(0) == ["lead-chat"]
    assert "cannot be told" in house.log[0]


def test_a_fault_about_one_keeps_no_other_waiting(building: Callable[..., House]) -> None:
    """Whatever a schedule or an incident makes go wrong, the others are paged in the same round."""
    house = building()
    asked: list[str] = []

    def broken(name: str) -> tuple[str, ...] | None:
        if name == "on-call":
            asked.append(name)
            if len(asked) == 1:
                raise KeyError("no such zone")
            return ("ben",)
        return None

    house.room._on_call = broken
    house.room.begin(house.open("inc-1"))
    house.room.begin(house.open("inc-2", started_at=START - 20))
    assert ["ben-chat", "lead-chat"] == sorted(house.at(0))
    assert any("KeyError" in line for line in house.log)


def test_an_incident_that_cannot_be_gone_on_with_keeps_no_other_waiting(
    building: Callable[..., House],
) -> None:
    """The round goes on, and says what went wrong."""
    house = building()
    going_on = house.room._go_on

    def broken(name: str) -> float | None:
        if name == "inc-1":
            raise RuntimeError("it broke")
        return going_on(name)

    house.room._go_on = broken  # type: ignore[method-assign]
    for name in ("inc-1", "inc-2"):
        house.room.begin(house.open(name))
    assert house.at(0) == ["ana-chat"]
    assert any("it broke" in line for line in house.log)


def test_an_incident_that_cannot_be_told_keeps_nobody_from_being_paged(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its acknowledgement is said again; the other incident is paged about at once."""

    def broken(name: str, actor: str) -> object:
        raise RuntimeError("it broke")

    monkeypatch.setattr(house.incidents, "acknowledge", broken)
    house.room.begin(house.open("inc-1"))
    house.at(0)
    house.room.acknowledge("inc-1", "ana")
    house.room.begin(house.open("inc-2"))
    assert house.at(1) == ["ana-chat"]
    monkeypatch.undo()
    house.at(2)
    assert [("inc-1", "ana")] == house.incidents.answers
