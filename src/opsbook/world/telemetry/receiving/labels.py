"""Which labels are taken, and from whom: the same limits for all that is pushed. Pure."""

from __future__ import annotations

import re
from typing import Final

from opsbook.promql.series import NAME, Labels

MOST_LABELS: Final = 64
LONGEST_NAME: Final = 512  # characters
LONGEST_VALUE: Final = 4096  # characters

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def problem_with(labels: Labels) -> str:
    """Why a series with these labels is not taken; empty when it is."""
    metric = labels.get(NAME, "")
    if not metric:
        return "a series has no name"
    if not _METRIC.fullmatch(metric) or len(metric) > LONGEST_NAME:
        return "a metric's name is not one"
    if len(labels) > MOST_LABELS:
        return f"a series has more than {MOST_LABELS} labels"
    for name, value in labels.items():
        if name != NAME and not _LABEL.fullmatch(name):
            return "a label's name is not one"
        if len(name) > LONGEST_NAME or len(value) > LONGEST_VALUE:
            return f"a label is longer than {LONGEST_VALUE} characters"
    return ""
