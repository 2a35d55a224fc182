"""What `deployment/freezes.yaml` says: when nothing is deployed, where, and for whom that does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from opsbook.book.fields import Line, Name, OrEmpty, Part, wrong
from opsbook.book.moments import Clock, LocalTime, Timezone, first_instant, last_instant
from opsbook.book.roles import Role

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_A_DAY = timedelta(days=1)
_LONGEST = timedelta(days=3)  # a weekly window's own length, and what a change of the clocks may add
_A_WEEK = timedelta(days=8)  # and a day, for the same reason

Interval = tuple[float, float]


class Weekly(Part):
    """Hours that come again each week."""

    days: tuple[Day, ...] = Field(
        DAYS,
        min_length=1,
        description="The days on which it begins. Left out: every day.",
        examples=[["fri", "sat"]],
        json_schema_extra={"default": None},
    )
    starts: Clock = Field(
        timedelta(0),
        alias="from",
        description="When it begins.",
        examples=["16:00"],
        json_schema_extra={"default": "00:00"},
    )
    until: Clock = Field(
        _A_DAY,
        description="When it ends; on the next day when that is not after its beginning.",
        examples=["08:00"],
        json_schema_extra={"default": "24:00"},
    )

    @model_validator(mode="after")
    def _begins_on_its_day(self) -> Self:
        if self.starts >= _A_DAY:
            wrong("a day begins at 00:00", 'write from: "00:00" and the next day', at=("from",))
        return self


class Exceptions(Part):
    """For whom or when a freeze does not hold."""

    roles: tuple[Role, ...] = Field(
        (), description="People with one of these roles may deploy.", examples=[["admin"]]
    )
    incidents: bool = Field(False, description="A deployment that belongs to an open incident may go on.")


class Freeze(Part):
    """A time in which nothing is deployed; from a moment until another, or weekly."""

    name: Name = Field(description="What it is called.", examples=["christmas"])
    reason: Line = Field(description="Why; shown to who is stopped.", examples=["Nobody is there to help"])
    environments: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Where. Left out: in all.", examples=[["production"]]
    )
    services: tuple[Name, ...] | None = Field(
        None, min_length=1, description="What. Left out: all services.", examples=[["web"]]
    )
    starts: LocalTime | None = Field(
        None, alias="from", description="When it begins.", examples=["2026-12-20T18:00"]
    )
    until: LocalTime | None = Field(None, description="When it ends.", examples=["2027-01-02T08:00"])
    weekly: Weekly | None = Field(
        None,
        description="Instead of from and until: when it comes again each week.",
        examples=[{"days": ["fri"], "from": "16:00", "until": "24:00"}],
    )
    timezone: Timezone = Field(
        "UTC", description="Whose clocks are meant. Default UTC.", examples=["Europe/Berlin"]
    )
    exceptions: Annotated[Exceptions, OrEmpty] = Field(
        default_factory=Exceptions,
        alias="except",
        description="Who may deploy nevertheless.",
        examples=[{"roles": ["admin"], "incidents": True}],
    )

    @model_validator(mode="after")
    def _once_or_weekly(self) -> Self:
        if self.weekly is not None:
            for key, value in (("from", self.starts), ("until", self.until)):
                if value is not None:
                    wrong(f"expected either {key} or weekly", "write it under weekly", at=(key,))
        elif self.starts is None or self.until is None:
            wrong("expected from and until, or weekly", "from: 2026-12-20T18:00")
        elif self.until <= self.starts:
            wrong("ends before it begins", at=("until",))
        return self

    def covers(self, environment: str, service: str) -> bool:
        """Whether it is about this service in this environment, at any time."""
        where, what = self.environments, self.services
        return (where is None or environment in where) and (what is None or service in what)

    def active(self, at: float) -> bool:
        """Whether it holds at `at` (epoch seconds): from its first instant on, up to and without its last.

        Where clocks are set back, a beginning is the first of two equal times and an end the last; a time that
        is jumped over is the moment of the jump.
        """
        return any(start <= at < end for start, end in self._around(at))

    def next_change(self, at: float) -> float | None:
        """The next moment after `at` at which it begins or ends (epoch seconds); None when there is none."""
        nearest = _A_WEEK.total_seconds()
        bounds = [bound for interval in _joined(self._around(at)) for bound in interval if bound > at]
        if self.weekly is not None:
            bounds = [bound for bound in bounds if bound <= at + nearest]
        return min(bounds, default=None)

    def _around(self, at: float) -> Iterator[Interval]:
        """Its intervals, in order; of a weekly one those that a week from `at` on can touch."""
        zone = ZoneInfo(self.timezone)
        if self.starts is not None and self.until is not None:
            yield first_instant(self.starts, zone), last_instant(self.until, zone)
        if self.weekly is None:
            return
        today = datetime.fromtimestamp(at, UTC).date()
        for offset in range(-_LONGEST.days, (_A_WEEK + _LONGEST).days + 1):
            day = today + timedelta(days=offset)
            if DAYS[day.weekday()] not in self.weekly.days:
                continue
            midnight = datetime.combine(day, time())
            length = self.weekly.until - self.weekly.starts
            end = self.weekly.until + (_A_DAY if length <= timedelta(0) else timedelta(0))
            yield first_instant(midnight + self.weekly.starts, zone), last_instant(midnight + end, zone)


def _joined(intervals: Iterator[Interval]) -> Iterator[Interval]:
    """Intervals that touch are one: nothing changes where they meet."""
    current: Interval | None = None
    for start, end in intervals:
        if current is not None and start <= current[1]:
            current = current[0], max(current[1], end)
            continue
        if current is not None:
            yield current
        current = start, end
    if current is not None:
        yield current


class FreezesFile(Part):
    """`deployment/freezes.yaml`."""

    freezes: tuple[Freeze, ...] = Field(
        default=(),
        description="When nothing is deployed. Rollbacks always are.",
        examples=[
            [{"name": "weekend", "reason": "Nobody is there to help", "weekly": {"days": ["sat", "sun"]}}]
        ],
    )
