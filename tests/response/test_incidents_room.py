"""The room of incidents with a real journal: alerts, people, crashes, and who is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from incident_house import START, House, alert

import opsbook.response.incidents.room as rooms
from opsbook.errors import Conflict, Failed, Invalid, NotFound
from opsbook.monitoring.alerting.model import Alert
from opsbook.response.incidents.adding import LARGEST
from opsbook.response.incidents.model import Incident, Suspect
from opsbook.response.incidents.room import Incidents
from opsbook.response.incidents.telling import Telling


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def only(house: House) -> Incident:
    (found,) = house.room.every()
    return found


def test_an_alert_opens_an_incident_once(house: House) -> None:
    """Whoever opened it is told, also when the alert comes again."""
    assert house.fire(alert()) == ["inc-1"]
    assert house.fire(alert()) == []
    house.room.look()
    house.room.look()
    assert house.opened == ["inc-1"]
    found = only(house)
    assert (found.state, found.severity, found.escalation) == ("triage", "SEV2", "")
    assert house.kinds() == ["incident.opened"]
    assert house.changed == [("inc-1", "triage")]


def test_alerts_of_one_tree_are_one_incident(house: House) -> None:
    """web needs api needs db; mail is by itself, and so is staging."""
    house.fire(alert("Down", "db"), alert("Slow", "api", at=START + 1))
    house.clock.at += 30
    house.fire(alert("HighErrorRate", "web", at=START + 30))
    assert house.fire(alert("Down", "mail", at=START + 30)) == ["inc-2"]
    assert house.fire(alert("Down", "db", "staging", at=START + 30)) == ["inc-3"]
    assert house.room.get("inc-1").services == ("db", "api", "web")


def test_services_that_need_the_same_are_one_tree(house: House) -> None:
    """Of what they both need nothing is heard; they are one incident all the same."""
    house.fire(alert("Down", "web"))
    assert house.fire(alert("Down", "db")) == ["inc-1"]


def test_what_opens_one(house: House) -> None:
    """Critical alerts, and those that page an escalation; the escalation is the incident's."""
    assert house.room.opens(alert())
    assert not house.room.opens(alert(severity="warning"))
    assert not house.room.opens(alert(severity="warning", page="ana"))
    paging = alert(severity="warning", page="storage")
    assert house.room.opens(paging)
    house.fire(paging)
    assert (only(house).escalation, only(house).severity) == ("storage", "SEV3")


def test_nobody_touched_it(house: House) -> None:
    """When all alerts have ended for a while, it ends by itself."""
    house.fire(alert())
    house.clock.at += 60
    house.end(alert(ends=START + 60))
    assert house.room.look() == START + 180
    assert only(house).state == "triage"
    house.clock.at += 121
    house.room.look()
    found = only(house)
    assert (found.state, found.self_resolved, found.mitigated_at) == ("resolved", True, START + 60)


def test_the_clock_is_set_back(house: House) -> None:
    """What has ended does not wait until the clock has come so far again; what comes back soon is the same."""
    house.fire(alert())
    house.end(alert(ends=START))
    house.clock.at -= 3 * 3600
    house.room.look()
    assert (only(house).state, only(house).resolved_at) == ("resolved", START)
    assert house.fire(alert(at=house.clock.at)) == ["inc-1"]
    assert only(house).firing[0].started_at == START - 3 * 3600


def test_the_clock_jumps_ahead(house: House) -> None:
    """By a day: another page rather than none, and times in order."""
    house.fire(alert())
    house.clock.at += 86_400
    assert house.fire(alert("Other", at=house.clock.at)) == ["inc-2"]
    assert house.room.acknowledge("inc-1", "ana").acknowledged_at == START + 86_400


def test_a_storm(house: House) -> None:
    """Thousands of alerts at once: none is left out, and a few incidents have them all."""
    heard = [alert(f"Alert{number}") for number in range(1200)]
    house.fire(*heard)
    found = house.room.every()
    assert sum(len(one.alerts) for one in found) == 1200
    assert len(found) <= 3
    house.end(*heard)
    assert all(one.firing == () for one in house.room.every())


def test_somebody_touched_it(house: House) -> None:
    """A note is enough: then it is mitigated, and a person says that it is over."""
    house.fire(alert())
    house.room.note("inc-1", "looking", "ana")
    house.end(alert(ends=START))
    house.clock.at += 1000
    house.room.look()
    assert only(house).state == "mitigated"
    assert house.room.resolve("inc-1", "ana", reason="it was the cache").state == "resolved"
    assert "it was the cache" in [one.data.get("reason") for one in house.journal.events()]


def test_it_comes_back(house: House) -> None:
    """Within the window the same incident is opened again; later it is another one."""
    house.fire(alert())
    house.room.acknowledge("inc-1", "ana")
    house.end(alert(ends=START))
    house.room.resolve("inc-1", "ana")
    house.clock.at += 300
    assert house.fire(alert(at=house.clock.at)) == ["inc-1"]
    found = only(house)
    assert ("active", 1, None) == (found.state, found.reopened, found.acknowledged_at)
    assert len(found.firing) == 1
    house.end(alert(at=START + 300, ends=house.clock.at))
    house.room.resolve("inc-1", "ana")
    house.clock.at += 3600
    assert house.fire(alert(at=house.clock.at)) == ["inc-2"]


def test_a_message_that_comes_late_does_not_open_it_again(house: House) -> None:
    """A person has resolved it while the alert fired; the same firing is told once more."""
    house.fire(alert())
    house.room.resolve("inc-1", "ana")
    assert house.fire(alert()) == []
    assert house.end(alert(ends=START + 5)) == ["inc-1"]
    assert (only(house).state, only(house).firing) == ("resolved", ())


def test_a_crash_between_the_write_and_the_telling(house: House) -> None:
    """It is told after the start, until somebody has listened."""
    house.deaf = True
    house.fire(alert())
    again = house.room.look()
    assert again is not None
    house.again()
    assert house.opened == []
    house.deaf = False
    house.room.look()
    house.room.look()
    assert house.opened == ["inc-1"]
    assert [one.id for one in house.told] == ["inc-1-opened-ops"]


def test_what_was_written_is_there_after_a_start(house: House) -> None:
    """All of it, and ids go on."""
    house.fire(alert())
    house.room.acknowledge("inc-1", "ana")
    house.room.attach("inc-1", "diagnosis", "text", "disk is full")
    before = only(house)
    house.again()
    assert only(house) == before
    assert house.room.attachment("inc-1", "1") == "disk is full"
    assert house.fire(alert("Down", "mail")) == ["inc-2"]


def test_a_store_that_fails_changes_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is not so, and nobody is told of it."""
    house.fire(alert())

    def away(*_: object, **__: object) -> None:
        raise Failed("the disk is full")

    monkeypatch.setattr(house.journal, "append_all", away)
    with pytest.raises(Failed):
        house.room.acknowledge("inc-1", "ana")
    with pytest.raises(Failed):
        house.fire(alert("Down", "mail"))
    assert [one.id for one in house.room.every()] == ["inc-1"]
    assert only(house).acknowledged_at is None
    assert house.changed == [("inc-1", "triage")]


def test_people_at_once(house: House) -> None:
    """Of many who acknowledge, one has it; of many notes, none is lost; alerts meanwhile are heard."""
    house.fire(alert())

    def work(number: int) -> None:
        house.room.acknowledge("inc-1", f"person-{number}")
        house.room.note("inc-1", f"note {number}", f"person-{number}")
        house.fire(alert(f"Alert{number}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kinds = house.kinds()
    assert kinds.count("incident.acknowledged") == 1
    assert kinds.count("incident.noted") == 8
    assert len(only(house).alerts) == 9


def test_channels_are_told(house: House) -> None:
    """That it began, how it goes, that it is over: each once."""
    house.fire(alert(summary="orders fail"))
    house.room.update("inc-1", "we roll back", public=True, actor="ana")
    house.clock.at += 90
    house.room.resolve("inc-1", "ana")
    house.room.look()
    house.room.look()
    assert [one.text for one in house.told] == [
        "An incident began: production web.", "we roll back", "Resolved after 1m 30s.",
    ]  # fmt: skip
    assert {one.channel for one in house.told} == {"ops"}
    assert house.told[0].title == "SEV2 inc-1 orders fail"
    assert only(house).updates[0].public


def test_updates_are_due(house: House) -> None:
    """By the severity's pace; each update moves it, the end ends it."""
    house.room.declare("Nobody can pay", "SEV1", "production", ["web"], "ana")
    assert only(house).next_update_at == START + 600
    assert only(house).escalation == "storage"
    house.clock.at += 60
    assert house.room.update("inc-1", "still", public=False, actor="ana").next_update_at == START + 660
    assert house.room.set_severity("inc-1", "sev2", "ana").next_update_at == START + 60 + 3600
    assert house.room.resolve("inc-1", "ana").next_update_at is None


def test_people_declare_one(house: House) -> None:
    """What they say must be there; it is active, and alerts join it."""
    with pytest.raises(NotFound):
        house.room.declare("x", "SEV1", "nowhere", [], "ana")
    with pytest.raises(NotFound):
        house.room.declare("x", "SEV1", "production", ["wbe"], "ana")
    with pytest.raises(Invalid):
        house.room.declare(" \n", "SEV1", "production", [], "ana")
    with pytest.raises(Invalid):
        house.room.declare("x", "SEV0", "production", [], "ana")
    house.room.declare("Orders fail", "SEV3", "production", ["web"], "ana")
    assert house.fire(alert("Down", "api")) == ["inc-1"]
    assert (only(house).severity, only(house).state) == ("SEV2", "active")


def test_roles_and_actions(house: House) -> None:
    """Of contacts only; actions have an owner and a day, and are done once."""
    house.fire(alert())
    house.room.set_role("inc-1", "commander", "ana", "ben")
    house.room.set_role("inc-1", "responder", "ben", "ben")
    assert (only(house).commander, only(house).responders) == ("ana", ("ben",))
    with pytest.raises(NotFound):
        house.room.set_role("inc-1", "scribe", "eve", "ana")
    with pytest.raises(Invalid):
        house.room.set_role("inc-1", "king", "ana", "ana")
    house.room.add_action("inc-1", "alert earlier", "ana", "2026-12-01", "ben")
    with pytest.raises(Invalid):
        house.room.add_action("inc-1", "x", "ana", "tomorrow", "ben")
    house.clock.at += 5
    house.room.done_action("inc-1", "a1", "ana")
    house.room.done_action("inc-1", "a1", "ben")
    (action,) = only(house).actions
    assert (action.text, action.owner, action.due, action.done_at) == (
        "alert earlier", "ana", "2026-12-01", START + 5,
    )  # fmt: skip
    assert house.kinds().count("incident.action_done") == 1
    with pytest.raises(NotFound):
        house.room.done_action("inc-1", "a9", "ana")


def test_merging(house: House) -> None:
    """Alerts go along: their end ends the whole; the part refuses everything."""
    house.fire(alert("Down", "web"))
    house.fire(alert("Down", "mail", severity="warning", page="usual"))
    assert house.room.merge("inc-2", "inc-1", "ana").services == ("web", "mail")
    part = house.room.get("inc-2")
    assert (part.state, part.merged_into) == ("merged", "inc-1")
    house.end(alert("Down", "web"), alert("Down", "mail", severity="warning"))
    assert house.room.get("inc-1").firing == ()
    for verb in (house.room.acknowledge, house.room.resolve, house.room.mitigate, house.room.close):
        with pytest.raises(Conflict, match="inc-1"):
            verb("inc-2", "ana")
    with pytest.raises(NotFound):
        house.room.merge("inc-1", "inc-9", "ana")
    assert house.room.figures(0.0)["incidents"] == 1


def test_attachments(house: House) -> None:
    """Kept apart, bounded, the same one only once."""
    house.fire(alert())
    first = house.room.attach("inc-1", "diagnosis", "json", '{"a": 1}')
    assert house.room.attach("inc-1", "diagnosis", "json", '{"a": 1}') == first
    assert house.room.attach("inc-1", "diagnosis", "json", '{"a": 2}').id == "2"
    with pytest.raises(Invalid):
        house.room.attach("inc-1", "x", "json", "{")
    with pytest.raises(Invalid):
        house.room.attach("inc-1", "x", "html", "<p>")
    with pytest.raises(Invalid):
        house.room.attach("inc-1", "x", "text", "ä" * LARGEST)
    with pytest.raises(NotFound):
        house.room.attachment("inc-1", "../../1")
    house.room.add_run("inc-1", "run-3")
    house.room.add_run("inc-1", "run-3")
    assert only(house).runs == ("run-3",)


def test_secrets_do_not_get_in(tmp_path: Path) -> None:
    """Whatever an alert, a person or a diagnosis says is masked before it is kept."""
    made = House(tmp_path, mask=lambda text: text.replace("hunter2", "***"))
    made.fire(alert(summary="password hunter2 refused", token="hunter2"))
    made.room.note("inc-1", "it is hunter2", "ana")
    made.room.update("inc-1", "hunter2 leaked", public=True, actor="ana")
    made.room.attach("inc-1", "hunter2", "text", "hunter2")
    made.room.add_action("inc-1", "change hunter2", "ana", "", "ana")
    made.room.resolve("inc-1", "ana", reason="hunter2 changed")
    said = str(made.journal.state.items()) + str([one.data for one in made.journal.events()])
    made.close()
    assert "***" in said
    assert "hunter2" not in said


def test_labels_that_lie(house: House) -> None:
    """Marks of markup, control characters and long texts remain words of bounded length."""
    house.fire(
        alert(
            "\x1b[31mDown\n", "web", summary="<img src=x onerror=alert(1)>\u202e" + "x" * 9000,
            **{f"label_{number}": "y" * 5000 for number in range(300)},
        )
    )  # fmt: skip
    found = only(house)
    assert found.title.isprintable()
    assert len(found.title) <= 200
    assert len(str(found.to_json())) < 60_000


LABELS = st.text(max_size=700) | st.sampled_from(["production", "web", "a/b/c", "\ud800", "\x00", "x" * 5000])


@given(
    st.lists(
        st.tuples(st.booleans(), LABELS, LABELS, LABELS, st.dictionaries(LABELS, LABELS, max_size=3)),
        max_size=5,
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_alerts_say_they_are_taken(
    house: House, heard: list[tuple[bool, str, str, str, dict[str, str]]]
) -> None:
    """What cannot be written would be handed over again and again, and nothing after it."""
    for fires, name, service, environment, labels in heard:
        one = Alert(
            {**labels, "alertname": name, "service": service, "environment": environment}, {"summary": name}
        )
        if fires:
            house.fire(one)
            assert any(
                one.fingerprint == known.fingerprint for found in house.room.every() for known in found.alerts
            )
        else:
            house.end(one)
    house.clock.at += 1
    for found in house.room.listed(limit=3):
        assert len(found.subject) <= 250
        house.room.timeline(found.id)


def test_when_it_began(house: House) -> None:
    """The condition held before the alert fired: that is since when it hurts."""
    heard = alert(at=START)
    said = {"fingerprint": heard.fingerprint, "labels": dict(heard.labels), "since": START - 120}
    house.happens("alert.firing", "production/web", said)
    house.fire(heard)
    found = only(house)
    assert (found.started_at, found.detected_at) == (START - 120, START)
    assert house.room.figures(0.0)["mttd"] == {"median": 120.0, "p90": 120.0, "count": 1}


def test_a_post_mortem(house: House) -> None:
    """It is known where it is; the incident goes on to its next state."""
    house.fire(alert())
    house.room.resolve("inc-1", "ana")
    found = house.room.has_postmortem("inc-1", "incidents/2026-11-21-web.md", {"failed": 3})
    assert (found.state, found.postmortem, found.impact) == (
        "postmortem", "incidents/2026-11-21-web.md", {"failed": 3},
    )  # fmt: skip
    count = len(house.kinds())
    house.room.has_postmortem("inc-1", "incidents/2026-11-21-web.md", {"failed": 3})
    assert len(house.kinds()) == count
    assert house.room.close("inc-1", "ana").state == "closed"


def test_suspects_of_others(house: House) -> None:
    """What the journal does not know of is ranked with what it does."""
    odd = Suspect("weather", "production", "a storm", START - 5, 0.99, "it rains")
    room = Incidents(
        lambda: house.written, house.journal, now=house.clock.now, changes=lambda incident: (odd,)
    )
    (found,) = room.receive([alert()], ())
    assert found.suspects[0] == odd


def test_its_thread(house: House) -> None:
    """Started, it tells by itself and ends what has settled; stopped, it is gone."""
    house.room.start()
    house.fire(alert())
    house.clock.at += 500
    house.end(alert(ends=START))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not (house.opened and only(house).self_resolved):
        time.sleep(0.02)
    assert house.opened == ["inc-1"]
    assert only(house).self_resolved
    house.room.stop()
    house.room.stop()


def test_a_fault_does_not_end_its_thread(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next round looks again; without it no incident would ever page anybody."""
    look, turns = house.room.look, list[int]()

    def broken() -> float | None:
        turns.append(1)
        if len(turns) == 1:
            raise KeyError("a document of another version")
        return look()

    monkeypatch.setattr(rooms, "_AGAIN", 0.05)
    monkeypatch.setattr(house.room, "look", broken)
    house.room.start()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not turns:
        time.sleep(0.02)
    house.fire(alert())
    while time.monotonic() < deadline and not house.opened:
        time.sleep(0.02)
    assert house.opened == ["inc-1"]
    house.room.stop()


def test_a_channel_that_is_gone_is_not_told_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken out of the handbook meanwhile; the other news are told."""
    tried: list[str] = []

    def gone(telling: Telling) -> None:
        tried.append(telling.id)
        raise NotFound("the handbook has no channel ops")

    monkeypatch.setattr(house.room, "_tell", gone)
    house.fire(alert())
    house.room.look()
    house.clock.at += 60
    house.room.look()
    assert (["inc-1-opened-ops"], ["inc-1"]) == (tried, house.opened)
