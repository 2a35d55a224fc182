"""Freezes know when they hold, also in the nights when clocks are changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.book import Book, Freeze, TextFiles, load

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")


def freezes(*written: str, **files: str) -> Book:
    listed = "".join(f"  - {one}\n" for one in written)
    return load(
        TextFiles.of(
            {"opsbook.yaml": "name: shop\n", "deployment/freezes.yaml": f"freezes:\n{listed}"} | files
        )
    )


def freeze(rest: str) -> Freeze:
    return freezes(f"{{name: a, reason: Nobody is there, {rest}}}").freezes[0]


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def said(moment: float | None) -> str | None:
    return moment and datetime.fromtimestamp(moment, UTC).isoformat(" ", "minutes")[:16]


def test_once_it_holds_from_its_first_instant_to_its_last() -> None:
    """The beginning belongs to it, the end does not, and after it nothing changes any more."""
    christmas = freeze(
        "from: 2026-12-20T18:00, until: 2027-01-02, timezone: Europe/Berlin".replace(
            "2027-01-02", '"2027-01-02"'
        )
    )
    begins, ends = at("2026-12-20 17:00"), at("2027-01-01 23:00")

    assert [False, True, True, False] == [
        christmas.active(moment) for moment in (begins - 0.001, begins, ends - 0.001, ends)
    ]
    assert [begins, ends, ends, None] == [
        christmas.next_change(moment) for moment in (0.0, begins, ends - 1, ends)
    ]


def test_weekly_it_may_end_on_the_next_day() -> None:
    """Friday and Saturday from 16:00 to 08:00 leaves Saturday's daytime free."""
    weekend = freeze('weekly: {days: [fri, sat], from: "16:00", until: "08:00"}')
    changes = [at("2026-11-18 12:00")]  # a Wednesday
    while len(changes) < 6:
        following = weekend.next_change(changes[-1])
        assert following is not None
        changes.append(following)

    assert [
        "2026-11-20 16:00",
        "2026-11-21 08:00",
        "2026-11-21 16:00",
        "2026-11-22 08:00",
        "2026-11-27 16:00",
    ] == [said(change) for change in changes[1:]]
    assert [True, False, True, False, True] == [weekend.active(change) for change in changes[1:]]


def test_days_that_touch_are_one_freeze() -> None:
    """Whole days without hours; nothing changes at the midnight between, and never when every day is one."""
    weekend, always = freeze("weekly: {days: [sat, sun]}"), freeze("weekly: {}")
    saturday = at("2026-11-21 00:00")

    assert weekend.active(saturday)
    assert said(weekend.next_change(saturday)) == "2026-11-23 00:00"
    assert always.active(saturday)
    assert always.next_change(saturday) is None


@pytest.mark.parametrize(
    ("written", "begins", "ends"),
    [
        ("from: 2026-10-25T02:30, until: 2026-10-25T02:45", "2026-10-25 00:30", "2026-10-25 01:45"),
        ("from: 2027-03-28T02:30, until: 2027-03-28T04:00", "2027-03-28 01:00", "2027-03-28 02:00"),
        ("from: 2027-03-28T01:00, until: 2027-03-28T02:15", "2027-03-28 00:00", "2027-03-28 01:00"),
        ('weekly: {days: [sun], from: "02:00", until: "03:00"}', "2026-10-25 00:00", "2026-10-25 02:00"),
    ],
)
def test_the_nights_when_clocks_are_changed(written: str, begins: str, ends: str) -> None:
    """It begins at the first of two equal times, ends at the last, and takes the jump for what is jumped over."""
    night = freeze(f"{written}, timezone: Europe/Berlin")
    first = at(begins)

    assert begins == said(night.next_change(first - 3600))
    assert ends == said(night.next_change(first))


def test_it_covers_what_it_names() -> None:
    """Left out, environments and services mean all of them."""
    files = {
        "services/web.yaml": 'service: web\nrun: {command: [serve, "{port}"], port: http}\n',
        "environments/production.yaml": "environment: production\nentry: {port: 8080}\nservices: {web: {}}\n",
    }
    some, everything = freezes(
        "{name: a, reason: Why, weekly: {}, environments: [production], services: [web], except: {roles: [admin]}}",
        "{name: b, reason: Why, weekly: {}}",
        **files,
    ).freezes

    assert [True, False, False] == [
        some.covers("production", "web"), some.covers("staging", "web"), some.covers("production", "api")
    ]  # fmt: skip
    assert everything.covers("staging", "api")
    assert (("admin",), False) == (some.exceptions.roles, some.exceptions.incidents)


DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
clocks = st.integers(0, 24 * 4 - 1).map(lambda quarter: f"{quarter // 4:02d}:{quarter % 4 * 15:02d}")
moments = st.integers(int(at("2026-01-01 00:00")), int(at("2028-01-01 00:00"))).map(float)


def weekly(days: list[str], begins: str, ends: str, zone: str) -> Freeze:
    written = {"days": tuple(days), "from": begins, "until": ends}
    return Freeze.model_validate({"name": "a", "reason": "Why", "weekly": written, "timezone": zone})


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(DAYS), min_size=1, unique=True), clocks, clocks, st.sampled_from(ZONES), moments
)
def test_nothing_changes_before_the_next_change(
    days: list[str], begins: str, ends: str, zone: str, moment: float
) -> None:
    """`next_change` is the first moment at which `active` says something else."""
    some = weekly(days, begins, ends, zone)
    now, change = some.active(moment), some.next_change(moment)

    if change is None:
        assert {now} == {some.active(moment + hour * 3600) for hour in range(24 * 8)}
    else:
        between = [moment + (change - moment) * part / 20 for part in range(20)]
        assert [now] * 20 == [some.active(one) for one in between]
        assert some.active(change) is not now


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(DAYS), min_size=1, unique=True), clocks, clocks, moments)
def test_without_changes_of_clocks_it_is_plain_arithmetic(
    days: list[str], begins: str, ends: str, moment: float
) -> None:
    """In UTC a weekly freeze holds when the minute of the week lies in one of its windows."""
    start, end = (int(text[:2]) * 60 + int(text[3:]) for text in (begins, ends))
    length = end - start if end > start else end + 1440 - start
    then = datetime.fromtimestamp(moment, UTC)
    minute = then.weekday() * 1440 + then.hour * 60 + then.minute
    expected = any((minute - DAYS.index(day) * 1440 - start) % (7 * 1440) < length for day in days)

    assert expected == weekly(days, begins, ends, "UTC").active(moment)


def test_a_freeze_is_a_document() -> None:
    """What a freeze says can be told as JSON, under the names of its attributes."""
    told = json.loads(freeze('weekly: {from: "16:00"}').model_dump_json())

    assert ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] == told["weekly"]["days"]
    assert timedelta(hours=16) == freeze('weekly: {from: "16:00"}').weekly.starts  # type: ignore[union-attr]
