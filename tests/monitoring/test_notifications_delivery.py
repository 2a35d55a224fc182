"""Messages that are not taken at once: hanging, failing and refusing channels, and what they may not do to others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alerting_house import House, Receiver, until

from opsbook.monitoring.alerting.model import Alert, GroupMessage, Notification
from opsbook.monitoring.notifications import schedule
from opsbook.monitoring.notifications.schedule import (
    GIVE_UP_REFUSALS,
    GIVE_UP_SECONDS,
    LONGEST_WAIT,
    WAITS,
    Pending,
    after_failure,
    hold_of,
    next_of,
    pending_from,
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits of minutes in milliseconds."""
    monkeypatch.setattr(schedule, "WAITS", tuple(one / 50 for one in WAITS))


def pending(key: str, order: int, at: float = 1000.0, attempts: int = 0, next_try: float = 0.0) -> Pending:
    group = GroupMessage(key=key, labels={}, firing=(Alert({"a": key}, starts_at=1.0),))
    notification = Notification(id=f"{order}", channel="hook", groups=(group,), at=at)
    return Pending(notification, order, attempts=attempts, next_try=next_try)


# --- the schedule, alone ---


def test_waits_grow_to_minutes_and_end_after_a_day() -> None:
    """A channel that is back within hours gets what it missed."""
    one: Pending | None = pending("a", 1)
    now, tries = 1000.0, 0
    while one is not None:
        now = max(now, one.next_try)
        one, tries = after_failure(one, "down", now), tries + 1

    assert GIVE_UP_SECONDS <= now - 1000 < GIVE_UP_SECONDS + max(WAITS)
    assert tries > 200


def test_a_receiver_may_ask_for_more_time_but_not_for_ever() -> None:
    """`Retry-After`, up to an hour."""
    later = after_failure(pending("a", 1), "429", 1000.0, asked=60)
    much_later = after_failure(pending("a", 1), "429", 1000.0, asked=10**6)

    assert later is not None
    assert much_later is not None
    assert (1060.0, 1000.0 + LONGEST_WAIT) == (later.next_try, much_later.next_try)


def test_what_is_not_wanted_is_given_up_within_minutes() -> None:
    """It would not be wanted in an hour either."""
    one: Pending | None = pending("a", 1)
    for turn in range(GIVE_UP_REFUSALS):
        assert one is not None, turn
        one = after_failure(one, "400", 1000.0 + turn, refused=True)

    assert one is None


def test_none_overtakes_its_own_group_and_none_waits_for_another() -> None:
    """The firing comes before its resolved; one that fails again and again lets fresh ones pass."""
    stuck, behind, other = pending("a", 1, next_try=2000.0), pending("a", 2), pending("b", 3)
    tried = pending("c", 0, attempts=3)

    assert other is next_of([stuck, behind, other], 1000.0)
    assert stuck is next_of([stuck, behind, other], 2000.0)
    assert behind is next_of([tried, behind], 1000.0)
    assert None is next_of([stuck, behind], 1000.0)


def test_a_clock_that_was_set_back_keeps_no_message() -> None:
    """A next try that lies further ahead than any wait is due."""
    assert pending("a", 1, next_try=1000.0 + LONGEST_WAIT + 1).due(1000.0)
    assert not pending("a", 1, next_try=1001.0).due(1000.0)


def test_a_channel_is_looked_at_each_minute() -> None:
    """However long it has been away."""
    assert 60 == hold_of(10_000) > hold_of(1)


def test_an_entry_of_the_outbox_reads_back_as_it_was() -> None:
    """All of it."""
    one = pending("a", 7, attempts=2, next_try=5.0)

    assert one == pending_from(one.to_json())


# --- for real ---


@pytest.mark.usefixtures("quick")
def test_a_channel_that_hangs_delays_no_other_and_no_check(tmp_path: Path, receiver: Receiver) -> None:
    """Taking alerts stays quick, and the other channel is told, while the first is still being waited for."""
    hanging = Receiver(hang=threading.Event())
    house = House(
        tmp_path,
        f'channels: {{a: {{webhook: "{hanging.url}"}}, b: {{webhook: "{receiver.url}"}}}}',
        "group_by: ['...']\n",
    )
    for number in range(5):
        house.fire(instance=str(number))
    receiver.wait(5)
    assert [] == hanging.got
    assert 5 == house.alerting.delivery.state("a").waiting
    assert hanging.hang is not None
    hanging.hang.set()
    hanging.wait(5)

    house.close()
    hanging.close()


@pytest.mark.usefixtures("quick")
def test_a_channel_that_was_down_gets_what_it_missed_once_and_in_order(
    tmp_path: Path, receiver: Receiver
) -> None:
    """As after an hour without SMTP: what fired and what ended, each once."""
    receiver.answers = [500] * 4
    house = House(tmp_path, f'channels: {{a: {{webhook: "{receiver.url}"}}}}', "group_interval: 50ms\n")
    house.fire("One")
    until(lambda: receiver.refused)
    house.fire("Two")
    house.fire("One", ended=True)
    receiver.wait(3)
    time.sleep(0.2)

    told = [(one.body["commonLabels"]["alertname"], one.body["status"]) for one in receiver.got]
    assert [("One", "firing"), ("One", "resolved")] == [one for one in told if one[0] == "One"]
    assert sorted([("One", "firing"), ("One", "resolved"), ("Two", "firing")]) == sorted(told)
    state = until(lambda: (s := house.alerting.delivery.state("a")).waiting == 0 and s)
    assert ("", 3) == (state.error, state.sent)
    assert [line for line in house.logged if "will be tried again" in line]
    house.close()


@pytest.mark.usefixtures("quick")
def test_a_message_that_is_refused_is_given_up_and_others_pass(tmp_path: Path, receiver: Receiver) -> None:
    """It is in the journal as failed, with what the receiver said about it."""
    receiver.answers = [400] * GIVE_UP_REFUSALS
    receiver.said = b"no thanks, terces"
    house = House(tmp_path, f'channels: {{a: {{webhook: "{receiver.url}"}}}}')
    house.fire("Poison")
    until(lambda: "notification.failed" in house.kinds())
    house.fire("Fine")
    receiver.wait(1)
    [failed] = house.journal.events(kinds=["notification.failed"])

    assert "Fine" == receiver.got[0].body["commonLabels"]["alertname"]
    assert "400 Bad Request: no thanks, ***" in failed.data["error"]
    assert GIVE_UP_REFUSALS == failed.data["attempts"]
    house.close()


@pytest.mark.usefixtures("quick")
def test_a_channel_that_is_mended_in_the_handbook_gets_its_messages(
    tmp_path: Path, receiver: Receiver
) -> None:
    """The next try reads the handbook anew."""
    house = House(tmp_path, 'channels: {a: {webhook: "http://127.0.0.1:1/"}}')
    house.fire()
    until(lambda: house.alerting.delivery.state("a").error)
    house.book = house.read(f'channels: {{a: {{webhook: "{receiver.url}"}}}}')
    receiver.wait(1)

    house.close()


@pytest.mark.usefixtures("quick")
def test_events_are_about_the_service_where_the_handbook_knows_it(tmp_path: Path, receiver: Receiver) -> None:
    """Labels may come from anywhere: others are about the channel."""
    house = House(tmp_path, f'channels: {{a: {{webhook: "{receiver.url}"}}}}')
    house.fire(environment="production\n", service="web")
    receiver.wait(1)
    until(lambda: "notification.sent" in house.kinds())

    assert "channels/a" == house.journal.events(kinds=["notification.sent"])[0].subject
    house.close()
