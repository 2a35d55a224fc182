"""Queries, answered."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from opsbook.errors import Invalid
from opsbook.promql.annotations import Annotations
from opsbook.promql.evaluation import Evaluated, Evaluation, Question
from opsbook.promql.expression import Expression
from opsbook.promql.labelling import by_labels
from opsbook.promql.model import Matrix, Result, Samples, Scalar, Text, Value, Vector
from opsbook.promql.parsing import parse
from opsbook.promql.reading import Budget, Reader
from opsbook.promql.series import ABSENT, Flags, Floats, Integers, Storage
from opsbook.promql.vectors import Vectors, named, without_name
from opsbook.promql.windows import Ranges

MAX_POINTS = 11_000  # steps of a range query, as Prometheus' API has it


class Engine:
    """Evaluates queries over a storage. Thread-safe if the storage is.

    Args:
        storage: where the series are.
        lookback: seconds that the last sample of a series stands for the present.
        max_samples: how many samples one query may hold.
        timeout: seconds that one query may take.
        subquery_step: seconds between the steps of a subquery that names none.
        monotonic: a clock in seconds, for the timeout.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        lookback: float = 300.0,
        max_samples: int = 50_000_000,
        timeout: float = 120.0,
        subquery_step: float = 60.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._lookback = int(lookback * 1000)
        self._max_samples = max_samples
        self._timeout = timeout
        self._subquery_step = int(subquery_step * 1000)
        self._monotonic = monotonic

    def instant(self, query: str | Expression, at_ms: int) -> Result:
        """The answer at one time (milliseconds).

        Raises:
            Invalid: the query does not parse.
            Failed: it cannot be answered: series that match twice, too many samples, too long.
        """
        expression = parse(query) if isinstance(query, str) else query
        question = Question(at_ms, at_ms, 0, self._lookback, self._subquery_step, instant=True)
        notes = Annotations()
        evaluation = self._evaluation(question, np.array([at_ms]), notes)
        with np.errstate(all="ignore"):
            if expression.kind == "matrix":
                return notes.result(_samples(evaluation.ranges(expression.root)))
            return notes.result(_instant(evaluation.evaluate(expression.root), at_ms, notes))

    def range(self, query: str | Expression, start_ms: int, end_ms: int, step_ms: int) -> Result:
        """The answer at every step from `start_ms` to `end_ms`; its value is a Matrix.

        Raises:
            Invalid: the query does not parse or has no vector or scalar as its value; the step is not positive.
            Failed: it cannot be answered.
        """
        expression = parse(query) if isinstance(query, str) else query
        if expression.kind not in ("scalar", "vector"):
            raise Invalid(
                f"invalid expression type {expression.kind!r} for range query, must be scalar or instant vector",
                where=expression.text,
            )
        if step_ms <= 0:
            raise Invalid("the step must be positive", where="step")
        if end_ms < start_ms:
            raise Invalid("the end must not be before the start", where="end")
        question = Question(start_ms, end_ms, step_ms, self._lookback, self._subquery_step, instant=False)
        times = np.arange(start_ms, end_ms + 1, step_ms)
        notes = Annotations()
        with np.errstate(all="ignore"):
            value = self._evaluation(question, times, notes).evaluate(expression.root)
            return notes.result(_matrix(value, times, notes))

    def _evaluation(self, question: Question, times: Integers, notes: Annotations) -> Evaluation:
        deadline = self._monotonic() + self._timeout
        budget = Budget(self._max_samples, deadline, self._monotonic)
        return Evaluation(question, times, Reader(self._storage, budget), budget, notes)


def _instant(value: Evaluated, at: int, notes: Annotations) -> Value:
    if isinstance(value, str):
        return Text(value, at)
    if not isinstance(value, Vectors):
        return Scalar(float(value[0]), at)
    vectors = _numbers(named(value), notes)
    if not vectors.present.all():
        vectors = vectors.rows(vectors.present[:, 0])
    times = np.full(len(vectors), at)
    return Vector(tuple(vectors.series), _column(vectors), times)


def _numbers(vectors: Vectors, notes: Annotations) -> Vectors:
    """Without native histograms: they may be asked about, but are no answer yet."""
    if vectors.natives is None or not vectors.natives.astype(np.bool_).any():
        return vectors
    notes.warn("native histograms are left out: ask for a number of them, e.g. histogram_count(...)")
    return Vectors(vectors.series, vectors.values, vectors.floats(), vectors.nameless).inhabited()


def _column(vectors: Vectors) -> Floats:
    return np.ascontiguousarray(vectors.values[:, 0])


def _matrix(value: Evaluated, times: Integers, notes: Annotations) -> Matrix:
    assert not isinstance(value, str)
    if not isinstance(value, Vectors):
        return Matrix(({},), times, value[None, :])
    vectors = _numbers(named(value), notes)
    order = sorted(range(len(vectors)), key=lambda row: by_labels(vectors.series[row]))
    values = np.array(vectors.values[order], dtype=np.float64)
    present: Flags = vectors.present[order]
    if not present.all():
        values.view(np.int64)[~present] = ABSENT
    return Matrix(tuple(vectors.series[row] for row in order), times, values)


def _samples(ranges: Ranges) -> Samples:
    found = []
    for block in ranges.blocks:
        low = np.searchsorted(block.timestamps, ranges.starts[0], "right")
        high = np.searchsorted(block.timestamps, ranges.ends[0], "right")
        if high > low:
            times = block.timestamps[low:high]
            for index, row in enumerate(block.rows.tolist()):
                labels = ranges.series[row]
                if ranges.nameless[row]:
                    labels = without_name(labels)
                found.append((labels, (times, block.values[index, low:high])))
    found.sort(key=lambda each: by_labels(each[0]))
    return Samples(tuple(labels for labels, _ in found), tuple(row for _, row in found))
