"""Functions, applied: what each does with its arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from opsbook.errors import Invalid
from opsbook.promql import classic_histograms, labelling
from opsbook.promql.annotations import Annotations, number
from opsbook.promql.calendar import CALENDAR
from opsbook.promql.expression import Binary, Call, Node, Select
from opsbook.promql.functions import (
    KEEPING_NAME,
    OF_NUMBERS,
    OF_RANGE,
    WITH_PARAMETERS,
    absent,
    by_value,
    clamp,
    factor,
    rounded,
    scalar,
)
from opsbook.promql.operators import ARITHMETIC, COMPARISONS
from opsbook.promql.series import Flags, Floats, Labels
from opsbook.promql.vectors import Vectors, empty, merged
from opsbook.promql.windows import Block, Ranges, Windows

if TYPE_CHECKING:
    from opsbook.promql.evaluation import Evaluated, Evaluation

_INEFFECTIVE = "sort is ineffective for range queries since results are always ordered by labels"


def call(at: Evaluation, node: Call) -> Evaluated:
    """The value of a function.

    Raises:
        Invalid: an argument is none that it can have.
        Failed: its result has the same series twice.
    """
    name = node.function
    if name in OF_RANGE:
        return of_range(at, node.arguments[0], name, OF_RANGE[name])
    if name in OF_NUMBERS:
        return _numbers(at, node, OF_NUMBERS[name])
    if name in CALENDAR:
        return _calendar(at, node)
    if name in WITH_PARAMETERS:
        return _with_parameters(at, node)
    if name not in _OTHERS:
        raise Invalid(f"the function {name} is not known here", where=name)
    return _OTHERS[name](at, node)


def vector_of(value: Evaluated) -> Vectors:
    """A scalar as a vector of one series without labels."""
    assert isinstance(value, np.ndarray)
    there = np.ones((1, value.size), np.bool_)
    return Vectors([{}], value[None, :], there, np.zeros(1, np.bool_))


def negated(vectors: Vectors) -> Vectors:
    """Unary minus."""
    result = vectors.having(-vectors.values)
    if vectors.natives is not None:
        result.natives = np.array(
            [[None if cell is None else cell.scaled(-1.0) for cell in row] for row in vectors.natives],
            dtype=object,
        ).reshape(vectors.natives.shape)
    return result


def with_scalar(
    node: Binary, vectors: Vectors, other: Floats, notes: Annotations, *, swapped: bool
) -> Vectors:
    """An operator between a vector and a scalar; `swapped`: the scalar is on the left."""
    if vectors.natives is not None:
        from opsbook.promql.native_operators import with_number

        return with_number(node, vectors, other, notes, swapped=swapped)
    left, right = (other, vectors.values) if swapped else (vectors.values, other)
    if node.operator in ARITHMETIC:
        return vectors.having(ARITHMETIC[node.operator](left, right))
    truth = COMPARISONS[node.operator](left, right)
    if node.as_bool:
        return vectors.having(truth.astype(np.float64))
    return vectors.having(vectors.values, present=vectors.present & truth, nameless=False).inhabited()


def of_range(
    at: Evaluation, argument: Node, name: str, function: Callable[[Block, Windows], tuple[Floats, Flags]]
) -> Vectors:
    """A function of a range vector, window by window."""
    ranges = at.ranges(argument)
    if any(block.natives is not None for block in ranges.blocks):
        from opsbook.promql.native_ranges import apply

        return at.spread(apply(name, function, ranges, at.notes))
    return at.spread(windowed(ranges, function, keep_name=name in KEEPING_NAME))


def windowed(
    ranges: Ranges, function: Callable[[Block, Windows], tuple[Floats, Flags]], *, keep_name: bool = False
) -> Vectors:
    """The function at each step for each series."""
    steps = ranges.ends.size
    nameless = ranges.nameless if keep_name else np.ones(len(ranges.series), np.bool_)
    if not ranges.blocks:
        return empty(steps)
    shape = (len(ranges.series), steps)
    if len(ranges.blocks) == 1 and ranges.blocks[0].rows.size == len(ranges.series):
        values, there = function(ranges.blocks[0], Windows(ranges.blocks[0], ranges))
        order = np.argsort(ranges.blocks[0].rows)
        return Vectors(ranges.series, values[order], np.broadcast_to(there, shape), nameless).inhabited()
    result, present = np.empty(shape), np.zeros(shape, np.bool_)
    for block in ranges.blocks:
        values, there = function(block, Windows(block, ranges))
        result[block.rows], present[block.rows] = values, there
    return Vectors(ranges.series, result, present, nameless).inhabited()


def _numbers(at: Evaluation, node: Call, function: Callable[[Floats], Floats]) -> Vectors:
    vectors = at.vector(node.arguments[0])
    result = vectors.having(function(vectors.values), present=vectors.floats())
    return result if vectors.natives is None else result.inhabited()


def _calendar(at: Evaluation, node: Call) -> Vectors:
    if not node.arguments:
        return vector_of(CALENDAR[node.function](at.times / 1000))
    vectors = at.vector(node.arguments[0])
    return vectors.having(CALENDAR[node.function](vectors.values), present=vectors.floats()).inhabited()


def _with_parameters(at: Evaluation, node: Call) -> Vectors:
    ranged = next(argument for argument in node.arguments if _is_range(argument))
    parameters = [at.scalar(argument) for argument in node.arguments if argument is not ranged]
    if node.function == "quantile_over_time":
        for value in np.unique(parameters[0]):
            at.notes.quantile(float(value))
    elif node.function in {"double_exponential_smoothing", "holt_winters"}:
        parameters = [factor(parameters[0], "smoothing"), factor(parameters[1], "trend")]
    function = WITH_PARAMETERS[node.function]
    ranges = at.ranges(ranged)
    if ranges.ends.size < at.steps:  # one window for all steps, but a parameter for each
        ranges = replace(
            ranges,
            starts=np.repeat(ranges.starts, at.steps),
            ends=np.repeat(ranges.ends, at.steps),
        )
    if node.function == "predict_linear":
        # From the step, not from where the window ends.
        parameters[0] = parameters[0] + (at.times - ranges.ends) / 1000

    def of_block(block: Block, windows: Windows) -> tuple[Floats, Flags]:
        return function(block, windows, *parameters)

    if any(block.natives is not None for block in ranges.blocks):
        from opsbook.promql.native_ranges import apply

        return apply(node.function, of_block, ranges, at.notes)
    return windowed(ranges, of_block)


def _is_range(node: Node) -> bool:
    from opsbook.promql.expression import Subquery

    return isinstance(node, Subquery) or (isinstance(node, Select) and node.range is not None)


def _timestamp(at: Evaluation, node: Call) -> Vectors:
    argument = node.arguments[0]
    vectors = at.vector(argument)
    taken = np.broadcast_to(at.times, vectors.values.shape)
    if isinstance(argument, Select) and vectors.times is not None:
        taken = vectors.times
    return vectors.having(taken / 1000)


def _absent(at: Evaluation, node: Call) -> Vectors:
    return absent(node.arguments[0], at.vector(node.arguments[0]).present)


def _absent_over_time(at: Evaluation, node: Call) -> Vectors:
    found = of_range(at, node.arguments[0], "present_over_time", OF_RANGE["present_over_time"])
    return absent(node.arguments[0], found.present)


def _sorted(at: Evaluation, node: Call) -> Vectors:
    vectors = at.vector(node.arguments[0])
    if not at.question.instant:
        at.notes.warn(_INEFFECTIVE)
        return vectors
    if node.function in {"sort", "sort_desc"}:
        return by_value(vectors, descending=node.function == "sort_desc")
    labels = tuple(at.text(argument) for argument in node.arguments[1:])
    return labelling.ordered_by(vectors, labels, descending=node.function == "sort_by_label_desc")


def _round(at: Evaluation, node: Call) -> Vectors:
    to = at.scalar(node.arguments[1]) if len(node.arguments) > 1 else np.ones(at.steps)
    return rounded(at.vector(node.arguments[0]), to)


def _clamp(at: Evaluation, node: Call) -> Vectors:
    vectors = at.vector(node.arguments[0])
    bounds = [at.scalar(argument) for argument in node.arguments[1:]]
    if node.function == "clamp":
        return clamp(vectors, bounds[0], bounds[1])
    if node.function == "clamp_min":
        return clamp(vectors, bounds[0], None)
    return clamp(vectors, None, bounds[0])


def _label_replace(at: Evaluation, node: Call) -> Vectors:
    target, replacement, source, pattern = (at.text(argument) for argument in node.arguments[1:])
    return labelling.replace(at.vector(node.arguments[0]), target, replacement, source, pattern)


def _label_join(at: Evaluation, node: Call) -> Vectors:
    target, separator, *sources = (at.text(argument) for argument in node.arguments[1:])
    return labelling.join(at.vector(node.arguments[0]), target, separator, tuple(sources))


def _histogram_quantile(at: Evaluation, node: Call) -> Vectors:
    quantile = at.scalar(node.arguments[0])
    return _quantiles(at, at.vector(node.arguments[1]), [(quantile, None)])


def _histogram_quantiles(at: Evaluation, node: Call) -> Vectors:
    label = at.text(node.arguments[1])
    wanted = [(at.scalar(argument), label) for argument in node.arguments[2:]]
    return _quantiles(at, at.vector(node.arguments[0]), wanted)


def _quantiles(at: Evaluation, vectors: Vectors, wanted: list[tuple[Floats, str | None]]) -> Vectors:
    for quantile, _ in wanted:
        for value in np.unique(quantile):
            at.notes.quantile(float(value))
    series: list[Labels] = []
    rows: list[Floats] = []
    there: list[Flags] = []
    nameless: list[bool] = []
    found, vectors = _histograms(at, vectors)
    for histogram in found:
        for quantile, label in wanted:
            labels = histogram.labels
            if label is not None:
                labels = {**labels, label: _as_label(float(quantile[0]))}
            series.append(labels)
            rows.append(classic_histograms.quantiles(histogram, quantile, at.notes))
            there.append(histogram.present.any(axis=0))
            nameless.append(True)
    return _native_results(at, vectors, series, rows, there, "quantile", wanted)


def _as_label(quantile: float) -> str:
    """As OpenMetrics writes it: 0 is ``0.0``."""
    text = number(quantile)
    return text + ".0" if text.lstrip("-").isdecimal() else text


def _histograms(at: Evaluation, vectors: Vectors) -> tuple[list[classic_histograms.Histogram], Vectors]:
    if vectors.natives is None:
        return classic_histograms.histograms(vectors, at.notes), vectors
    from opsbook.promql.native_functions import without_mixed

    vectors = without_mixed(vectors, at.notes)
    return classic_histograms.histograms(vectors, at.notes), vectors


def _native_results(
    at: Evaluation,
    vectors: Vectors,
    series: list[Labels],
    rows: list[Floats],
    there: list[Flags],
    what: str,
    wanted: list[tuple[Floats, str | None]],
) -> Vectors:
    if vectors.natives is not None:
        from opsbook.promql.native_functions import answers

        for labels, values, present in answers(vectors, what, wanted, at.notes):
            series.append(labels)
            rows.append(values)
            there.append(present)
    if not series:
        return empty(at.steps)
    marks = np.ones(len(series), np.bool_)
    return merged(Vectors(series, np.array(rows), np.array(there), marks)).inhabited()


def _histogram_fraction(at: Evaluation, node: Call) -> Vectors:
    lower, upper = at.scalar(node.arguments[0]), at.scalar(node.arguments[1])
    found, vectors = _histograms(at, at.vector(node.arguments[2]))
    series = [histogram.labels for histogram in found]
    rows = [classic_histograms.fractions(histogram, lower, upper) for histogram in found]
    there = [histogram.present.any(axis=0) for histogram in found]
    return _native_results(at, vectors, series, rows, there, "fraction", [(lower, None), (upper, None)])


def _of_native(at: Evaluation, node: Call) -> Vectors:
    vectors = at.vector(node.arguments[0])
    if vectors.natives is None:
        return empty(at.steps)
    from opsbook.promql.native_functions import simple

    return simple(node.function, vectors)


def _extreme(at: Evaluation, node: Call) -> Floats:
    first, second = (at.scalar(argument) for argument in node.arguments)
    return np.minimum(first, second) if node.function == "min_of" else np.maximum(first, second)


def _info(at: Evaluation, node: Call) -> Vectors:
    from opsbook.promql.information import enriched

    return enriched(at, node)


def _constant(value: Callable[[Evaluation], float]) -> Callable[[Evaluation, Call], Floats]:
    return lambda at, _: np.full(at.steps, value(at))


_OTHERS: dict[str, Callable[[Evaluation, Call], Evaluated]] = {
    "absent": _absent,
    "absent_over_time": _absent_over_time,
    "clamp": _clamp,
    "clamp_max": _clamp,
    "clamp_min": _clamp,
    "end": _constant(lambda at: at.question.end / 1000),
    "histogram_avg": _of_native,
    "histogram_count": _of_native,
    "histogram_fraction": _histogram_fraction,
    "histogram_quantile": _histogram_quantile,
    "histogram_quantiles": _histogram_quantiles,
    "histogram_stddev": _of_native,
    "histogram_stdvar": _of_native,
    "histogram_sum": _of_native,
    "info": _info,
    "label_join": _label_join,
    "label_replace": _label_replace,
    "max_of": _extreme,
    "min_of": _extreme,
    "pi": _constant(lambda _: np.pi),
    "range": _constant(lambda at: (at.question.end - at.question.start) / 1000),
    "round": _round,
    "scalar": lambda at, node: scalar(at.vector(node.arguments[0])),
    "sort": _sorted,
    "sort_by_label": _sorted,
    "sort_by_label_desc": _sorted,
    "sort_desc": _sorted,
    "start": _constant(lambda at: at.question.start / 1000),
    "step": _constant(lambda at: at.question.step / 1000),
    "time": lambda at, _: at.times / 1000,
    "timestamp": _timestamp,
    "vector": lambda at, node: vector_of(at.scalar(node.arguments[0])),
}
