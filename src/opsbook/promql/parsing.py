"""Text to tree. The grammar is that of the `promql-parser` library; what it does not check is checked here."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

import promql_parser as library

from opsbook.errors import Invalid
from opsbook.promql.expression import (
    Aggregation,
    Binary,
    Call,
    Card,
    Expression,
    Kind,
    Matching,
    Negation,
    Node,
    Number,
    Select,
    Shift,
    String,
    Subquery,
    children,
)
from opsbook.promql.model import Selector
from opsbook.promql.quoting import requote
from opsbook.promql.series import NAME, Matcher, Operator

LOOKBACK_MS = 300_000  # that selectors are told to need; an engine may be set otherwise

_LONGEST = 50_000  # characters
_DEEPEST = 100  # levels: the library and we walk trees recursively, the library without a limit of its own
_MOST_OPERATORS = 2500  # matchers have one each too
_MATCH: tuple[tuple[Any, Operator], ...] = (
    (library.MatchOp.Equal, "="),
    (library.MatchOp.NotEqual, "!="),
    (library.MatchOp.Re, "=~"),
    (library.MatchOp.NotRe, "!~"),
)
_CARDS: tuple[tuple[Any, Card], ...] = (
    (library.VectorMatchCardinality.OneToOne, "one-to-one"),
    (library.VectorMatchCardinality.ManyToOne, "many-to-one"),
    (library.VectorMatchCardinality.OneToMany, "one-to-many"),
    (library.VectorMatchCardinality.ManyToMany, "many-to-many"),
)
_KINDS: tuple[tuple[Any, Kind], ...] = (
    (library.ValueType.Scalar, "scalar"),
    (library.ValueType.String, "string"),
    (library.ValueType.Vector, "vector"),
    (library.ValueType.Matrix, "matrix"),
)
T = TypeVar("T")
_CALL_KINDS: dict[str, Kind] = {}
_OPERATOR = re.compile(r"[-+*/%^<>=]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)


def parse(text: str, *, where: str = "") -> Expression:
    """Parse a query.

    Args:
        text: in PromQL.
        where: the place it was read from, for the error.

    Raises:
        Invalid: it does not parse, or types do not fit.
    """
    try:
        return _parse(text)
    except Invalid as error:
        if not where:
            raise
        raise Invalid(error.message, where=where, hint=error.hint, details=error.details) from None


@lru_cache(maxsize=4096)
def _parse(text: str) -> Expression:
    if len(text) > _LONGEST:
        raise Invalid(f"the query is longer than {_LONGEST} characters", where="query")
    prepared, depth = requote(text, where=text)
    if depth > _DEEPEST or len(_OPERATOR.findall(prepared)) > _MOST_OPERATORS:
        raise Invalid("the query is nested too deep or has too many operators", where="query")
    if not prepared.strip():
        raise Invalid("there is no query", where="query")
    try:
        parsed = library.parse(prepared)
    except ValueError as error:
        raise Invalid(str(error), where=text, hint=_hint(str(error))) from None
    except OverflowError as error:
        raise Invalid(f"a number is out of range: {error}", where=text) from None
    root = _convert(parsed, text, 0)
    return Expression(text, _kind(root), root, tuple(_selectors(root, 0)))


def _hint(message: str) -> str:
    if "comparisons between scalars" in message:
        return "write `> bool`"
    if "expected type matrix" in message:
        return "give it a range: metric[5m]"
    return ""


def _convert(node: Any, text: str, depth: int) -> Node:
    if depth > _DEEPEST:
        raise Invalid(f"the query is nested deeper than {_DEEPEST} levels", where="query")
    if isinstance(node, library.ParenExpr):
        return _convert(node.expr, text, depth + 1)
    if isinstance(node, library.NumberLiteral):
        return Number(float(node.val))
    if isinstance(node, library.StringLiteral):
        return String(node.val)
    if isinstance(node, library.VectorSelector):
        return _select(node, None, text)
    if isinstance(node, library.MatrixSelector):
        return _select(node.vector_selector, _ms(node.range), text)
    if isinstance(node, library.SubqueryExpr):
        operand = _convert(node.expr, text, depth + 1)
        step = None if node.step is None else _ms(node.step)
        return Subquery(operand, _ms(node.range), step, _shift(node, text))
    if isinstance(node, library.UnaryExpr):
        operand = _convert(node.expr, text, depth + 1)
        return Number(-operand.value) if isinstance(operand, Number) else Negation(operand)
    if isinstance(node, library.BinaryExpr):
        return _binary(node, text, depth)
    if isinstance(node, library.AggregateExpr):
        return _aggregation(node, text, depth)
    name = str(node.func.name)
    _CALL_KINDS[name] = _of(_KINDS, node.func.return_type)
    return Call(name, tuple(_convert(argument, text, depth + 1) for argument in node.args))


def _binary(node: Any, text: str, depth: int) -> Binary:
    left, right = _convert(node.lhs, text, depth + 1), _convert(node.rhs, text, depth + 1)
    modifier = node.modifier
    matching = None
    if _kind(left) == _kind(right) == "vector":
        matching = Matching("one-to-one", False, (), (), None, None)
        if str(node.op) in {"and", "or", "unless"}:
            matching = Matching("many-to-many", False, (), (), None, None)
        if modifier is not None:
            labels = modifier.matching
            fill = modifier.fill_values
            matching = Matching(
                card=_of(_CARDS, modifier.card),
                on=labels is not None and labels.type == library.LabelModifierType.Include,
                labels=() if labels is None else tuple(labels.labels),
                include=tuple(modifier.group_labels or ()),
                fill_left=None if fill is None else fill.lhs,
                fill_right=None if fill is None else fill.rhs,
            )
    as_bool = modifier is not None and bool(modifier.return_bool)
    return Binary(str(node.op), left, right, as_bool, matching)


def _aggregation(node: Any, text: str, depth: int) -> Aggregation:
    modifier = node.modifier
    return Aggregation(
        operator=str(node.op),
        operand=_convert(node.expr, text, depth + 1),
        parameter=None if node.param is None else _convert(node.param, text, depth + 1),
        by=modifier is None or modifier.type == library.AggModifierType.By,
        labels=() if modifier is None else tuple(modifier.labels),
    )


def _select(node: Any, span: int | None, text: str) -> Select:
    if node.matchers.or_matchers:
        raise Invalid("`or` between matchers is not part of PromQL", where=text, hint='use label=~"a|b"')
    matchers = [Matcher(m.name, _of(_MATCH, m.op), m.value) for m in node.matchers.matchers]
    name = node.name
    if name is not None:
        matchers.insert(0, Matcher(NAME, "=", name))
    else:
        name = next((m.value for m in matchers if m.label == NAME and m.operator == "="), None)
    return Select(name, tuple(matchers), _shift(node, text), span)


def _shift(node: Any, text: str) -> Shift:
    offset = 0 if node.offset is None else _ms(node.offset)
    if node.at is None:
        return Shift(None, offset)
    if node.at.type == library.AtModifierType.Start:
        return Shift("start", offset)
    if node.at.type == library.AtModifierType.End:
        return Shift("end", offset)
    try:
        return Shift(round(node.at.at.timestamp() * 1000), offset)
    except (OverflowError, ValueError):
        raise Invalid("the time after `@` is out of range", where=text) from None


def _of(table: tuple[tuple[Any, T], ...], key: Any) -> T:
    return next(value for known, value in table if known == key)  # the library's enumerations have no hash


def _ms(span: timedelta | None) -> int:
    assert span is not None
    return span // timedelta(milliseconds=1)


def _kind(node: Node) -> Kind:
    match node:
        case Number():
            return "scalar"
        case String():
            return "string"
        case Select():
            return "vector" if node.range is None else "matrix"
        case Subquery():
            return "matrix"
        case Aggregation():
            return "vector"
        case Negation():
            return _kind(node.operand)
        case Binary():
            return "scalar" if _kind(node.left) == _kind(node.right) == "scalar" else "vector"
        case Call():
            return _CALL_KINDS[node.function]


def _selectors(node: Node, reach: int) -> list[Selector]:
    """All selectors below `node`, which looks `reach` milliseconds back itself."""
    if isinstance(node, Select):
        back = reach + max(0, node.shift.offset)
        return [Selector(node.name, node.matchers, back + (node.range or LOOKBACK_MS))]
    if isinstance(node, Subquery):
        reach += node.range + max(0, node.shift.offset)
    return [selector for child in children(node) for selector in _selectors(child, reach)]
