"""Series of samples as they are stored and asked for: labels, matchers, windows, and the markers in them.

Three kinds of NaN are told apart by their bits, because NaN never equals anything. `STALE` is Prometheus' own marker
(``0x7ff0000000000002``): the series ended here. `ABSENT` is ours: the target was scraped at that time and the series
did not exist; it fills the cells of a block that no sample was written to. Any other NaN is a value that a target
sent. Both markers are *signalling* NaNs: arithmetic would turn them into ordinary ones, while copies, slices and
`take` of numpy move the bits unchanged. So write them through the int64 view only, and test before calculating.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import re2

from opsbook.errors import Invalid

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Labels: TypeAlias = Mapping[str, str]
LabelKey: TypeAlias = tuple[tuple[str, str], ...]
Operator: TypeAlias = Literal["=", "!=", "=~", "!~"]

NAME = "__name__"
STALE = np.int64(0x7FF0000000000002)
ABSENT = np.int64(0x7FF0000000000003)


def key_of(labels: Labels) -> LabelKey:
    """The labels as something that can be hashed and compared."""
    return tuple(sorted(labels.items()))


def is_stale(values: Floats) -> Flags:
    """Where the end of a series is marked."""
    stale: Flags = values.view(np.int64) == STALE
    return stale


def is_sample(values: Floats) -> Flags:
    """Where there is a value, NaN sent by a target included."""
    bits = values.view(np.int64)
    present: Flags = (bits != STALE) & (bits != ABSENT)
    return present


@lru_cache(maxsize=4096)
def compile_anchored(pattern: str, *, where: str) -> Any:
    """The regular expression (RE2's dialect) whose ``fullmatch`` decides; a dot fits a line's end too.

    Raises:
        Invalid: it does not parse.
    """
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else error
        said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise Invalid(f"{pattern!r} is not a regular expression: {said}", where=where) from error


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on one label, as in PromQL: a label that is missing is the empty text, regexes are anchored.

    Raises:
        Invalid: the regular expression does not parse.
    """

    label: str
    operator: Operator
    value: str
    _pattern: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self.operator in ("=~", "!~"):
            object.__setattr__(self, "_pattern", compile_anchored(self.value, where=self.label))

    def fits(self, value: str) -> bool:
        """Whether a label with this value (empty: without the label) is meant."""
        if self._pattern is None:
            return (value == self.value) is (self.operator == "=")
        return (self._pattern.fullmatch(value) is not None) is (self.operator == "=~")

    def matches(self, labels: Labels) -> bool:
        """Whether a series with these labels is meant."""
        return self.fits(labels.get(self.label, ""))

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.operator}"{escaped}"'


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a block: `values` is series x samples over the shared `timestamps`. A copy, safe to keep."""

    timestamps: Integers  # milliseconds, ascending
    values: Floats
    scraped: Flags  # per sample: the target answered
    natives: Any = None  # native histograms by cell, if there are any: None or an array of objects


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen series of one target; `series[i]` are the labels of row `i` of `window.values`."""

    target: Labels
    series: tuple[Labels, ...]
    window: Window

    def points(self, row: int) -> tuple[Integers, Floats]:
        """Times and values of one series, without absent cells and markers."""
        values = self.window.values[row]
        present = is_sample(values)
        return self.window.timestamps[present], values[present]


class Storage(Protocol):
    """Where series are kept."""

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[Selection, ...]:
        """Every series that all `matchers` fit, between two times in milliseconds, both included.

        Returns:
            Selections, one per target or more, with markers of staleness and absence in the values. A series may
            be in several of them when their times do not overlap.
        """
