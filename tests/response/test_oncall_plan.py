"""Shifts from schedules: turns, layers, hours, overrides, and clocks that are set."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.book.oncall import LayerSpec, ScheduleSpec
from opsbook.response.oncall.model import Override, Shift
from opsbook.response.oncall.plan import gaps, on_call, shifts

ZONES = ("Europe/Berlin", "America/Chicago", "Australia/Lord_Howe", "Pacific/Apia")
DAY = 86_400.0


def layer(**more: object) -> LayerSpec:
    document: dict[str, object] = {
        "name": "weekly",
        "people": ["ana", "ben", "cem"],
        "every": "week",
        "from": "2026-01-05T09:00",
        **more,
    }
    document = {key: tuple(value) if isinstance(value, list) else value for key, value in document.items()}
    return LayerSpec.model_validate(document)


def schedule(*layers: LayerSpec, zone: str = "Europe/Berlin") -> ScheduleSpec:
    return ScheduleSpec(name="on-call", timezone=zone, layers=layers or (layer(),))


def at(text: str, zone: str = "Europe/Berlin") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def who(found: tuple[Shift, ...]) -> list[tuple[str, ...]]:
    return [shift.people for shift in found]


def test_people_take_turns() -> None:
    """In the order in which they are written, handing over at the same time of day; nobody before the first turn."""
    found = shifts(schedule(), at("2026-01-04T00:00"), at("2026-02-02T12:00"))
    assert [(), ("ana",), ("ben",), ("cem",), ("ana",), ("ben",)] == who(found)
    assert at("2026-01-12T09:00") == found[2].start
    assert ("ana",) == on_call(schedule(), at("2026-01-12T08:59")).people
    assert ("ben",) == on_call(schedule(), at("2026-01-12T09:00")).people


def test_a_turn_of_three_days_and_one_of_a_month() -> None:
    """Months keep their day, and take their last where there is none such."""
    three = schedule(layer(every="day", times=3))
    assert [at("2026-01-05T09:00"), at("2026-01-08T09:00"), at("2026-01-11T09:00")] == [
        shift.start for shift in shifts(three, at("2026-01-05T09:00"), at("2026-01-12T00:00"))
    ]
    monthly = schedule(layer(every="month", **{"from": "2026-01-31T09:00"}))
    starts = [shift.start for shift in shifts(monthly, at("2026-01-31T09:00"), at("2026-05-01T00:00"))]
    assert [at(f"2026-{day}T09:00") for day in ("01-31", "02-28", "03-31", "04-30")] == starts


def test_a_later_layer_goes_before_in_its_hours() -> None:
    """Outside of them the layer above counts."""
    days = layer(
        name="days", people=["dea"], only=[{"days": ("mon", "tue"), "from": "09:00", "until": "17:00"}]
    )
    both = schedule(layer(), days)
    assert ("ana",) == on_call(both, at("2026-01-06T08:00")).people
    assert ("dea",) == on_call(both, at("2026-01-06T09:00")).people
    assert ("ana",) == on_call(both, at("2026-01-06T17:00")).people
    assert "days" == on_call(both, at("2026-01-06T12:00")).source


def test_gaps_are_found() -> None:
    """Hours that no layer counts in, and the time after the end of all layers."""
    only = [{"days": ("mon", "tue", "wed", "thu", "fri"), "from": "09:00", "until": "17:00"}]
    office = schedule(layer(only=only, until="2026-01-16T00:00"))
    found = gaps(office, at("2026-01-09T12:00"), at("2026-01-18T00:00"))
    assert at("2026-01-09T17:00") == found[0].start
    assert at("2026-01-12T09:00") == found[0].end
    assert at("2026-01-15T17:00") == found[-1].start
    assert at("2026-01-18T00:00") == found[-1].end


def test_somebody_stands_in() -> None:
    """For all, or for one person only; the newest goes before."""
    week = schedule()
    instead = Override("o1", "on-call", "dea", at("2026-01-06T00:00"), at("2026-01-14T00:00"))
    assert ("dea",) == on_call(week, at("2026-01-12T10:00"), [instead]).people
    for_ana = Override("o2", "on-call", "eva", instead.start, instead.end, instead_of="ana")
    assert ("eva",) == on_call(week, at("2026-01-07T00:00"), [for_ana]).people
    assert ("ben",) == on_call(week, at("2026-01-12T10:00"), [for_ana]).people
    other = Override("o3", "other", "dea", instead.start, instead.end)
    assert ("ana",) == on_call(week, at("2026-01-07T00:00"), [other]).people
    assert ("eva",) == on_call(
        week, at("2026-01-07T00:00"), [instead, Override("o4", "on-call", "eva", instead.start, instead.end)]
    ).people


def test_an_hour_that_comes_twice_has_two_people() -> None:
    """At a hand-over at 02:30 on the night in which clocks go back, both are on call for that hour."""
    night = schedule(layer(every="day", **{"from": "2026-10-20T02:30"}, people=["ana", "ben"]))
    first = at("2026-10-25T02:30")  # fold=0: the first of the two
    assert ("ana", "ben") == tuple(sorted(on_call(night, first).people))
    assert first == on_call(night, first).start
    assert first + 3600 == on_call(night, first).end
    assert 1 == len(on_call(night, first + 3600).people)


def test_a_time_that_is_jumped_over_is_the_jump() -> None:
    """Clocks go from 02:00 to 03:00: a hand-over at 02:30 is at 03:00."""
    night = schedule(layer(every="day", **{"from": "2026-03-20T02:30"}, people=["ana", "ben"]))
    jump = at("2026-03-29T03:00")
    before, after = on_call(night, jump - 1), on_call(night, jump)
    assert before.people != after.people
    assert jump == before.end == after.start


@settings(deadline=None)  # a machine that is busy is no mistake
@given(
    zone=st.sampled_from(ZONES),
    begins=st.datetimes(datetime(2011, 1, 1), datetime(2012, 6, 1)).map(
        lambda one: one.replace(second=0, microsecond=0)
    ),
    every=st.sampled_from(("hour", "day", "week", "month")),
    times=st.integers(1, 3),
    people=st.integers(1, 4),
    days=st.integers(1, 60),
    offset=st.integers(0, 500),
)
def test_a_schedule_without_hours_never_has_a_gap(
    zone: str, begins: datetime, every: str, times: int, people: int, days: int, offset: int
) -> None:
    """From its first turn on somebody is on call at every moment, shifts touch, and each begins at a hand-over's time
    of day or at a moment at which clocks were set: also where a whole day is left out, as in Apia."""
    names = [f"p{number}" for number in range(people)]
    spec = schedule(
        layer(every=every, times=times, people=names, **{"from": begins.isoformat(timespec="minutes")}),
        zone=zone,
    )
    since = begins.replace(tzinfo=ZoneInfo(zone)).timestamp() + 2 * DAY + offset * DAY
    until = since + days * DAY

    found = shifts(spec, since, until)

    assert since == found[0].start
    assert until == found[-1].end
    assert all(one.end == other.start for one, other in pairwise(found))
    assert all(shift.people for shift in found)
    for shift in found[1:]:
        local = datetime.fromtimestamp(shift.start, ZoneInfo(zone))
        sets = datetime.fromtimestamp(shift.start - 1, ZoneInfo(zone)).utcoffset() != local.utcoffset()
        again = datetime.fromtimestamp(shift.start - 86_400, ZoneInfo(zone)).utcoffset() != local.utcoffset()
        minute = local.minute == begins.minute and (every == "hour" or local.hour == begins.hour)
        assert sets or again or minute


@settings(deadline=None)  # a machine that is busy is no mistake
@given(
    zone=st.sampled_from(ZONES),
    moment=st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1)),
    overrides=st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 15), st.booleans()), max_size=5),
)
def test_asking_for_a_moment_agrees_with_asking_for_a_stretch(
    zone: str, moment: datetime, overrides: list[tuple[int, int, bool]]
) -> None:
    """Whatever stretch a shift is cut out of, the same people are on call."""
    since = moment.replace(tzinfo=ZoneInfo(zone)).timestamp()
    changed = [
        Override(
            f"o{number}",
            "on-call",
            f"x{number}",
            since + start * DAY,
            since + (start + length) * DAY,
            "ana" if one else "",
        )
        for number, (start, length, one) in enumerate(overrides)
    ]
    days = layer(name="days", people=["dea", "eva"], every="day", only=[{"from": "08:00", "until": "20:00"}])
    spec = schedule(layer(), days, zone=zone)
    found = shifts(spec, since - 10 * DAY, since + 30 * DAY, changed)
    for shift in found[:: max(1, len(found) // 7)]:
        middle = (shift.start + shift.end) / 2
        assert shift.people == on_call(spec, middle, changed).people


@pytest.mark.parametrize("zone", ZONES)
def test_hand_over_is_at_the_stated_local_time_for_years(zone: str) -> None:
    """A weekly hand-over on Monday at nine is on Monday at nine in every year."""
    spec = schedule(zone=zone)
    since = at("2026-01-05T09:00", zone)
    for shift in shifts(spec, since, since + 5 * 365 * DAY)[1:]:
        local = datetime.fromtimestamp(shift.start, ZoneInfo(zone))
        assert ("Monday", 9, 0) == (local.strftime("%A"), local.hour, local.minute)
    assert timedelta(0) == timedelta(seconds=shifts(spec, since, since + DAY)[0].start - since)
