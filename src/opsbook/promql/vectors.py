"""Values under evaluation: series x steps, for all steps of a query at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from opsbook.errors import Failed
from opsbook.promql.native import Natives
from opsbook.promql.series import NAME, Flags, Floats, Integers, Labels


@dataclass(slots=True)
class Vectors:
    """A vector at every step.

    Attributes:
        series: the labels of each row; never changed in place.
        values: series x steps; what stands where there is no sample means nothing.
        present: series x steps: where there is a sample.
        nameless: per series: its name is to be removed at the end (until then functions may still read it).
        times: series x steps, when each sample was taken (ms); None: at its step.
        natives: series x steps, the native histograms where a sample is one; None: there are none.
    """

    series: list[Labels]
    values: Floats
    present: Flags
    nameless: Flags
    times: Integers | None = None
    natives: Natives | None = None
    distinct: bool = field(default=True)  # no two series have the same labels

    def __len__(self) -> int:
        return len(self.series)

    def rows(self, chosen: Sequence[int] | Flags | Integers) -> Vectors:
        """Only these series."""
        index = np.asarray(chosen)
        if index.dtype == np.bool_:
            index = np.flatnonzero(index)
        index = index.astype(np.intp)
        return Vectors(
            [self.series[row] for row in index],
            self.values[index],
            self.present[index],
            self.nameless[index],
            None if self.times is None else self.times[index],
            None if self.natives is None else self.natives[index],
            self.distinct,
        )

    def having(self, values: Floats, *, present: Flags | None = None, nameless: bool = True) -> Vectors:
        """The same series with other values, taken at their steps; native histograms are left behind."""
        marks = np.ones(len(self.series), np.bool_) if nameless else self.nameless
        return Vectors(self.series, values, self.present if present is None else present, marks)

    def floats(self) -> Flags:
        """Where there is a sample that is a number."""
        if self.natives is None:
            return self.present
        return self.present & ~self.natives.astype(np.bool_)

    def inhabited(self) -> Vectors:
        """Without the series that have no sample at any step."""
        kept: Flags = np.logical_or.reduce(self.present, axis=1)
        return self if kept.all() else self.rows(kept)


def empty(steps: int) -> Vectors:
    """No series at all."""
    nothing = np.empty((0, steps))
    return Vectors([], nothing, np.empty((0, steps), np.bool_), np.empty(0, np.bool_))


def without_name(labels: Labels) -> Labels:
    """The labels but the metric's name."""
    if NAME not in labels:
        return labels
    return {label: value for label, value in labels.items() if label != NAME}


def merged(vectors: Vectors) -> Vectors:
    """Series with the same labels made one.

    Raises:
        Failed: two of them have a sample at the same step.
    """
    rows_of: dict[frozenset[tuple[str, str]], list[int]] = {}
    for row, labels in enumerate(vectors.series):
        rows_of.setdefault(frozenset(labels.items()), []).append(row)
    if len(rows_of) == len(vectors.series):
        vectors.distinct = True
        return vectors
    return _merge(vectors, list(rows_of.values()))


def _merge(vectors: Vectors, groups: list[list[int]]) -> Vectors:
    first = [rows[0] for rows in groups]
    result = vectors.rows(first)
    result.times = None
    for target, rows in enumerate(groups):
        for row in rows[1:]:
            there = vectors.present[row]
            if (result.present[target] & there).any():
                raise Failed(
                    "vector cannot contain metrics with the same labelset", where=shown(vectors.series[row])
                )
            result.values[target, there] = vectors.values[row, there]
            result.present[target] |= there
            if vectors.natives is not None and result.natives is not None:
                result.natives[target, there] = vectors.natives[row, there]
            result.nameless[target] |= vectors.nameless[row]
    result.distinct = True
    return result


def concatenated(parts: Sequence[Vectors], steps: int) -> Vectors:
    """The series of all parts, one after the other."""
    parts = [part for part in parts if part.series]
    if not parts:
        return empty(steps)
    if len(parts) == 1:
        return parts[0]
    natives = None
    if any(part.natives is not None for part in parts):
        natives = np.concatenate(
            [np.full(part.values.shape, None) if part.natives is None else part.natives for part in parts]
        )
    times = None
    if all(part.times is not None for part in parts):
        times = np.concatenate([part.times for part in parts if part.times is not None])
    return Vectors(
        [labels for part in parts for labels in part.series],
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.present for part in parts]),
        np.concatenate([part.nameless for part in parts]),
        times,
        natives,
    )


def named(vectors: Vectors) -> Vectors:
    """The names removed that are to be, and what then is the same made one.

    Raises:
        Failed: two series have the same labels and a sample at the same step.
    """
    if not vectors.nameless.any():
        return vectors if vectors.distinct else merged(vectors)
    # Series that differ in more than a name still differ without it.
    names = {labels.get(NAME) for labels in vectors.series}
    series = [
        without_name(labels) if nameless else labels
        for labels, nameless in zip(vectors.series, vectors.nameless.tolist(), strict=True)
    ]
    result = Vectors(
        series,
        vectors.values,
        vectors.present,
        np.zeros(len(series), np.bool_),
        vectors.times,
        vectors.natives,
        vectors.distinct,
    )
    return result if vectors.distinct and len(names) == 1 else merged(result)


def shown(labels: Labels) -> str:
    """Labels as Prometheus writes them."""
    inside = ", ".join(
        f'{label}="{value}"'.replace("\n", "\\n") for label, value in sorted(labels.items()) if label != NAME
    )
    name = labels.get(NAME, "")
    return f"{name}{{{inside}}}" if inside or not name else name
