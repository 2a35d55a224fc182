"""Aggregations of the series of a vector, step by step."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from opsbook.errors import Invalid
from opsbook.promql.annotations import Annotations
from opsbook.promql.expression import Aggregation
from opsbook.promql.native_operators import added
from opsbook.promql.over_time import quantile_of
from opsbook.promql.quoting import BROKEN
from opsbook.promql.series import NAME, Flags, Floats, Integers, Labels
from opsbook.promql.summation import means, sums, suspicious
from opsbook.promql.vectors import Vectors, empty, merged

Cells = TypeVar("Cells", Floats, Flags)
CHOOSING = frozenset({"topk", "bottomk", "limitk", "limit_ratio"})


class Groups:
    """The series of a vector by the labels they are aggregated to.

    Attributes:
        labels: of each group.
        order: the rows, those of a group together.
        starts: where in `order` each group begins.
        of: for each row of `order`, its group.
    """

    __slots__ = ("labels", "of", "order", "starts")

    def __init__(self, series: list[Labels], node: Aggregation) -> None:
        number, self.labels = _numbered(series, node)
        self.order: Integers = np.argsort(number, kind="stable")
        self.of: Integers = number[self.order]
        self.starts: Integers = np.flatnonzero(np.diff(self.of, prepend=-1))

    def members(self) -> list[Integers]:
        """The rows of each group."""
        return np.split(self.order, self.starts[1:])

    def reduce(self, function: np.ufunc, cells: Cells) -> Cells:
        """`function` over the rows of each group."""
        if len(self.labels) == 1:
            result: Cells = function.reduce(cells, axis=0, keepdims=True)
        else:
            result = function.reduceat(cells[self.order], self.starts, axis=0)
        return result


def _numbered(series: list[Labels], node: Aggregation) -> tuple[Integers, list[Labels]]:
    """The group of each series, and the labels of each group."""
    if node.by and not node.labels:
        return np.zeros(len(series), np.int64), [{}]
    known: dict[object, int] = {}
    found: list[Labels] = []
    numbers = np.empty(len(series), np.int64)
    wanted = node.labels
    if node.by:
        for row, labels in enumerate(series):
            key = tuple([labels.get(label, "") for label in wanted])
            number = known.get(key)
            if number is None:
                number = known[key] = len(found)
                found.append({label: value for label, value in zip(wanted, key, strict=True) if value})
            numbers[row] = number
        return numbers, found
    unwanted = {*wanted, NAME}
    for row, labels in enumerate(series):
        rest = {label: value for label, value in labels.items() if label not in unwanted}
        whole = frozenset(rest.items())
        number = known.get(whole)
        if number is None:
            number = known[whole] = len(found)
            found.append(rest)
        numbers[row] = number
    return numbers, found


def aggregate(
    node: Aggregation, vectors: Vectors, parameter: Floats | str | None, notes: Annotations
) -> Vectors:
    """The aggregation of `vectors`; `parameter` has one number for each step, or is a label.

    Raises:
        Invalid: the parameter is none that the operator can have.
    """
    steps = vectors.values.shape[1]
    if node.operator in CHOOSING:
        assert isinstance(parameter, np.ndarray)
        _check(node.operator, parameter, notes)
    elif node.operator == "quantile":
        assert isinstance(parameter, np.ndarray)
        for value in np.unique(parameter):
            notes.quantile(float(value))
    elif node.operator == "count_values" and not _is_label(str(parameter)):
        raise Invalid(f'invalid label name "{parameter}"')
    if not len(vectors):
        return empty(steps)
    if node.operator not in _WITH_NATIVES and vectors.natives is not None and vectors.natives.any():
        notes.info(f"ignored histogram in {node.operator} aggregation")
    groups = Groups(vectors.series, node)
    present = vectors.floats()
    if node.operator in CHOOSING:
        assert isinstance(parameter, np.ndarray)
        chosen = _choose(node.operator, vectors, present, groups, parameter)
        return chosen.inhabited()
    if node.operator == "count_values":
        return _count_values(vectors, groups, str(parameter))
    nameless = groups.reduce(np.logical_or, vectors.nameless[:, None])[:, 0]
    if node.operator == "quantile":
        assert isinstance(parameter, np.ndarray)
        values = _quantiles(vectors.values, present, groups, parameter)
    else:
        if node.operator in ("count", "group"):
            present = vectors.present
        values = _SIMPLE[node.operator](vectors.values, present, groups)
    there = groups.reduce(np.logical_or, present)
    result = Vectors(groups.labels, values, there, nameless)
    if vectors.natives is not None and node.operator in ("sum", "avg"):
        _add_natives(result, vectors, groups, notes, mean=node.operator == "avg")
    return result.inhabited()


def _add_natives(
    result: Vectors, vectors: Vectors, groups: Groups, notes: Annotations, *, mean: bool
) -> None:
    members = [rows.tolist() for rows in groups.members()]
    natives = np.full(result.values.shape, None)
    for (group, step), native in added(vectors, members, notes, mean=mean).items():
        natives[group, step] = native
        result.present[group, step] = native is not None
    result.natives = natives


_WITH_NATIVES = frozenset({"sum", "avg", "count", "group", "count_values", "limitk", "limit_ratio"})


def _is_label(name: str) -> bool:
    return bool(name) and BROKEN not in name


def _check(operator: str, parameter: Floats, notes: Annotations) -> None:
    if np.isnan(parameter).any():
        what = "Ratio" if operator == "limit_ratio" else "Parameter"
        raise Invalid(f"{what} value is NaN", where=operator)
    if operator == "limit_ratio":
        for ratio in np.unique(parameter[np.abs(parameter) > 1]):
            notes.warn(
                f"ratio value should be between -1 and 1, got {ratio:g}, capping to {np.sign(ratio):g}"
            )


def _filled(values: Floats, present: Flags, filling: float) -> Floats:
    return values if present.all() else np.where(present, values, filling)


def _counts(present: Flags, groups: Groups) -> Floats:
    return groups.reduce(np.add, present.astype(np.float64))


def _sum(values: Floats, present: Flags, groups: Groups) -> Floats:
    filled = _filled(values, present, 0.0)
    result = groups.reduce(np.add, filled)
    return _carefully(filled, present, groups, result, result, sums)


def _average(values: Floats, present: Flags, groups: Groups) -> Floats:
    filled = _filled(values, present, 0.0)
    added = groups.reduce(np.add, filled)
    return _carefully(filled, present, groups, added / _counts(present, groups), added, means)


def _carefully(
    values: Floats,
    present: Flags,
    groups: Groups,
    result: Floats,
    added: Floats,
    again: Callable[[Floats, Flags], Floats],
) -> Floats:
    """Do again what plain addition may have got wrong."""
    largest = groups.reduce(np.maximum, np.abs(values))
    doubtful = suspicious(added, largest) & (largest > 0)
    if doubtful.any():
        for group, members in enumerate(groups.members()):
            steps = np.flatnonzero(doubtful[group])
            if steps.size:
                cells = np.ix_(members, steps)
                result[group, steps] = again(values[cells].T, present[cells].T)
    return result


def _minimum(values: Floats, present: Flags, groups: Groups) -> Floats:
    return groups.reduce(np.fmin, _filled(values, present, np.nan))


def _maximum(values: Floats, present: Flags, groups: Groups) -> Floats:
    return groups.reduce(np.fmax, _filled(values, present, np.nan))


def _group(values: Floats, _: Flags, groups: Groups) -> Floats:
    return np.ones((len(groups.labels), values.shape[1]))


def _number(_: Floats, present: Flags, groups: Groups) -> Floats:
    return _counts(present, groups)


def _variance(values: Floats, present: Flags, groups: Groups) -> Floats:
    result = np.empty((len(groups.labels), values.shape[1]))
    for group, members in enumerate(groups.members()):
        there, cells = present[members], values[members]
        origin = np.take_along_axis(cells, there.argmax(axis=0)[None], axis=0)
        moved = np.where(
            there, cells - origin, 0.0
        )  # from the first on, so that equal values have exactly none
        number = there.sum(axis=0)
        mean = moved.sum(axis=0) / number
        result[group] = np.where(there, (moved - mean) ** 2, 0.0).sum(axis=0) / number
    return result


def _deviation(values: Floats, present: Flags, groups: Groups) -> Floats:
    return np.sqrt(_variance(values, present, groups))


_SIMPLE: dict[str, Callable[[Floats, Flags, Groups], Floats]] = {
    "sum": _sum,
    "avg": _average,
    "min": _minimum,
    "max": _maximum,
    "count": _number,
    "group": _group,
    "stdvar": _variance,
    "stddev": _deviation,
}


def _quantiles(values: Floats, present: Flags, groups: Groups, quantiles: Floats) -> Floats:
    result = np.empty((len(groups.labels), values.shape[1]))
    for group, members in enumerate(groups.members()):
        result[group] = quantile_of(values[members].T, present[members].T, quantiles)
    return result


def _choose(operator: str, vectors: Vectors, present: Flags, groups: Groups, parameter: Floats) -> Vectors:
    """Some of the series themselves; rows of topk and bottomk in the order of their values at the first step."""
    if operator == "limit_ratio":
        share = (
            np.array([zlib.crc32(repr(sorted(labels.items())).encode()) for labels in vectors.series]) / 2**32
        )
        ratio = np.clip(parameter, -1, 1)
        kept = np.where(ratio >= 0, share[:, None] < ratio, share[:, None] >= 1 + ratio)
        return _masked(vectors, vectors.present & kept)
    limit = np.clip(parameter, 0, max(1, len(vectors))).astype(np.int64)
    if operator == "limitk":
        kept = np.zeros_like(vectors.present)
        for members in groups.members():
            kept[members] = np.cumsum(vectors.present[members], axis=0) <= limit
        return _masked(vectors, vectors.present & kept)
    sign = -1.0 if operator == "topk" else 1.0
    kept = np.zeros_like(present)
    order: list[Integers] = []
    for members in groups.members():
        values = vectors.values[members]
        keys = np.where(present[members] & ~np.isnan(values), sign * values, np.inf)
        # NaN after all numbers, what is not there after NaN.
        last = np.where(present[members], np.isnan(values).astype(np.int8), 2)
        rank = np.lexsort((keys, last), axis=0)
        place = np.empty_like(rank)
        np.put_along_axis(place, rank, np.arange(len(members))[:, None], axis=0)
        kept[members] = (place < limit) & present[members]
        order.append(members[rank[:, 0]])
    return _masked(vectors, kept).rows(np.concatenate(order))


def _masked(vectors: Vectors, present: Flags) -> Vectors:
    return Vectors(
        vectors.series, vectors.values, present, vectors.nameless, None, vectors.natives, vectors.distinct
    )


def _count_values(vectors: Vectors, groups: Groups, label: str) -> Vectors:
    found: dict[frozenset[tuple[str, str]], int] = {}
    series: list[Labels] = []
    rows: list[Floats] = []
    steps = vectors.values.shape[1]
    for group, members in enumerate(groups.members()):
        for row in members.tolist():
            for step in np.flatnonzero(vectors.present[row]).tolist():
                native = None if vectors.natives is None else vectors.natives[row, step]
                text = plain(float(vectors.values[row, step])) if native is None else str(native)
                labels = {**groups.labels[group], label: text}
                key = frozenset(labels.items())
                if key not in found:
                    found[key] = len(series)
                    series.append(labels)
                    rows.append(np.zeros(steps))
                rows[found[key]][step] += 1
    values = np.array(rows)
    return merged(Vectors(series, values, values > 0, np.zeros(len(series), np.bool_)))


def plain(value: float) -> str:
    """A number as the value of a label: without an exponent."""
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return np.format_float_positional(value, trim="-")
