"""PromQL as far as a handbook must know it: whether a text is an expression."""

from __future__ import annotations

import promql_parser


def fault(expression: str) -> str | None:
    """What is wrong with `expression`, without a full stop; None when it is PromQL."""
    try:
        promql_parser.parse(expression)
    except ValueError as error:
        return str(error)
    return None
