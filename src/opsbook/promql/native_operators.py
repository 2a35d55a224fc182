"""Operators and sums of native histograms."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from opsbook.promql.annotations import Annotations
from opsbook.promql.expression import Binary
from opsbook.promql.native import Histogram, Natives
from opsbook.promql.operators import ARITHMETIC, COMPARISONS
from opsbook.promql.series import Flags, Floats
from opsbook.promql.vectors import Vectors

Cell: TypeAlias = float | Histogram
Sums: TypeAlias = dict[tuple[int, int], Histogram | None]  # by group and step


def with_number(
    node: Binary, vectors: Vectors, other: Floats, notes: Annotations, *, swapped: bool
) -> Vectors:
    """An operator between a vector with native histograms and a scalar."""
    values, present = vectors.values.copy(), vectors.present.copy()
    natives = np.full(values.shape, None)
    comparing = node.operator in COMPARISONS
    for row, step in np.argwhere(present).tolist():
        own, number = _cell(vectors, row, step), float(other[step])
        left, right = (number, own) if swapped else (own, number)
        answer = _answer(node, left, right, notes)
        present[row, step] = answer is not None
        if comparing and not node.as_bool and answer is not None:
            answer = own
        _put(values, natives, row, step, answer)
    nameless = vectors.nameless if comparing and not node.as_bool else np.ones(len(vectors), np.bool_)
    return Vectors(vectors.series, values, present, nameless, None, _any(natives)).inhabited()


def between(
    node: Binary,
    left: tuple[Floats, Natives],
    right: tuple[Floats, Natives],
    present: Flags,
    notes: Annotations,
) -> tuple[Floats, Flags, Natives | None]:
    """An operator between rows that match: values and native histograms of each side.

    Returns:
        Values, where there is an answer, and the answers that are native histograms.
    """
    values, there = np.full(present.shape, np.nan), present.copy()
    natives = np.full(present.shape, None)
    for row, step in np.argwhere(present).tolist():
        one = left[1][row, step] or float(left[0][row, step])
        other = right[1][row, step] or float(right[0][row, step])
        answer = _answer(node, one, other, notes)
        there[row, step] = answer is not None
        if node.operator in COMPARISONS and not node.as_bool and answer is not None:
            answer = one
        _put(values, natives, row, step, answer)
    return values, there, _any(natives)


def added(
    vectors: Vectors, members: list[list[int]], notes: Annotations, *, mean: bool
) -> dict[tuple[int, int], Histogram | None]:
    """Sums (or means) of the groups and steps that have native histograms; None where nothing can be said.

    Args:
        vectors: with them.
        members: the rows of each group.
        notes: where it is said that numbers and histograms were mixed.
        mean: instead of the sum.
    """
    assert vectors.natives is not None
    found: dict[tuple[int, int], Histogram | None] = {}
    for group, rows in enumerate(members):
        there = vectors.present[rows]
        natives = vectors.natives[rows]
        for step in np.flatnonzero((natives.astype(np.bool_) & there).any(axis=0)).tolist():
            cells = [natives[row, step] for row in np.flatnonzero(there[:, step])]
            if any(cell is None for cell in cells):
                notes.warn("encountered a mix of histograms and floats for aggregation")
                found[group, step] = None
                continue
            if not all(cell.addable(cells[0]) for cell in cells):
                notes.warn("vector contains a mix of histograms with exponential and custom buckets schemas")
                found[group, step] = None
                continue
            total = cells[0]
            for cell in cells[1:]:
                total = total.plus(cell)
            found[group, step] = total.scaled(1 / len(cells)) if mean else total
    return found


def _cell(vectors: Vectors, row: int, step: int) -> Cell:
    assert vectors.natives is not None
    native = vectors.natives[row, step]
    return float(vectors.values[row, step]) if native is None else native


def _any(natives: Natives) -> Natives | None:
    return natives if natives.astype(np.bool_).any() else None


def _put(values: Floats, natives: Natives, row: int, step: int, answer: Cell | None) -> None:
    if isinstance(answer, Histogram):
        natives[row, step] = answer
    elif answer is not None:
        values[row, step] = answer


def _answer(node: Binary, left: Cell, right: Cell, notes: Annotations) -> Cell | None:
    """What the operator makes of two samples; None for nothing. A comparison that holds is 1, else None or 0."""
    operator = node.operator
    if isinstance(left, float) and isinstance(right, float):
        if operator in ARITHMETIC:
            return float(ARITHMETIC[operator](np.array(left), np.array(right)))
        return _truth(node, bool(COMPARISONS[operator](np.array(left), np.array(right))))
    if isinstance(left, Histogram) and isinstance(right, Histogram):
        if operator in ("==", "!="):
            return _truth(node, (left == right) is (operator == "=="))
        if operator in ("+", "-") and left.addable(right):
            return left.plus(right) if operator == "+" else left.minus(right)
    if isinstance(left, Histogram) and isinstance(right, float) and operator in ("*", "/"):
        return left.scaled(right if operator == "*" else float(np.divide(1.0, right)))
    if isinstance(left, float) and isinstance(right, Histogram) and operator == "*":
        return right.scaled(left)
    kinds = ["histogram" if isinstance(cell, Histogram) else "float" for cell in (left, right)]
    notes.info(
        f'incompatible types encountered for binary operator "{operator}": {kinds[0]} {operator} {kinds[1]}'
    )
    return None


def _truth(node: Binary, holds: bool) -> float | None:
    if node.as_bool:
        return float(holds)
    return 1.0 if holds else None
