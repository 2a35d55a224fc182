"""What goes to those who respond, and what they send: the same outbox, the same promises."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from alerting_house import House, Receiver, until

from opsbook.errors import NotFound
from opsbook.monitoring.alerting.model import Alert, GroupMessage, Notification, Words
from opsbook.monitoring.alerting.responding import Responders
from opsbook.monitoring.notifications import schedule
from opsbook.monitoring.notifications.delivery import FAILED_LATELY, Delivery
from opsbook.monitoring.notifications.senders import Senders
from opsbook.world.hosts.clock import SystemClock


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "WAITS", (0.05,))


class Room:
    """Takes notifications, unless it is told to fail."""

    def __init__(self) -> None:
        self.got: list[Notification] = []
        self.failing = False
        self.why = "the room is not well"

    def receive(self, notification: Notification) -> str:
        if self.failing:
            raise RuntimeError(self.why)
        self.got.append(notification)
        return "inc-1"

    @property
    def statuses(self) -> list[str]:
        return [one.status for one in self.got]


def house(folder: Path, room: Room, cover: str = "channels: {}", **more: Any) -> House:
    responders = Responders(opens=lambda alert: alert.severity == "critical", receive=room.receive)
    return House(folder, cover, responders=responders, **more)


def page(name: str = "p-1", channel: str = "hook") -> Notification:
    alert = Alert({"alertname": "X", "severity": "critical"}, starts_at=time.time())
    return Notification(
        id=name,
        channel=channel,
        groups=(GroupMessage(key="incident:inc-1", labels={"incident": "inc-1"}, firing=(alert,)),),
        at=time.time(),
        words=Words("SEV1 web fails", "20 % of the pages are errors", "https://ops.example.com/a/x"),
    )


def test_what_opens_an_incident_is_handed_over_and_its_end_too(tmp_path: Path) -> None:
    """Once each; what opens none is not."""
    room = Room()
    made = house(tmp_path, room)
    made.fire("Bad", severity="critical")
    made.fire("Meh", severity="warning")
    until(lambda: room.statuses == ["firing"])
    made.fire("Bad", ended=True, severity="critical")
    until(lambda: room.statuses == ["firing", "resolved"])
    assert ["Bad"] == [one.name for one in room.got[0].firing]
    made.close()


def test_a_room_that_is_not_well_is_asked_again_also_after_a_restart(tmp_path: Path) -> None:
    """What was not taken stays in the outbox."""
    room = Room()
    room.failing = True
    made = house(tmp_path, room)
    made.fire("Bad", severity="critical")
    until(lambda: bool(made.logged))
    made.close()
    room.failing = False
    made.open()
    until(lambda: room.statuses == ["firing"])
    made.close()


def test_a_fault_that_cannot_be_written_down_ends_no_channel(tmp_path: Path) -> None:
    """Names of files, for one, may hold what is no text; the next try is made all the same."""
    room = Room()
    room.failing, room.why = True, "cannot be read: notes-\udcff.md"
    made = house(tmp_path, room)
    made.fire("Bad", severity="critical")
    until(lambda: bool(made.logged))
    room.failing = False
    until(lambda: room.statuses == ["firing"])
    made.close()


def test_a_silenced_alert_opens_no_incident(tmp_path: Path) -> None:
    """What nobody is told of wakes nobody."""
    room = Room()
    silences = "silences: [{name: known, match: [alertname=Bad], comment: known, during: deployment}]\n"
    made = house(tmp_path, room, notifications=silences, web="")
    made.deploying = {("production", "web")}
    made.fire("Bad", severity="critical", service="web", environment="production")
    made.fire("Other", severity="critical")
    until(lambda: bool(room.got))
    assert [["Other"]] == [[alert.name for alert in one.firing] for one in room.got]
    made.close()


def test_a_page_says_what_was_written_for_it_once(tmp_path: Path, receiver: Receiver) -> None:
    """With its own words and link, in quiet hours too, and once while it waits."""
    receiver.answers = [503]
    quiet = 'delivery: {hook: {quiet: {from: "00:00", until: "00:00", except: []}}}\n'
    made = house(tmp_path, Room(), f'channels: {{hook: {{webhook: "{receiver.url}"}}}}', notifications=quiet)
    made.alerting.send(page())
    made.alerting.send(page())
    until(lambda: bool(receiver.got))
    until(lambda: "notification.sent" in made.kinds())
    assert [
        {
            "title": "SEV1 web fails",
            "text": "20 % of the pages are errors",
            "url": "https://ops.example.com/a/x",
        }
    ] == [one.body["opsbook"]["page"] for one in receiver.got]
    with pytest.raises(NotFound, match="no channel nosuch"):
        made.alerting.send(page(channel="nosuch"))
    made.close()


def test_a_page_that_was_not_taken_is_sent_after_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    """The outbox keeps its words."""
    receiver.answers = [503] * 1000
    made = house(tmp_path, Room(), f'channels: {{hook: {{webhook: "{receiver.url}"}}}}')
    made.alerting.send(page())
    until(lambda: bool(receiver.refused))
    made.close()
    receiver.answers = []
    made.open()
    until(lambda: bool(receiver.got))
    assert "SEV1 web fails" == receiver.got[0].body["opsbook"]["page"]["title"]
    made.close()


def test_a_page_that_was_sent_before_the_outbox_was_read_is_sent_once(tmp_path: Path) -> None:
    """Those who respond start first; what they put into the outbox is found there when alerting starts."""
    room = Room()
    made = house(tmp_path, room)
    early, documents = page("p-2", "@incidents"), dict[str, Any]()
    ledger = SimpleNamespace(write=lambda changed, entries=(): documents.update(changed) or True)
    delivery = Delivery(
        lambda: made.book, ledger, cast("Senders", None), str, SystemClock(), log=made.logged.append,
        inside={"@other": lambda notification: "taken"},
    )  # fmt: skip
    delivery.put(early)
    delivery.restore(dict(documents))
    assert ["p-2"] == [one.notification.id for one in delivery._lines["@incidents"]]
    delivery.close()
    made.close()


def test_a_channel_that_failed_is_not_held_to_fail_for_ever(tmp_path: Path, receiver: Receiver) -> None:
    """As long as a message is tried with, and a while after it was given up; then only trying tells."""
    receiver.answers = [400] * schedule.GIVE_UP_REFUSALS
    made = house(tmp_path, Room(), f'channels: {{hook: {{webhook: "{receiver.url}"}}}}')
    made.alerting.send(page())
    until(lambda: "notification.failed" in made.kinds())
    until(lambda: made.alerting.delivery.state("hook").waiting == 0)
    state, now = made.alerting.delivery.state("hook"), time.time()
    assert (True, True) == (state.failing(now), state.failing(now + FAILED_LATELY / 2))
    assert not state.failing(now + FAILED_LATELY + 1)
    assert replace(state, waiting=1).failing(now + FAILED_LATELY + 1)
    made.alerting.send(page("p-2"))
    until(lambda: bool(receiver.got))
    until(lambda: not made.alerting.delivery.state("hook").failing(time.time()))
    made.close()
