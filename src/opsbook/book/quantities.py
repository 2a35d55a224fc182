"""Durations, sizes, percentages and cores, as people write them. ValueError says what was expected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
_DURATION_UNITS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile("".join(f"(?:({_NUMBER}){unit})?" for unit in _DURATION_UNITS))
_SIZE_UNITS: Mapping[str, int] = {
    "B": 1,
    **{prefix + end: 1000**power for power, prefix in enumerate("kMGT", 1) for end in ("", "B")},
    **{prefix + end: 1000 for prefix in "K" for end in ("", "B")},
    **{f"{prefix}i{end}": 1024**power for power, prefix in enumerate("KMGT", 1) for end in ("", "B")},
}
_SIZE = re.compile(rf"({_NUMBER}) ?([A-Za-z]+)")
_PERCENTAGE = re.compile(rf"({_NUMBER})%")
_CPU = re.compile(rf"({_NUMBER})(m?)")
_COUNT = re.compile(r"[0-9]{1,6}")

DURATION = "a duration such as 30s, 5m or 1h30m"
SIZE = "a size such as 256Mi, 1GiB or 500M"
PERCENTAGE = "a percentage from 0% to 100%"
CPU = "a number of cores such as 500m, 2 or 1.5"
COUNT_OR_SHARE = 'a count such as 1 or a percentage such as "25%"'


def duration(text: str) -> float:
    """``"1h30m"`` as 5400.0 seconds. Units w, d, h, m, s, ms, from large to small, each at most once."""
    match = _DURATION.fullmatch(text)
    if not match or not text:
        raise ValueError(DURATION)
    scales = _DURATION_UNITS.values()
    return sum(float(number) * scale for number, scale in zip(match.groups(), scales, strict=True) if number)


def size(text: str) -> int:
    """``"256Mi"`` as 268435456 bytes.

    Ki, Mi, Gi, Ti are powers of 1024; k, M, G, T of 1000; an end in B is optional.
    """
    match = _SIZE.fullmatch(text)
    if not match or match[2] not in _SIZE_UNITS:
        raise ValueError(SIZE)
    return round(float(match[1]) * _SIZE_UNITS[match[2]])


def percentage(text: str) -> float:
    """``"2.5%"`` as the ratio 0.025."""
    match = _PERCENTAGE.fullmatch(text)
    if not match or float(match[1]) > 100:
        raise ValueError(PERCENTAGE)
    return float(match[1]) / 100


def cpu(text: str) -> float:
    """``"500m"`` as 0.5 cores, ``"2"`` as 2.0."""
    match = _CPU.fullmatch(text)
    if not match or float(match[1]) == 0:
        raise ValueError(CPU)
    return float(match[1]) / (1000 if match[2] else 1)


@dataclass(frozen=True, slots=True)
class CountOrShare:
    """A number of instances, or a ratio of them. Exactly one of the two is set."""

    count: int | None = None
    ratio: float | None = None

    def of(self, total: int, *, round_up: bool) -> int:
        """How many of `total` instances are meant; `round_up` says which way a fraction goes."""
        if self.count is not None:
            return self.count
        # In thousandths of a percent and whole numbers: 0.07 * 100 is 7.000000000000001, and its ceiling 8.
        parts = round((self.ratio or 0.0) * 100_000) * total
        return -(-parts // 100_000) if round_up else parts // 100_000

    @property
    def is_zero(self) -> bool:
        return not self.count and not self.ratio

    def __str__(self) -> str:
        return str(self.count) if self.count is not None else f"{(self.ratio or 0.0) * 100:g}%"


def count_or_share(value: str | int) -> CountOrShare:
    """``1`` as a count, ``"25%"`` as a ratio."""
    if isinstance(value, int):
        if 0 <= value <= 1000:
            return CountOrShare(count=value)
    elif value.endswith("%"):
        return CountOrShare(ratio=percentage(value))
    elif _COUNT.fullmatch(value):
        return count_or_share(int(value))
    raise ValueError(COUNT_OR_SHARE)


def spelled_size(count: int) -> str:
    """268435456 bytes as ``256Mi``: the largest power of 1024 that divides it, else the bytes."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if count and count % _SIZE_UNITS[unit] == 0:
            return f"{count // _SIZE_UNITS[unit]}{unit}"
    return f"{count}B"


def spelled_duration(seconds: float) -> str:
    """5400.0 as ``1h30m``: what `duration` reads back, to the millisecond."""
    if seconds == 0:
        return "0s"
    rest = round(seconds * 1000)
    text = ""
    for unit, scale in _DURATION_UNITS.items():
        count, rest = divmod(rest, round(scale * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"
