"""Wall-clock times of a place, and the instants they are, also in the nights when clocks are changed."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, WithJsonSchema

from opsbook.book.fields import expected

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_LOCAL_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?)?")
CLOCK = 'a time of day such as "16:00", in quotes'
LOCAL_TIME = "a date and time such as 2026-12-20T18:00"


def _timezone(value: Any) -> Any:
    if isinstance(value, str):
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            expected("a time zone such as Europe/Berlin")
    return value


Timezone = Annotated[str, BeforeValidator(_timezone)]


def _clock(value: Any) -> timedelta:
    if value == "24:00":
        return timedelta(days=1)
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        expected(CLOCK)
    return timedelta(hours=int(match[1]), minutes=int(match[2]))


Clock = Annotated[
    timedelta,
    BeforeValidator(_clock),
    WithJsonSchema(
        {"type": "string", "$comment": "time of day", "description": CLOCK, "examples": ["16:00", "24:00"]}
    ),
]
"""A time of day as the time since midnight, at most 24 hours."""


def _local_time(value: Any) -> datetime:
    if isinstance(value, str) and _LOCAL_TIME.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    hint = (
        "the place is said by timezone"
        if isinstance(value, str) and re.search(r"[T ].*(Z|[+-]\d\d)", value)
        else ""
    )
    return expected(LOCAL_TIME, hint)


LocalTime = Annotated[
    datetime,
    BeforeValidator(_local_time),
    WithJsonSchema(
        {
            "type": "string",
            "$comment": "date and time",
            "description": LOCAL_TIME,
            "examples": ["2026-12-20T18:00"],
        }
    ),
]
"""A wall clock's date and time, without a zone."""


def first_instant(local: datetime, zone: ZoneInfo) -> float:
    """When a clock in `zone` first shows `local`, as epoch seconds; when it never does, when it jumps over it."""
    before, after = _readings(local, zone)
    return before if before <= after else _jump(after, before, zone)


def last_instant(local: datetime, zone: ZoneInfo) -> float:
    """When a clock in `zone` last shows `local`, as epoch seconds; when it never does, when it jumps over it."""
    before, after = _readings(local, zone)
    return after if before <= after else _jump(after, before, zone)


def _readings(local: datetime, zone: ZoneInfo) -> tuple[float, float]:
    """By the offset before a change of the clocks, and by that after it; the same on any other day (PEP 495)."""
    return tuple(local.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))  # type: ignore[return-value]


def _jump(low: float, high: float, zone: ZoneInfo) -> float:
    """The instant in (low, high] from which on the offset of `zone` is the one at `high`, to the second."""
    wanted = datetime.fromtimestamp(high, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == wanted:
            high = middle
        else:
            low = middle
    return high
