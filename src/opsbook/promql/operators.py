"""Arithmetic and comparison of numbers, whole matrices at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from opsbook.promql.series import Flags, Floats

ARITHMETIC: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARISONS: dict[str, Callable[[Floats, Floats], Flags]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
SETS = frozenset({"and", "or", "unless"})
