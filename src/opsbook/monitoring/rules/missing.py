"""When an alert's series is gone: has its condition ended, or is its data missing?

An alert that is not found any more is held, and its state kept, when both are true:

1. its expression without its conditions (comparisons give 0 or 1 instead of filtering, `unless` is left out) gives
   nothing for its labels either: the figure itself is not there, not only below its limit;
2. a target that feeds the expression, and whose labels agree with the alert's, failed its last scrape (``up == 0``); or
   opsbook started so short a time ago that the ranges the expression looks back on cannot be filled yet.

So a target that answers decides; a target that fails decides nothing; a target that left on purpose has no ``up`` any
more, and what was said of it is over. An evaluation that fails keeps everything as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from opsbook.promql.expression import (
    Aggregation,
    Binary,
    Call,
    Expression,
    Negation,
    Node,
    Subquery,
    children,
)
from opsbook.promql.model import Selector
from opsbook.promql.series import Labels

_COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
IDENTITY = ("job", "service", "environment", "release", "version", "instance", "host", "target", "probe")
"""Labels by which an alert and a target agree or do not."""


def without_conditions(expression: Expression) -> Expression | None:
    """The expression that gives something whenever there is data; None when it has no conditions."""
    root = _open(expression.root)
    return None if root == expression.root else replace(expression, root=root)


def _open(node: Node) -> Node:
    match node:
        case Binary(operator="unless"):
            return _open(node.left)
        case Binary():
            left, right = _open(node.left), _open(node.right)
            scalars = node.matching is None and not _is_vector(left) and not _is_vector(right)
            return replace(
                node,
                left=left,
                right=right,
                as_bool=node.as_bool or (node.operator in _COMPARISONS and not scalars),
            )
        case Negation() | Aggregation():
            return replace(node, operand=_open(node.operand))
        case Call():
            return replace(node, arguments=tuple(_open(argument) for argument in node.arguments))
        case _:
            return node


def _is_vector(node: Node) -> bool:
    match node:
        case Binary():
            return _is_vector(node.left) or _is_vector(node.right)
        case Negation():
            return _is_vector(node.operand)
        case Call():
            return node.function not in {"scalar", "time", "pi"}
        case Subquery():
            return True
        case _:
            return type(node).__name__ not in {"Number", "String"}


def agree(alert: Labels, target: Labels) -> bool:
    """Whether an alert can be about a target: no label by which targets are told apart says otherwise."""
    return all(
        alert[label] == target[label]
        for label in IDENTITY
        if label in alert and label in target and label != "job"
    )


def sources(
    selectors: Iterable[Selector], recorded: Mapping[str, tuple[Selector, ...]], *, depth: int = 8
) -> tuple[Selector, ...]:
    """The selectors of measured series that an expression rests on, through the recording rules between.

    Args:
        selectors: of the expression.
        recorded: by recorded name, the selectors of the rules that record it.
    """
    found: dict[tuple[object, ...], Selector] = {}
    for selector in selectors:
        inner = recorded.get(selector.name or "") if depth else None
        for each in sources(inner, recorded, depth=depth - 1) if inner else (selector,):
            found.setdefault(each.matchers, each)
    return tuple(found.values())


def asks_for_absence(expression: Expression) -> bool:
    """Whether an alert of it ends because data came, so that nothing can be missing."""
    waiting = [expression.root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Call) and node.function in {"absent", "absent_over_time"}:
            return True
        waiting += children(node)
    return False
