"""Operators between two vectors: which series find each other, and what they give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from opsbook.errors import Failed
from opsbook.promql.annotations import Annotations
from opsbook.promql.expression import Binary, Matching
from opsbook.promql.native import Natives
from opsbook.promql.native_operators import between
from opsbook.promql.operators import ARITHMETIC, COMPARISONS
from opsbook.promql.series import NAME, Flags, Floats, Integers, Labels
from opsbook.promql.vectors import Vectors, concatenated, empty, merged, shown

Key = object


def signature(matching: Matching) -> Callable[[Labels], Key]:
    """What two series must have in common to match, as something to hash."""
    if matching.on:
        wanted = matching.labels
        if len(wanted) == 1:
            only = wanted[0]
            return lambda labels: labels.get(only, "")
        return lambda labels: tuple([labels.get(label, "") for label in wanted])
    unwanted = {*matching.labels, NAME}
    return lambda labels: frozenset([item for item in labels.items() if item[0] not in unwanted])


def combine_sets(node: Binary, left: Vectors, right: Vectors) -> Vectors:
    """``and``, ``or`` and ``unless``."""
    assert node.matching is not None
    steps = left.values.shape[1]
    key = signature(node.matching)
    if node.operator == "or":
        kept = right.present & ~_matched(right, left, key)
        both = concatenated([left, _with(right, kept).inhabited()], steps)
        # The times of samples belong to one selector; a mix has none.
        both.times = None
        both.distinct = False
        return merged(both)
    matched = _matched(left, right, key)
    kept = left.present & (matched if node.operator == "and" else ~matched)
    return _with(left, kept).inhabited()


def _matched(vectors: Vectors, others: Vectors, key: Callable[[Labels], Key]) -> Flags:
    """At which steps each series has a counterpart among the others."""
    number: dict[Key, int] = {}
    of_other = np.array([number.setdefault(key(labels), len(number)) for labels in others.series], np.intp)
    there = np.zeros((len(number) + 1, vectors.values.shape[1]), np.bool_)
    if len(of_other) == len(number):
        there[: len(number)] = others.present[np.argsort(of_other)]
    else:
        np.logical_or.at(there, of_other, others.present)
    of_own = np.array([number.get(key(labels), len(number)) for labels in vectors.series], np.intp)
    return there[of_own]


def _with(vectors: Vectors, present: Flags) -> Vectors:
    return Vectors(
        vectors.series, vectors.values, present, vectors.nameless, None, vectors.natives, vectors.distinct
    )


def combine(node: Binary, left: Vectors, right: Vectors, notes: Annotations) -> Vectors:
    """Arithmetic or comparison of the series that match.

    Raises:
        Failed: a series has more than one counterpart where it may have one only.
    """
    assert node.matching is not None
    matching = node.matching
    steps = left.values.shape[1]
    filling = matching.fill_left is not None or matching.fill_right is not None
    if not filling and not (len(left) and len(right)):
        return empty(steps)
    swapped = matching.card == "one-to-many"
    many, one = (right, left) if swapped else (left, right)
    pairs = _Pairs(matching, many, one, swapped=swapped)
    result = _answer(node, many, one, pairs, notes, swapped=swapped)
    return result.inhabited()


class _Pairs:
    """The rows of both sides that match: `many[i]` with `one[i]`; -1 where a side is to be filled in."""

    def __init__(self, matching: Matching, many: Vectors, one: Vectors, *, swapped: bool) -> None:
        key = signature(matching)
        self.single = matching.card == "one-to-one"
        rows_of: dict[Key, list[int]] = {}
        for row, labels in enumerate(one.series):
            rows_of.setdefault(key(labels), []).append(row)
        both: Flags = np.logical_and(many.present.any(axis=0), one.present.any(axis=0))
        filled_one = matching.fill_left if swapped else matching.fill_right
        filled_many = matching.fill_right if swapped else matching.fill_left
        if filled_one is not None or filled_many is not None:
            both = np.ones_like(both)
        if len(rows_of) < len(one.series):
            _refuse_duplicates(matching, one, rows_of, both, swapped=swapped)
        chosen_many: list[int] = []
        chosen_one: list[int] = []
        found: dict[Key, list[int]] = {}
        for row, labels in enumerate(many.series):
            known = key(labels)
            found.setdefault(known, []).append(row)
            others = rows_of.get(known)
            if others is not None:
                chosen_many += [row] * len(others)
                chosen_one += others
            if filled_one is not None:
                chosen_many.append(row)
                chosen_one.append(-1)
        if filled_many is not None:
            for row in range(len(one.series)):
                chosen_many.append(-1)
                chosen_one.append(row)
        self.many: Integers = np.array(chosen_many, np.intp)
        self.one: Integers = np.array(chosen_one, np.intp)
        self.filled_many, self.filled_one = filled_many, filled_one
        self.key = key
        if self.single and len(found) < len(many.series):
            _refuse_many(many, one, found, rows_of, filled=filled_one is not None)


def _refuse_duplicates(
    matching: Matching, one: Vectors, rows_of: dict[Key, list[int]], both: Flags, *, swapped: bool
) -> None:
    for rows in rows_of.values():
        if len(rows) == 1:
            continue
        twice = (one.present[rows].sum(axis=0) > 1) & both
        if twice.any():
            step = int(twice.argmax())
            there = [row for row in rows if one.present[row, step]]
            names = sorted(_braced(one.series[row]) for row in there)[:2]
            group = shown(_group_of(matching, one.series[rows[0]]))
            side = "left" if swapped else "right"
            raise Failed(
                f"found duplicate series for the match group {group} on the {side} hand-side of the operation: "
                f"[{', '.join(names)}];many-to-many matching not allowed: matching labels must be unique on one side"
            )


def _refuse_many(
    many: Vectors, one: Vectors, found: dict[Key, list[int]], rows_of: dict[Key, list[int]], *, filled: bool
) -> None:
    for known, rows in found.items():
        others = rows_of.get(known, [])
        if len(rows) == 1 or not (others or filled):
            continue
        there = one.present[others].any(axis=0) if others and not filled else True
        if ((many.present[rows].sum(axis=0) > 1) & there).any():
            raise Failed(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                where=shown(many.series[rows[0]]),
            )


def _group_of(matching: Matching, labels: Labels) -> Labels:
    if matching.on:
        return {label: labels[label] for label in matching.labels if label in labels}
    unwanted = {*matching.labels, NAME}
    return {label: value for label, value in labels.items() if label not in unwanted}


def _braced(labels: Labels) -> str:
    return "{" + ", ".join(f'{label}="{value}"' for label, value in sorted(labels.items())) + "}"


def _side(vectors: Vectors, rows: Integers, filling: float | None, other: Flags) -> tuple[Floats, Flags]:
    """Values and presence of one side; where it is filled in, present where nothing of its key is."""
    if filling is None or not (rows < 0).any():
        return vectors.values[rows], vectors.present[rows]
    values = np.full((rows.size, other.shape[1]), filling)
    present = other.copy()
    real = rows >= 0
    values[real], present[real] = vectors.values[rows[real]], vectors.present[rows[real]]
    return values, present


def _answer(
    node: Binary, many: Vectors, one: Vectors, pairs: _Pairs, notes: Annotations, *, swapped: bool
) -> Vectors:
    assert node.matching is not None
    steps = many.values.shape[1]
    if not pairs.many.size:
        return empty(steps)
    uncovered_many = _uncovered(many, one, pairs) if pairs.filled_one is not None else None
    uncovered_one = _uncovered(one, many, pairs) if pairs.filled_many is not None else None
    blank = np.zeros((pairs.many.size, steps), np.bool_)
    other_of_many, other_of_one = blank.copy(), blank.copy()
    if uncovered_many is not None:
        rows = pairs.one < 0
        other_of_one[rows] = uncovered_many[pairs.many[rows]]
    if uncovered_one is not None:
        rows = pairs.many < 0
        other_of_many[rows] = uncovered_one[pairs.one[rows]]
    many_values, many_there = _side(many, pairs.many, pairs.filled_many, other_of_many)
    one_values, one_there = _side(one, pairs.one, pairs.filled_one, other_of_one)
    present = many_there & one_there
    left, right = (one_values, many_values) if swapped else (many_values, one_values)
    natives: Natives | None = None
    nameless = np.zeros(pairs.many.size, np.bool_)
    matched = present
    if many.natives is not None or one.natives is not None:
        many_natives, one_natives = _natives(many, pairs.many), _natives(one, pairs.one)
        left_natives, right_natives = (one_natives, many_natives) if swapped else (many_natives, one_natives)
        values, present, natives = between(node, (left, left_natives), (right, right_natives), present, notes)
    elif node.operator in ARITHMETIC:
        values = ARITHMETIC[node.operator](left, right)
    else:
        truth = COMPARISONS[node.operator](left, right)
        if node.as_bool:
            values = truth.astype(np.float64)
        else:
            values = left
            present = present & truth
    if node.as_bool:
        nameless[:] = True
    else:
        source = np.concatenate([many.nameless, one.nameless])
        index = np.where(pairs.many >= 0, pairs.many, len(many) + pairs.one)
        nameless = source[index] & (node.operator in COMPARISONS)
    series = _labels(node, many, one, pairs)
    result = Vectors(series, values, present, nameless, None, natives, False)
    return _unique(result, matched, node.matching)


def _natives(vectors: Vectors, rows: Integers) -> Natives:
    blank = np.full((rows.size, vectors.values.shape[1]), None)
    if vectors.natives is not None:
        blank[rows >= 0] = vectors.natives[rows[rows >= 0]]
    return blank


def _uncovered(vectors: Vectors, others: Vectors, pairs: _Pairs) -> Flags:
    """At which steps each series has no counterpart."""
    return vectors.present & ~_matched(vectors, others, pairs.key)


def _labels(node: Binary, many: Vectors, one: Vectors, pairs: _Pairs) -> list[Labels]:
    matching = node.matching
    assert matching is not None
    without_name = node.operator in ARITHMETIC
    result: list[Labels] = []
    for row, other in zip(pairs.many.tolist(), pairs.one.tolist(), strict=True):
        source = many.series[row] if row >= 0 else _group_of(matching, one.series[other])
        labels: dict[str, str]
        if matching.card == "one-to-one" and matching.on:
            labels = {label: source[label] for label in matching.labels if label in source}
        elif matching.card == "one-to-one" and matching.labels:
            labels = {label: value for label, value in source.items() if label not in matching.labels}
        else:
            labels = dict(source)
        if without_name:
            labels.pop(NAME, None)
        for label in matching.include:
            value = one.series[other].get(label, "") if other >= 0 else ""
            if value:
                labels[label] = value
            else:
                labels.pop(label, None)
        result.append(labels)
    return result


def _unique(result: Vectors, matched: Flags, matching: Matching) -> Vectors:
    """The pairs with equal labels made one; that two of them matched at one step is an error, filtered or not.

    Raises:
        Failed: it happened.
    """
    rows_of: dict[frozenset[tuple[str, str]], list[int]] = {}
    for row, labels in enumerate(result.series):
        rows_of.setdefault(frozenset(labels.items()), []).append(row)
    if len(rows_of) == len(result.series):
        result.distinct = True
        return result
    for rows in rows_of.values():
        if len(rows) > 1 and (matched[rows].sum(axis=0) > 1).any():
            said = (
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                if matching.card == "one-to-one"
                else "multiple matches for labels: grouping labels must ensure unique matches"
            )
            raise Failed(said, where=shown(result.series[rows[0]]))
    return merged(result)
