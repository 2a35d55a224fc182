"""Native histograms: carried as objects beside the numbers.

The stores here take none in (what is refused is said where samples arrive), so this is off the fast path: exact, in
plain Python, and only as much as the language asks for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy.typing as npt

Natives: TypeAlias = npt.NDArray[Any]  # of dtype object: None where a sample is a number

CUSTOM = -53  # the schema of buckets with bounds of their own
_FIELD = re.compile(r"(\w+):(\[[^\]]*\]|\S+)")


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of observations in buckets; counts may be fractions, as rates are.

    Attributes:
        schema: bounds are powers of ``2 ** 2 ** -schema``; `CUSTOM`: they are `bounds`.
        buckets: count by the number of the bucket; of custom ones the last is open.
        negative: the same for observations below zero.
        hint: what is known of resets: ``unknown``, ``reset``, ``not_reset`` or ``gauge``.
    """

    schema: int = 0
    count: float = 0.0
    sum: float = 0.0
    zero: float = 0.0
    zero_width: float = 0.0
    buckets: Mapping[int, float] = field(default_factory=dict)
    negative: Mapping[int, float] = field(default_factory=dict)
    bounds: tuple[float, ...] = ()
    hint: str = "unknown"

    @classmethod
    def parse(cls, text: str) -> Histogram:
        """From Prometheus' notation for tests: ``{{schema:1 count:3 sum:2 buckets:[1 2]}}``."""
        fields = dict(_FIELD.findall(text.strip("{}")))

        def numbers(name: str) -> list[float]:
            return [float(number) for number in fields.get(name, "[]")[1:-1].split()]

        def counted(name: str, offset: str) -> dict[int, float]:
            first = int(fields.get(offset, 0))
            return {first + index: number for index, number in enumerate(numbers(name)) if number}

        return cls(
            schema=int(fields.get("schema", 0)),
            count=float(fields.get("count", 0)),
            sum=float(fields.get("sum", 0)),
            zero=float(fields.get("z_bucket", 0)),
            zero_width=float(fields.get("z_bucket_w", 0)),
            buckets=counted("buckets", "offset"),
            negative=counted("n_buckets", "n_offset"),
            bounds=tuple(numbers("custom_values")),
            hint=str(fields.get("counter_reset_hint", "unknown")),
        )

    @property
    def custom(self) -> bool:
        """Whether the buckets have bounds of their own."""
        return self.schema == CUSTOM

    def scaled(self, factor: float) -> Histogram:
        """Every count and the sum times `factor`."""
        return replace(
            self,
            count=self.count * factor,
            sum=self.sum * factor,
            zero=self.zero * factor,
            buckets={index: count * factor for index, count in self.buckets.items()},
            negative={index: count * factor for index, count in self.negative.items()},
            hint="gauge" if factor < 0 else self.hint,
        )

    def plus(self, other: Histogram) -> Histogram:
        """Both together, at the coarser resolution; the two must be of one kind (see `addable`)."""
        if self.custom:
            bounds = tuple(bound for bound in self.bounds if bound in other.bounds)
            left, right = self._with_bounds(bounds), other._with_bounds(bounds)
        else:
            schema, width = min(self.schema, other.schema), max(self.zero_width, other.zero_width)
            left, right = self._coarser(schema, width), other._coarser(schema, width)
        return replace(
            left,
            count=left.count + right.count,
            sum=left.sum + right.sum,
            zero=left.zero + right.zero,
            buckets=_added(left.buckets, right.buckets),
            negative=_added(left.negative, right.negative),
            hint="gauge" if "gauge" in (self.hint, other.hint) else "unknown",
        )

    def minus(self, other: Histogram) -> Histogram:
        """What this has more than the other."""
        return self.plus(other.scaled(-1.0))

    def addable(self, other: Histogram) -> bool:
        """Whether the two are of one kind."""
        return self.custom is other.custom

    def fell(self, before: Histogram) -> bool:
        """Whether this, a counter, was reset since `before`."""
        if self.hint == "reset":
            return True
        if self.hint in ("not_reset", "gauge"):
            return False
        if self.count < before.count or self.custom is not before.custom:
            return True
        if self.custom:
            if self.bounds != before.bounds:
                return True
        elif self.schema > before.schema or self.zero_width < before.zero_width or self.zero < before.zero:
            return True
        then = before if self.custom else before._coarser(self.schema, self.zero_width)
        return any(
            own.get(index, 0.0) < count
            for own, old in ((self.buckets, then.buckets), (self.negative, then.negative))
            for index, count in old.items()
        )

    def __eq__(self, other: object) -> bool:
        """The same observations; what is known of resets does not matter."""
        if not isinstance(other, Histogram):
            return NotImplemented
        return (
            (self.schema, self.bounds, self.zero_width) == (other.schema, other.bounds, other.zero_width)
            and (self.count, self.sum, self.zero) == (other.count, other.sum, other.zero)
            and _filled(self.buckets) == _filled(other.buckets)
            and _filled(self.negative) == _filled(other.negative)
        )

    def __hash__(self) -> int:
        return hash((self.schema, self.count, self.sum))

    def spans(self) -> Iterator[tuple[float, float, float]]:
        """Lower bound, upper bound and count of every bucket that has one, ascending."""
        for index in sorted(self.negative, reverse=True):
            if self.negative[index]:
                yield -self._bound(index), -self._bound(index - 1), self.negative[index]
        if self.zero:
            yield -self.zero_width, self.zero_width, self.zero
        for index in sorted(self.buckets):
            if self.buckets[index]:
                yield self._bound(index - 1), self._bound(index), self.buckets[index]

    def __str__(self) -> str:
        parts = [f"count:{_short(self.count)}", f"sum:{_short(self.sum)}"]
        for lower, upper, count in self.spans():
            left, right = ("[", ")") if upper <= 0 and not self.custom else ("(", "]")
            if lower == -self.zero_width and upper == self.zero_width:
                left, right = "[", "]"
            parts.append(f"{left}{_short(lower)},{_short(upper)}{right}:{_short(count)}")
        return "{" + ", ".join(parts) + "}"

    def _bound(self, index: int) -> float:
        """The upper bound of a positive bucket."""
        if self.custom:
            if index < 0:
                return 0.0 if self.bounds and self.bounds[0] > 0 else -math.inf
            return self.bounds[index] if index < len(self.bounds) else math.inf
        return float(2.0 ** (index * 2.0**-self.schema))

    def _with_bounds(self, bounds: tuple[float, ...]) -> Histogram:
        if bounds == self.bounds:
            return self
        merged: dict[int, float] = {}
        for index, count in self.buckets.items():
            upper = self._bound(index)
            target = sum(1 for bound in bounds if bound < upper)
            merged[target] = merged.get(target, 0.0) + count
        return replace(self, bounds=bounds, buckets=merged)

    def _coarser(self, schema: int, zero_width: float) -> Histogram:
        shift = self.schema - schema
        result = replace(
            self, schema=schema, buckets=_folded(self.buckets, shift), negative=_folded(self.negative, shift)
        )
        if zero_width <= self.zero_width:
            return result
        zero = result.zero
        kept: list[dict[int, float]] = []
        for side in (result.buckets, result.negative):
            rest = dict(side)
            for index in list(rest):
                if result._bound(index - 1) < zero_width:  # noqa: SLF001 -- one of us
                    zero += rest.pop(index)
            kept.append(rest)
        return replace(result, zero=zero, zero_width=zero_width, buckets=kept[0], negative=kept[1])


def histogram_of_buckets(counts: Mapping[float, float], *, sum_: float) -> Histogram:
    """One with custom buckets from the cumulative counts of a classic one, by upper bound."""
    ascending = sorted(counts)
    bounds = tuple(bound for bound in ascending if not math.isinf(bound))
    buckets: dict[int, float] = {}
    before = 0.0
    for index, bound in enumerate(ascending):
        buckets[index] = counts[bound] - before
        before = max(before, counts[bound])
    return Histogram(CUSTOM, before, sum_, buckets={i: c for i, c in buckets.items() if c}, bounds=bounds)


def _added(left: Mapping[int, float], right: Mapping[int, float]) -> dict[int, float]:
    result = dict(left)
    for index, count in right.items():
        result[index] = result.get(index, 0.0) + count
    return result


def _filled(buckets: Mapping[int, float]) -> dict[int, float]:
    return {index: count for index, count in buckets.items() if count}


def _folded(buckets: Mapping[int, float], shift: int) -> dict[int, float]:
    result: dict[int, float] = {}
    for index, count in buckets.items():
        target = ((index - 1) >> shift) + 1 if shift > 0 else index
        result[target] = result.get(target, 0.0) + count
    return result


def _short(value: float) -> str:
    return f"{value:.17g}" if value != round(value, 6) else f"{value:g}"
