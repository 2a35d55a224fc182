"""One query, evaluated: a walk over the tree that has the values of all steps at every node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from opsbook.errors import Failed
from opsbook.promql import calls
from opsbook.promql.aggregation import aggregate
from opsbook.promql.annotations import Annotations
from opsbook.promql.expression import (
    Aggregation,
    Binary,
    Call,
    Negation,
    Node,
    Number,
    Select,
    Shift,
    String,
    Subquery,
)
from opsbook.promql.matching import combine, combine_sets
from opsbook.promql.operators import ARITHMETIC, COMPARISONS, SETS
from opsbook.promql.reading import Budget, Reader
from opsbook.promql.series import Floats, Integers
from opsbook.promql.vectors import Vectors
from opsbook.promql.windows import Ranges, ranges_of

Evaluated: TypeAlias = Floats | str | Vectors  # a scalar has one number for each step


@dataclass(frozen=True, slots=True)
class Question:
    """What is the same for a whole query, subqueries included (milliseconds)."""

    start: int
    end: int
    step: int  # 0: instant
    lookback: int
    subquery_step: int
    instant: bool


class Evaluation:
    """Evaluates nodes at `times`.

    Args:
        question: of the query as a whole.
        times: the steps, milliseconds.
    """

    def __init__(
        self, question: Question, times: Integers, reader: Reader, budget: Budget, notes: Annotations
    ) -> None:
        self.question: Question = question
        self.times: Integers = times
        self.notes = notes
        self.budget = budget
        self._reader = reader

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return self.times.size

    def evaluate(self, node: Node) -> Evaluated:
        """The values of a node that is no range vector.

        Raises:
            Failed, Invalid: see `Engine`.
        """
        match node:
            case Number():
                return np.full(self.steps, node.value)
            case String():
                return node.value
            case Select():
                return self._select(node)
            case Call():
                self.budget.check()
                return calls.call(self, node)
            case Aggregation():
                return self._aggregation(node)
            case Binary():
                return self._binary(node)
            case Negation():
                operand = self.evaluate(node.operand)
                if isinstance(operand, Vectors):
                    return calls.negated(operand)
                assert isinstance(operand, np.ndarray)
                return -operand
            case Subquery():  # the parser lets ranges into functions only
                raise Failed("a range has no single value")

    def vector(self, node: Node) -> Vectors:
        """The values of a node that is a vector."""
        value = self.evaluate(node)
        assert isinstance(value, Vectors)
        return value

    def scalar(self, node: Node) -> Floats:
        """The values of a node that is a scalar."""
        value = self.evaluate(node)
        assert isinstance(value, np.ndarray)
        return value

    def text(self, node: Node) -> str:
        """The value of a node that is a text."""
        value = self.evaluate(node)
        assert isinstance(value, str)
        return value

    def ends(self, shift: Shift) -> Integers:
        """When a selector looks at each step; only one time if it is the same for all."""
        if shift.at is None:
            return self.times - shift.offset if shift.offset else self.times
        at = {"start": self.question.start, "end": self.question.end}.get(str(shift.at), shift.at)
        assert isinstance(at, int)
        return np.array([at - shift.offset])

    def _select(self, node: Select) -> Vectors:
        vectors = self._reader.vector(node, self.ends(node.shift), self.question.lookback)
        return self.spread(vectors)

    def spread(self, vectors: Vectors) -> Vectors:
        """What was computed once, at every step."""
        if vectors.values.shape[1] == self.steps:
            return vectors
        shape = (len(vectors), self.steps)
        return replace(
            vectors,
            values=np.broadcast_to(vectors.values, shape),
            present=np.broadcast_to(vectors.present, shape),
            times=None if vectors.times is None else np.broadcast_to(vectors.times, shape),
            natives=None if vectors.natives is None else np.broadcast_to(vectors.natives, shape),
        )

    def ranges(self, node: Node) -> Ranges:
        """A range vector: of a selector, or of a subquery."""
        if isinstance(node, Select):
            return self._reader.ranges(node, self.ends(node.shift))
        assert isinstance(node, Subquery)
        ends = self.ends(node.shift)
        step = node.step or self.question.subquery_step
        starts = ends - node.range
        # Its steps are multiples of the step, whatever the time of the query is.
        first = (int(starts.min()) // step + 1) * step
        times = np.arange(first, int(ends.max()) + 1, step)
        self.budget.hold(times.size)
        if not times.size:
            nothing = Evaluation(self.question, ends[:1], self._reader, self.budget, Annotations())
            vectors = nothing._operand(node).rows([])
            return Ranges([], vectors.nameless, [], starts, ends, node.range)
        inner = Evaluation(self.question, times, self._reader, self.budget, self.notes)
        vectors = inner._operand(node)
        self.budget.hold(vectors.values.size)
        return ranges_of(vectors, times, starts, ends, node.range)

    def _operand(self, node: Subquery) -> Vectors:
        value = self.evaluate(node.operand)
        return value if isinstance(value, Vectors) else calls.vector_of(value)

    def _aggregation(self, node: Aggregation) -> Vectors:
        self.budget.check()
        parameter: Floats | str | None = None
        if node.parameter is not None:
            value = self.evaluate(node.parameter)
            assert not isinstance(value, Vectors)
            parameter = value
        return aggregate(node, self.vector(node.operand), parameter, self.notes)

    def _binary(self, node: Binary) -> Floats | Vectors:
        left, right = self.evaluate(node.left), self.evaluate(node.right)
        if isinstance(left, Vectors) and isinstance(right, Vectors):
            self.budget.check()
            if node.operator in SETS:
                return combine_sets(node, left, right)
            return combine(node, left, right, self.notes)
        if isinstance(left, Vectors):
            assert isinstance(right, np.ndarray)
            return calls.with_scalar(node, left, right, self.notes, swapped=False)
        assert isinstance(left, np.ndarray)
        if isinstance(right, Vectors):
            return calls.with_scalar(node, right, left, self.notes, swapped=True)
        assert isinstance(right, np.ndarray)
        if node.operator in ARITHMETIC:
            return ARITHMETIC[node.operator](left, right)
        return COMPARISONS[node.operator](left, right).astype(np.float64)
