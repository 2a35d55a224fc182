"""``info``: labels that another metric has for the same target, ``target_info`` unless told otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from opsbook.errors import Failed
from opsbook.promql.expression import Call, Select, Shift
from opsbook.promql.series import NAME, Labels, Matcher
from opsbook.promql.vectors import Vectors, merged, shown

if TYPE_CHECKING:
    from opsbook.promql.evaluation import Evaluation

_IDENTIFYING = ("instance", "job")
_DEFAULT = Matcher(NAME, "=", "target_info")


def enriched(at: Evaluation, node: Call) -> Vectors:
    """The series of the first argument with labels of the info series of their targets.

    The second argument says which labels: those it has matchers for; all without it.

    Raises:
        Failed: two info series of a target say different things of it at once.
    """
    base = at.vector(node.arguments[0])
    wanted = (
        node.arguments[1].matchers
        if len(node.arguments) > 1 and isinstance(node.arguments[1], Select)
        else ()
    )
    names = tuple(matcher for matcher in wanted if matcher.label == NAME) or (_DEFAULT,)
    data = tuple(matcher for matcher in wanted if matcher.label != NAME)
    information = at.vector(Select(None, (*names, *data), Shift()))
    rows_of: dict[tuple[str, ...], list[int]] = {}
    for row, labels in enumerate(information.series):
        rows_of.setdefault(_target(labels), []).append(row)
    kept = {matcher.label for matcher in data}
    must = [matcher for matcher in data if not matcher.fits("")]
    source: list[int] = []
    series: list[Labels] = []
    present: list[np.ndarray[tuple[int, ...], np.dtype[np.bool_]]] = []
    for row, labels in enumerate(base.series):
        covered = np.zeros(at.steps, np.bool_)
        of_info = all(matcher.matches(labels) for matcher in names)
        for other in [] if of_info else rows_of.get(_target(labels), []):
            there = base.present[row] & information.present[other]
            if (covered & there).any():
                raise Failed(
                    f"found duplicate info series for {shown(labels)}", where=shown(information.series[other])
                )
            covered |= there
            source.append(row)
            series.append(_with(labels, information.series[other], kept))
            present.append(there)
        if of_info or not must:
            source.append(row)
            series.append(labels)
            present.append(base.present[row] & ~covered)
    result = base.rows(source)
    stacked = np.array(present, np.bool_).reshape(len(series), at.steps)
    return merged(Vectors(series, result.values, stacked, result.nameless, None, result.natives).inhabited())


def _target(labels: Labels) -> tuple[str, ...]:
    return tuple(labels.get(label, "") for label in _IDENTIFYING)


def _with(labels: Labels, information: Labels, kept: set[str]) -> Labels:
    added = {
        label: value
        for label, value in information.items()
        if label != NAME and label not in labels and (not kept or label in kept)
    }
    return {**labels, **added}
