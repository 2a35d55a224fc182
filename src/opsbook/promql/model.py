"""What a query answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from opsbook.promql.series import Floats, Integers, Labels, Matcher, is_sample


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number, without labels."""

    value: float
    at: int  # milliseconds


@dataclass(frozen=True, slots=True)
class Text:
    """A text; only literals have this type."""

    value: str
    at: int


@dataclass(frozen=True, slots=True)
class Vector:
    """One sample of each of some series, at one time."""

    series: tuple[Labels, ...]
    values: Floats  # one for each of `series`
    timestamps: Integers  # milliseconds, one for each of `series`


@dataclass(frozen=True, slots=True)
class Matrix:
    """Series over steps. `values` is series x steps, with `ABSENT` (see `is_sample`) where there is no value."""

    series: tuple[Labels, ...]
    timestamps: Integers  # milliseconds, one for each step
    values: Floats

    def points(self, row: int) -> tuple[Integers, Floats]:
        """Times and values of one series, without the steps that have none."""
        values = self.values[row]
        present = is_sample(values)
        return self.timestamps[present], values[present]


@dataclass(frozen=True, slots=True)
class Samples:
    """Series with samples at times of their own: what an instant query for a range selector answers."""

    series: tuple[Labels, ...]
    rows: tuple[tuple[Integers, Floats], ...]  # milliseconds and values, for each of `series`

    def points(self, row: int) -> tuple[Integers, Floats]:
        """Times and values of one series."""
        return self.rows[row]


Value: TypeAlias = Scalar | Text | Vector | Matrix | Samples


@dataclass(frozen=True, slots=True)
class Result:
    """An answer, and what a person should know of how it came about.

    `warnings` say that the answer may be wrong; `infos` that the question may be.
    """

    value: Value
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Selector:
    """What an expression reads: a metric, or several."""

    name: str | None  # None: not one by its name
    matchers: tuple[Matcher, ...]  # with the one of the name
    range_ms: int  # how far back before the time of evaluation: range, offset and lookback together
