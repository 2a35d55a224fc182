"""Hours that come again, and whether they are now: for freezes, silences, maintenance and quiet hours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from opsbook.book.fields import Part, wrong
from opsbook.book.moments import Clock, first_instant, last_instant

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


@dataclass(frozen=True, slots=True)
class Window:
    """From one time until another, or weekly; by the clocks of a place."""

    starts: datetime | None = None
    until: datetime | None = None
    weekly: Weekly | None = None
    timezone: str = "UTC"

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
