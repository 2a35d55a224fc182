"""The stretch of time that charts show, and the steps on it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from opsbook.book.quantities import duration
from opsbook.errors import Invalid

PRESETS = ("15m", "1h", "6h", "24h", "7d", "30d")
DEFAULT = "1h"
POINTS_A_PIXEL = 2
LEAST_STEP = 5.0  # seconds: the usual time between two scrapes
LEAST_WINDOW = 60.0  # seconds: rates over less than a minute are mostly noise
LONGEST = 400 * 86400.0
WEEK = 7 * 86400.0
_WIDEST, _NARROWEST = 4000, 50  # pixels
_STEPS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end`, epoch seconds.

    Args:
        preset: of which length up to now; empty: it stands still between two times.
    """

    start: float
    end: float
    preset: str = ""

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def step(self, width: int) -> float:
        """Seconds between two points of a chart that is so many pixels wide: at most two points a pixel."""
        pixels = min(max(width, _NARROWEST), _WIDEST)
        least = max(self.seconds / (pixels * POINTS_A_PIXEL), LEAST_STEP)
        return float(next((step for step in _STEPS if step >= least), math.ceil(least / 86400) * 86400))

    def steps(self, width: int) -> tuple[int, int, int]:
        """First and last step and the step between them, in milliseconds.

        They are multiples of the step, so that the same points are asked for again and nothing wavers at a refresh.
        """
        step = int(self.step(width) * 1000)
        end = int(self.end * 1000) // step * step
        start = -(-int(self.start * 1000) // step) * step
        return min(start, end), end, step

    def window(self, width: int) -> float:
        """Seconds for ``$__rate_interval``: what lies between two points, and at least some scrapes."""
        return max(self.step(width) + LEAST_STEP, LEAST_WINDOW)


def span_of(now: float, preset: str = "", start: str = "", end: str = "") -> Span:
    """What an address asks for.

    Args:
        preset: ``6h``: the last six hours. start, end: epoch seconds or ISO 8601; they count before `preset`.

    Raises:
        Invalid: it is no time, or an empty or endless stretch.
    """
    if start or end:
        to = moment_of(end, "to") if end else now
        since = moment_of(start, "from") if start else to - duration(DEFAULT)
        return _checked(Span(since, to))
    preset = preset or DEFAULT
    try:
        length = duration(preset)
    except ValueError as error:
        raise Invalid(f"expected {error}, found {preset!r}", where="range", hint="range=6h") from None
    return _checked(Span(now - length, now, preset))


def moment_of(text: str, where: str) -> float:
    """A time as addresses have it: epoch seconds, or ISO 8601, UTC where it does not say otherwise."""
    try:
        return float(text) if text.replace(".", "", 1).isdecimal() else _iso(text)
    except (ValueError, OverflowError):
        raise Invalid(
            f"expected a time, found {text!r}", where=where, hint="1763700000 or 2026-11-20T14:30"
        ) from None


def _iso(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _checked(span: Span) -> Span:
    if not 0 < span.start < span.end < 32503680000:
        raise Invalid("the stretch of time is empty", where="from", hint="from before to")
    if span.seconds > LONGEST:
        raise Invalid("the stretch of time is longer than 400 days", where="range")
    return span
