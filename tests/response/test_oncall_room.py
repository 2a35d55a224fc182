"""The room of who is on call, with a real journal: what people change, restarts, the feed, the routes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from icalendar import Calendar

from opsbook.book import Book, HandbookError, TextFiles, load
from opsbook.errors import Conflict, Invalid, NotFound
from opsbook.journal import Journal
from opsbook.response.oncall.room import OnCall

COVER = b"""name: shop
contacts:
  ana: {email: ana@example.com}
  ben: {email: ben@example.com}
"""
POLICY = """schedules:
  - name: on-call
    description: The shop
    layers:
      - {name: weekly, people: [ana, ben], from: 2026-01-05T09:00}
"""
DAY = 86_400.0
MONDAY = datetime(2026, 1, 5, 9, tzinfo=UTC).timestamp()


def book(policy: str = POLICY) -> Book:
    return load(TextFiles({"opsbook.yaml": COVER, "incidents/policy.yaml": policy.encode()}))


class Time:
    def __init__(self) -> None:
        self.at = MONDAY

    def now(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def journal(tmp_path: Path, clock: Time) -> Iterator[Journal]:
    with_keys = Journal.open(tmp_path / "journal.sqlite", keys=tmp_path / "keys", clock=clock)
    yield with_keys
    with_keys.close()


@pytest.fixture
def room(journal: Journal, clock: Time) -> OnCall:
    written = book()
    return OnCall(lambda: written, journal, now=clock.now)


def test_somebody_stands_in_and_is_taken_back(room: OnCall, journal: Journal, clock: Time) -> None:
    """It is remembered after a restart, and the journal says who did it."""
    assert room.people("on-call") == ("ana",)
    made = room.override("on-call", "ben", MONDAY, MONDAY + DAY, reason="ill", actor="ana")
    again = OnCall(book, journal, now=clock.now)
    assert again.people("on-call") == ("ben",)
    again.remove(made.id, actor="ben")
    assert room.people("on-call") == ("ana",)
    kinds = [(event.kind, event.actor) for event in journal.events(subject="oncall/on-call")]
    assert kinds == [("oncall.override_added", "ana"), ("oncall.override_removed", "ben")]
    with pytest.raises(NotFound, match="no override"):
        room.remove(made.id, actor="ben")


def test_nobody_stands_in_for_a_shift_that_is_not_there(room: OnCall) -> None:
    """It would be said to be so, and change nothing. A calendar of somebody unknown is none either."""
    with pytest.raises(Invalid, match="ben has no shift of on-call in that time"):
        room.override("on-call", "ana", MONDAY, MONDAY + DAY, instead_of="ben", reason="", actor="ana")
    with pytest.raises(NotFound, match="there is no contact eve"):
        room.feed(person="eve")


def test_shifts_are_swapped(room: OnCall) -> None:
    """Each has the other's; the shift under way is swapped from now on."""
    room.swap("on-call", MONDAY + DAY, MONDAY + 8 * DAY, actor="ana")
    assert [shift.people for shift in room.shifts("on-call", MONDAY, MONDAY + 21 * DAY)] == [
        ("ben",),
        ("ana",),
        ("ana",),
    ]
    with pytest.raises(Conflict, match="both shifts are"):
        room.swap("on-call", MONDAY, MONDAY + DAY, actor="ana")


def test_what_makes_no_sense_is_refused(room: OnCall, clock: Time) -> None:
    """With the way out; nothing is written."""
    with pytest.raises(NotFound, match="no schedule night"):
        room.override("night", "ben", MONDAY, MONDAY + 1, reason="", actor="ana")
    with pytest.raises(NotFound, match="no contact eva"):
        room.override("on-call", "eva", MONDAY, MONDAY + 1, reason="", actor="ana")
    with pytest.raises(Invalid, match="must end after"):
        room.override("on-call", "ben", MONDAY, MONDAY, reason="", actor="ana")
    with pytest.raises(Invalid, match="over already"):
        room.override("on-call", "ben", MONDAY - 2, MONDAY - 1, reason="", actor="ana")
    with pytest.raises(Conflict, match="nobody is on call"):
        room.swap("on-call", MONDAY - DAY, MONDAY, actor="ana")
    with pytest.raises(Invalid, match="at most a year"):
        room.shifts("on-call", MONDAY, MONDAY + 400 * DAY)
    assert room.overrides() == ()


def test_what_is_long_over_is_forgotten(room: OnCall, clock: Time) -> None:
    """After 90 days, when something else is changed."""
    room.override("on-call", "ben", MONDAY, MONDAY + DAY, reason="", actor="ana")
    clock.at += 100 * DAY
    made = room.override("on-call", "ben", clock.at, clock.at + DAY, reason="", actor="ana")
    assert room.overrides() == (made,)


def test_the_summary_warns_ahead(journal: Journal, clock: Time) -> None:
    """Who is on call, who is next, and when nobody is."""
    ending = book(POLICY.replace("09:00}", "09:00, until: 2026-01-19T09:00}"))
    (found,) = OnCall(lambda: ending, journal, now=clock.now).now()
    assert (found["now"]["people"], found["next"]["people"]) == (["ana"], ["ben"])
    assert [(hole["start"], hole["end"]) for hole in found["gaps"]] == [
        (MONDAY + 14 * DAY, MONDAY + 30 * DAY)
    ]


def test_the_feed_is_a_calendar(room: OnCall) -> None:
    """With the shifts of one person, each with an id that stays."""
    feed = Calendar.from_ical(room.feed(person="ben"))
    events = list(feed.walk("VEVENT"))
    assert {str(event["summary"]) for event in events} == {"ben · on-call"}
    assert events[0]["dtstart"].dt.timestamp() == MONDAY + 7 * DAY
    again = list(Calendar.from_ical(room.feed(person="ben")).walk("VEVENT"))
    assert [event["uid"] for event in events] == [event["uid"] for event in again]
    with pytest.raises(NotFound):
        room.feed("night")


def test_a_policy_with_mistakes() -> None:
    """Each is named with its place."""
    broken = """schedules:
  - name: ana
    timezone: Mars/Olympus
    layers: []
  - name: on-call
    layers:
      - {name: a, people: [], from: 2026-01-05T09:00}
      - {name: a, people: [ann], every: fortnight, from: 2026-01-05T09:00, until: 2026-01-01T00:00}
  - {name: on-call, layers: [{name: b, people: [ann], from: 09:00}]}
"""
    with pytest.raises(HandbookError) as raised:
        book(broken)
    said = "\n".join(map(str, raised.value.problems))
    for part in ("policy.yaml:3:", "policy.yaml:7:", "policy.yaml:8:", "fortnight"):
        assert part in said
    with pytest.raises(HandbookError, match="did you mean"):
        book(POLICY.replace("[ana, ben]", "[ana, benn]"))
    with pytest.raises(HandbookError, match="is a contact already"):
        book(POLICY.replace("name: on-call", "name: ana"))
