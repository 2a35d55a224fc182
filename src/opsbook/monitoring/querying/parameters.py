"""Times, durations and steps as Prometheus' API takes them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from opsbook.errors import Invalid
from opsbook.promql import Matcher, parse
from opsbook.promql.expression import Select

MAX_POINTS = 11_000

_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_MILLISECONDS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1000, 1)
_LONGEST = 300 * 31_536_000  # seconds


@dataclass(frozen=True, slots=True)
class Steps:
    """A range: milliseconds."""

    start: int
    end: int
    step: int


def moment(text: str, *, where: str) -> int:
    """A time: seconds since the epoch, or RFC 3339. In milliseconds.

    Raises:
        Invalid: it is neither.
    """
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = datetime.fromisoformat(text).timestamp()
        except ValueError:
            raise Invalid(f'cannot parse "{text}" to a valid timestamp', where=where) from None
    if not math.isfinite(seconds) or abs(seconds) > _LONGEST * 1000:
        raise Invalid(f'cannot parse "{text}" to a valid timestamp', where=where)
    return round(seconds * 1000)


def span(text: str, *, where: str) -> int:
    """A duration: seconds, or ``1h30m``. In milliseconds.

    Raises:
        Invalid: it is neither.
    """
    try:
        seconds = float(text)
    except ValueError:
        match = _DURATION.fullmatch(text)
        if match is None or not text:
            raise Invalid(f'cannot parse "{text}" to a valid duration', where=where) from None
        parts = zip(match.groups(), _MILLISECONDS, strict=True)
        return sum(int(number) * unit for number, unit in parts if number)
    if not math.isfinite(seconds) or abs(seconds) > _LONGEST:
        raise Invalid(f'cannot parse "{text}" to a valid duration', where=where)
    return round(seconds * 1000)


def steps(start: str, end: str, step: str) -> Steps:
    """The steps of a range query.

    Raises:
        Invalid: a part cannot be read, they contradict each other, or there are too many steps.
    """
    found = Steps(moment(start, where="start"), moment(end, where="end"), span(step, where="step"))
    if found.end < found.start:
        raise Invalid("end timestamp must not be before start time", where="end")
    if found.step <= 0:
        raise Invalid("zero or negative query resolution step widths are not accepted", where="step")
    if (found.end - found.start) // found.step > MAX_POINTS:
        raise Invalid(
            f"exceeded maximum resolution of {MAX_POINTS:,} points per timeseries",
            where="step",
            hint="try decreasing the query resolution (?step=XX)",
        )
    return found


def selector(text: str) -> tuple[Matcher, ...]:
    """The matchers of a ``match[]``.

    Raises:
        Invalid: it is no plain selector.
    """
    root = parse(text, where="match[]").root
    if (
        not isinstance(root, Select)
        or root.range is not None
        or root.shift.at is not None
        or root.shift.offset
    ):
        raise Invalid(f"{text!r} is no series selector", where="match[]")
    return root.matchers


def selectors(texts: Sequence[str]) -> list[tuple[Matcher, ...]]:
    """Those of all of them."""
    return [selector(text) for text in texts]
