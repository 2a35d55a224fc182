"""Functions, applied: what each does with its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from opsbook.errors import Invalid
from opsbook.promql import classic_histograms, labelling, native_ranges
from opsbook.promql.annotations import Annotations, number
from opsbook.promql.calendar import CALENDAR
from opsbook.promql.expression import Binary, Call, Node, Select, Subquery
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
from opsbook.promql.information import enriched
from opsbook.promql.native_functions import answers, simple, without_mixed
from opsbook.promql.operators import ARITHMETIC, COMPARISONS
from opsbook.promql.series import Flags, Floats, Labels
from opsbook.promql.vectors import Vectors, empty, merged
from opsbook.promql.windows import Block, Ranges, Windows, computed

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
        return at.spread(native_ranges.apply(name, function, ranges, at.notes))
    return at.spread(windowed(ranges, function, keep_name=name in KEEPING_NAME))


def windowed(
    ranges: Ranges, function: Callable[[Block, Windows], tuple[Floats, Flags]], *, keep_name: bool = False
) -> Vectors:
    """The function at each step for each series."""
    steps = ranges.ends.size
    nameless = ranges.nameless if keep_name else np.ones(len(ranges.series), np.bool_)
    if not ranges.blocks:
        return empty(steps)
    block = ranges.blocks[0]
    if len(ranges.blocks) == 1 and block.rows.size == len(ranges.series):
        values, there = function(block, Windows(block, ranges))  # its rows are all, in order
        present = np.broadcast_to(there, values.shape)
    else:
        values, present = computed(ranges, function)
    return Vectors(ranges.series, values, present, nameless).inhabited()


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
        parameters[0] = parameters[0] + np.subtract(at.times, ranges.ends) / 1000

    def of_block(block: Block, windows: Windows) -> tuple[Floats, Flags]:
        return function(block, windows, *parameters)

    if any(block.natives is not None for block in ranges.blocks):
        return native_ranges.apply(node.function, of_block, ranges, at.notes)
    return windowed(ranges, of_block)


def _is_range(node: Node) -> bool:

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
    return _quantiles(at, at.vector(node.arguments[1]), [(quantile, None, "")])


def _histogram_quantiles(at: Evaluation, node: Call) -> Vectors:
    label = at.text(node.arguments[1])
    quantiles = [at.scalar(argument) for argument in node.arguments[2:]]
    wanted = [(quantile, label, _as_label(float(quantile[0]))) for quantile in quantiles]
    return _quantiles(at, at.vector(node.arguments[0]), wanted)


def _as_label(quantile: float) -> str:
    """As OpenMetrics writes it: 0 is ``0.0``."""
    text = number(quantile)
    return text + ".0" if text.lstrip("-").isdecimal() else text


def _quantiles(at: Evaluation, vectors: Vectors, wanted: Sequence[tuple[Floats, str | None, str]]) -> Vectors:
    for quantile, _, _ in wanted:
        for value in np.unique(quantile):
            at.notes.quantile(float(value))
    if vectors.natives is not None:
        vectors = without_mixed(vectors, at.notes)
    found: list[tuple[Labels, Floats, Flags]] = []
    for histogram in classic_histograms.histograms(vectors, at.notes):
        for quantile, label, text in wanted:
            labels = histogram.labels if label is None else {**histogram.labels, label: text}
            values = classic_histograms.quantiles(histogram, quantile, at.notes)
            found.append((labels, values, _anywhere(histogram)))
    return _histogram_results(at, [*found, *answers(vectors, "quantile", wanted)])


def _anywhere(histogram: classic_histograms.Histogram) -> Flags:
    there: Flags = np.logical_or.reduce(histogram.present, axis=0)
    return there


def _histogram_results(at: Evaluation, found: list[tuple[Labels, Floats, Flags]]) -> Vectors:
    if not found:
        return empty(at.steps)
    series, values, present = zip(*found, strict=True)
    marks = np.ones(len(series), np.bool_)
    return merged(Vectors(list(series), np.array(values), np.array(present), marks)).inhabited()


def _histogram_fraction(at: Evaluation, node: Call) -> Vectors:
    lower, upper = at.scalar(node.arguments[0]), at.scalar(node.arguments[1])
    vectors = at.vector(node.arguments[2])
    if vectors.natives is not None:
        vectors = without_mixed(vectors, at.notes)
    found = [
        (histogram.labels, classic_histograms.fractions(histogram, lower, upper), _anywhere(histogram))
        for histogram in classic_histograms.histograms(vectors, at.notes)
    ]
    bounds = [(lower, None, ""), (upper, None, "")]
    return _histogram_results(at, [*found, *answers(vectors, "fraction", bounds)])


def _of_native(at: Evaluation, node: Call) -> Vectors:
    vectors = at.vector(node.arguments[0])
    if vectors.natives is None:
        return empty(at.steps)

    return simple(node.function, vectors)


def _extreme(at: Evaluation, node: Call) -> Floats:
    first, second = (at.scalar(argument) for argument in node.arguments)
    return np.minimum(first, second) if node.function == "min_of" else np.maximum(first, second)


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
    "info": enriched,
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
