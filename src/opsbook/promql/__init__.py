"""PromQL: the language of metrics, parsed and evaluated; pure."""

from opsbook.promql.engine import Engine
from opsbook.promql.expression import Expression
from opsbook.promql.model import Matrix, Result, Samples, Scalar, Selector, Text, Vector
from opsbook.promql.parsing import parse
from opsbook.promql.series import Labels, Matcher, Selection, Storage, Window

__all__ = [
    "Engine",
    "Expression",
    "Labels",
    "Matcher",
    "Matrix",
    "Result",
    "Samples",
    "Scalar",
    "Selection",
    "Selector",
    "Storage",
    "Text",
    "Vector",
    "Window",
    "parse",
]
