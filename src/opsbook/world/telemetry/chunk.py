"""Samples that are a few minutes old, packed: 120 columns of a block in a tenth to a quarter of their memory.

Most series of a machine stand still, count in whole numbers, or are decimals with three digits. Such rows are kept as
one value, or as a first value and small differences; what is neither is kept as it is. Nothing is rounded: a row is
packed only if unpacking gives the same bits. A chunk never changes, so it is read without a lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from opsbook.promql.series import ABSENT, Flags, Floats, Integers

_STANDING, _RAW = 0, 1  # kinds of rows; those above are differences
_WIDTHS: tuple[type[np.signedinteger[Any]], ...] = (np.int8, np.int16, np.int32)
_SCALES = (1.0, 1000.0)
Places: TypeAlias = npt.NDArray[np.signedinteger[Any]]

_EXACT = 2.0**52  # whole numbers up to here, and their differences, are exact
_BATCH = 4096  # rows packed at a time, so that packing needs little memory


@dataclass(frozen=True, slots=True)
class _Differences:
    """Rows of one kind: value = (first + sum of the differences) / scale."""

    scale: float
    first: Floats
    steps: Places  # rows x (columns - 1)

    def take(self, rows: Places, low: int, high: int) -> Floats:
        out = np.empty((rows.size, high))
        out[:, 0] = self.first[rows]
        out[:, 1:] = self.steps[rows, : high - 1]
        np.cumsum(out, axis=1, out=out)
        if self.scale != 1.0:
            out /= self.scale
        return out[:, low:]


class Chunk:
    """Some columns of a block, packed.

    Args:
        timestamps: milliseconds, ascending.
        scraped: per column, whether the target answered.
        values: columns x rows.
    """

    __slots__ = (
        "_differences",
        "_kind",
        "_place",
        "_raw",
        "_standing",
        "nbytes",
        "present",
        "scraped",
        "timestamps",
    )

    def __init__(self, timestamps: Integers, scraped: Flags, values: Floats) -> None:
        self.timestamps = timestamps.copy()
        self.scraped = scraped.copy()
        rows = values.shape[1]
        self.present: Flags = np.zeros(rows, np.bool_)
        self._kind = np.zeros(rows, np.uint8)
        self._place = np.zeros(rows, np.int32)
        standing: list[Floats] = []
        raw: list[Floats] = []
        packed: dict[int, list[tuple[Floats, Floats]]] = {}
        counts: dict[int, int] = {}
        for begin in range(0, rows, _BATCH):
            batch = np.ascontiguousarray(values[:, begin : begin + _BATCH].T)
            kinds = self._kind[begin : begin + _BATCH]
            self.present[begin : begin + _BATCH] = (batch.view(np.int64) != ABSENT).any(axis=1)
            found = _sorted_out(batch, kinds)
            standing.append(batch[kinds == _STANDING, 0])
            raw.append(batch[kinds == _RAW])
            for kind, parts in found.items():
                packed.setdefault(kind, []).append(parts)
            for kind in np.unique(kinds).tolist():
                chosen = np.flatnonzero(kinds == kind)
                before = counts.get(kind, 0)
                self._place[begin + chosen] = np.arange(before, before + chosen.size)
                counts[kind] = before + chosen.size
        self._standing: Floats = np.concatenate(standing) if standing else np.empty(0)
        self._raw: Floats = np.concatenate(raw) if raw else np.empty((0, timestamps.size))
        self._differences = {
            kind: _Differences(
                _SCALES[(kind - 2) // len(_WIDTHS)],
                np.concatenate([first for first, _ in parts]),
                np.concatenate([steps.astype(_WIDTHS[(kind - 2) % len(_WIDTHS)]) for _, steps in parts]),
            )
            for kind, parts in packed.items()
        }
        arrays = [
            self.timestamps,
            self.scraped,
            self.present,
            self._kind,
            self._place,
            self._standing,
            self._raw,
        ]
        arrays += [array for part in self._differences.values() for array in (part.first, part.steps)]
        self.nbytes = sum(array.nbytes for array in arrays)

    @property
    def last(self) -> int:
        """The newest timestamp."""
        return int(self.timestamps[-1])

    def fill(self, out: Floats, slots: Integers, low: int, high: int) -> None:
        """Write the columns from `low` to `high` (exclusive) of the rows `slots` to `out` (rows x columns).

        Rows that came later than the chunk are absent in it.
        """
        known = slots < self._kind.size
        if not known.all():
            out.view(np.int64)[~known] = ABSENT
            into = np.flatnonzero(known)
            slots = slots[into]
        else:
            into = None
        kinds, places = self._kind[slots], self._place[slots]
        for kind in np.flatnonzero(np.bincount(kinds)).tolist():
            chosen = np.flatnonzero(kinds == kind)
            rows = places[chosen]
            target = chosen if into is None else into[chosen]
            if kind == _STANDING:
                out[target] = self._standing[rows][:, np.newaxis]
            elif kind == _RAW:
                out[target] = self._raw[rows, low:high]
            else:
                out[target] = self._differences[kind].take(rows, low, high)


def _sorted_out(batch: Floats, kinds: npt.NDArray[np.uint8]) -> dict[int, tuple[Floats, Floats]]:
    """Set the kind of every row of `batch`; of those kept as differences, first values and differences by kind."""
    bits = batch.view(np.int64)
    kinds[:] = np.where((bits == bits[:, :1]).all(axis=1), _STANDING, _RAW)
    found: dict[int, tuple[Floats, Floats]] = {}
    for number, scale in enumerate(_SCALES):
        rest = np.flatnonzero(kinds == _RAW)
        if not rest.size:
            break
        values = batch[rest]
        with np.errstate(invalid="ignore", over="ignore"):
            whole = np.rint(values * scale)
            same = ((whole / scale).view(np.int64) == values.view(np.int64)).all(axis=1)
            same &= (np.abs(whole) < _EXACT).all(axis=1)
            same &= ~(np.signbit(whole) & (whole == 0)).any(axis=1)  # sums know no negative zero
        rest, whole = rest[same], whole[same]
        steps = np.diff(whole, axis=1)
        largest = np.abs(steps).max(axis=1, initial=0)
        below = -1.0
        for width_number, width in enumerate(_WIDTHS):
            limit = float(np.iinfo(width).max)
            fits = (largest > below) & (largest <= limit)
            below = limit
            if fits.any():
                kind = 2 + number * len(_WIDTHS) + width_number
                kinds[rest[fits]] = kind
                found[kind] = (whole[fits, 0], steps[fits])
    return found
