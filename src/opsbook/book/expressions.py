"""PromQL as far as a handbook must know it: whether a text is an expression."""

from __future__ import annotations

from opsbook.errors import OpsbookError


def fault(expression: str) -> str | None:
    """What is wrong with `expression`, without a full stop; None when it is PromQL."""
    from opsbook.promql.parsing import parse  # needs numpy, and most handbooks have no expression

    try:
        parse(expression)
    except OpsbookError as error:
        return error.message
    return None
