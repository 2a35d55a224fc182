"""What a person should know of how an answer came about."""

from __future__ import annotations

import numpy as np

from opsbook.promql.model import Result, Value

_PLAIN_FROM, _PLAIN_TO = 1e-6, 1e21


class Annotations:
    """Warnings and infos of one query, each said once, in the order they came up."""

    def __init__(self) -> None:
        self._warnings: dict[str, None] = {}
        self._infos: dict[str, None] = {}

    def warn(self, message: str) -> None:
        """The answer may be wrong."""
        self._warnings[f"PromQL warning: {message}"] = None

    def info(self, message: str) -> None:
        """The question may be wrong."""
        self._infos[f"PromQL info: {message}"] = None

    def result(self, value: Value) -> Result:
        """The answer with all that was said."""
        return Result(value, tuple(self._warnings), tuple(self._infos))

    def quantile(self, quantile: float) -> None:
        """Say so if this is not a quantile."""
        if not 0 <= quantile <= 1:
            self.warn(f"quantile value should be between 0 and 1, got {number(quantile)}")


def number(value: float) -> str:
    """A number as Prometheus' API writes it: the shortest text that reads back as the same number."""
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value and not _PLAIN_FROM <= abs(value) < _PLAIN_TO:
        return np.format_float_scientific(value, trim="-", exp_digits=2)
    return np.format_float_positional(value, trim="-")
