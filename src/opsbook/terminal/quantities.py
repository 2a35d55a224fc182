"""Quantities as people read and write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from opsbook.errors import Invalid

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration(seconds: float) -> str:
    """``0.4s``, ``12.4s``, ``3m 20s``, ``2h 5m``, ``4d 3h``: two units at most."""
    seconds = max(0.0, seconds)
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def age(at: float | None, now: float) -> str:
    """How long ago: ``now``, ``40s``, ``3m``, ``5h``, ``12d``; ``-`` for never. One unit, for tables."""
    if at is None:
        return "-"
    seconds = now - at
    if seconds < 1:
        return "now"
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "m"), (86400, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds // 86400)}d"


def clock_time(at: float, *, date: bool = True) -> str:
    """Local time of this machine with its offset, ISO 8601: what can be compared and pasted."""
    moment = datetime.fromtimestamp(at, tz=UTC).astimezone()
    return moment.isoformat(sep=" ", timespec="seconds") if date else moment.strftime("%H:%M:%S")


def parse_duration(text: str) -> float:
    """Seconds of ``10m``, ``1h30m``, ``500ms`` or a plain number of seconds.

    Raises:
        Invalid: it is none of these.
    """
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(r"(\d+(\.\d+)?(ms|s|m|h|d))+", text):
        raise Invalid(f"expected a duration, got {text!r}", hint="write 90s, 10m, 1h30m or 2d")
    return sum(
        float(number) * UNITS[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)(ms|s|m|h|d)", text)
    )


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 instance``, ``3 instances``, ``2 matches`` (`plural`)."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def share(ratio: float) -> str:
    """``0.2 %``, ``12 %``; small ones keep a digit that is not 0."""
    percent = ratio * 100
    if 0 < percent < 0.1:
        return f"{percent:.1g} %"
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def clock(seconds: float) -> str:
    """``0:07``, ``4:12``, ``1:30:00``: for what counts on, where `duration` would change its width."""
    whole = max(0, int(seconds))
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02}" if whole < 3600 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
