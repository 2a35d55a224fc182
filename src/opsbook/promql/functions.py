"""The functions of the language, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from opsbook.errors import Invalid
from opsbook.promql import counters, over_time, trends
from opsbook.promql.expression import Node, Select, Subquery
from opsbook.promql.series import NAME, Flags, Floats, Labels
from opsbook.promql.vectors import Vectors
from opsbook.promql.windows import Block, Windows

OfRange: TypeAlias = Callable[[Block, Windows], tuple[Floats, Flags]]

# Of a range vector alone.
OF_RANGE: dict[str, OfRange] = {
    "rate": counters.rate,
    "increase": counters.increase,
    "delta": counters.delta,
    "irate": counters.irate,
    "idelta": counters.idelta,
    "resets": counters.resets,
    "changes": counters.changes,
    "avg_over_time": over_time.average,
    "count_over_time": over_time.count,
    "first_over_time": over_time.first,
    "last_over_time": over_time.last,
    "mad_over_time": over_time.median_deviation,
    "max_over_time": over_time.maximum,
    "min_over_time": over_time.minimum,
    "present_over_time": over_time.present,
    "stddev_over_time": over_time.deviation,
    "stdvar_over_time": over_time.variance,
    "sum_over_time": over_time.total,
    "ts_of_first_over_time": over_time.time_of_first,
    "ts_of_last_over_time": over_time.time_of_last,
    "ts_of_max_over_time": over_time.time_of_maximum,
    "ts_of_min_over_time": over_time.time_of_minimum,
    "deriv": trends.derivative,
}
# Of a range vector, and of scalars before or after it.
WITH_PARAMETERS: dict[str, Callable[..., tuple[Floats, Flags]]] = {
    "quantile_over_time": over_time.quantile,
    "predict_linear": trends.prediction,
    "double_exponential_smoothing": trends.smoothed,
    "holt_winters": trends.smoothed,
}
KEEPING_NAME = frozenset({"last_over_time", "first_over_time"})
RATES = frozenset({"rate", "increase"})

# Number by number.
OF_NUMBERS: dict[str, Callable[[Floats], Floats]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "deg": np.rad2deg,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "rad": np.deg2rad,
    "sgn": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}


def clamp(vectors: Vectors, least: Floats | None, greatest: Floats | None) -> Vectors:
    """``clamp``, ``clamp_min`` and ``clamp_max``: NaN as a bound makes all NaN, bounds the wrong way round none."""
    values, present = vectors.values, vectors.floats()
    if greatest is not None:
        values = np.minimum(values, greatest)
    if least is not None:
        values = np.maximum(values, least)
    if least is not None and greatest is not None:
        present = present & ~(greatest < least)
    return vectors.having(values, present=present).inhabited()


def rounded(vectors: Vectors, to: Floats) -> Vectors:
    """``round``: to the nearest multiple, half up."""
    inverse = 1.0 / to
    return vectors.having(
        np.floor(vectors.values * inverse + 0.5) / inverse, present=vectors.floats()
    ).inhabited()


def scalar(vectors: Vectors) -> Floats:
    """``scalar``: the value where there is exactly one, else NaN."""
    floats = vectors.floats()
    values = np.where(floats, vectors.values, 0.0).sum(axis=0) if len(vectors) else np.zeros(floats.shape[1])
    # 0 + -0 is 0 and a sum with one summand is that summand, NaN and infinity included.
    result: Floats = np.where(floats.sum(axis=0) == 1, values, np.nan)
    return result


def absent(node: Node, present: Flags) -> Vectors:
    """``absent``: 1 at the steps where nothing is, with the labels that the selector fixes."""
    missing: Flags = ~np.logical_or.reduce(present, axis=0, keepdims=True)
    values = np.ones(missing.shape)
    return Vectors([_fixed(node)], values, missing, np.zeros(1, np.bool_)).inhabited()


def _fixed(node: Node) -> Labels:
    if isinstance(node, Subquery) or not isinstance(node, Select):
        return {}
    found: dict[str, str] = {}
    several: set[str] = set()
    for matcher in node.matchers:
        if matcher.label == NAME:
            continue
        if matcher.operator == "=" and matcher.label not in found and matcher.label not in several:
            found[matcher.label] = matcher.value
        else:
            found.pop(matcher.label, None)
            several.add(matcher.label)
    return {label: value for label, value in found.items() if value}


def by_value(vectors: Vectors, *, descending: bool) -> Vectors:
    """``sort`` and ``sort_desc``: by the value at the first step, NaN last."""
    kept = vectors.rows(vectors.floats()[:, 0])
    values = kept.values[:, 0]
    keys = -values if descending else values
    order = np.lexsort((np.where(np.isnan(values), 0.0, keys), np.isnan(values)))
    return kept.rows(order.tolist())


def factor(values: Floats, name: str) -> Floats:
    """A factor of smoothing.

    Raises:
        Invalid: it is not between 0 and 1.
    """
    if ((values <= 0) | (values >= 1) | np.isnan(values)).any():
        raise Invalid(f"invalid {name} factor, expected 0 < {name[0]}f < 1, got {values[0]:g}")
    return values
