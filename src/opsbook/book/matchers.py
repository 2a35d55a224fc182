"""Conditions on labels as people write them: ``severity="critical"``, ``team=~"shop|web"``, or a mapping."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, WithJsonSchema

from opsbook.book.fields import expected
from opsbook.errors import Invalid

Operator = Literal["=", "!=", "=~", "!~"]
MATCHERS = 'labels such as {severity: critical}, or matchers such as ["team=~shop|web"]'

# As Alertmanager and amtool read them: the value may stand without quotes.
_MATCHER = re.compile(r"\s*([A-Za-z_:][A-Za-z0-9_:]*)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


class LabelMatcher(NamedTuple):
    """A condition on one label; a label that is missing is the empty text, regular expressions are anchored."""

    label: str
    operator: Operator
    value: str

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.operator}"{escaped}"'


def matcher_of(text: str) -> LabelMatcher:
    """One matcher.

    Raises:
        Invalid: it is none, or its regular expression does not parse.
    """
    match = _MATCHER.fullmatch(text)
    if match is None:
        raise Invalid(
            f"{text!r} is no matcher", hint='write LABEL="VALUE", or with != =~ !~', where="matchers"
        )
    label, operator, value = match[1], match[2], match[3]
    if value.startswith('"'):
        quoted = _QUOTED.fullmatch(value)
        if quoted is None:
            raise Invalid(f"the quotes of {text!r} are not closed", hint='LABEL="VALUE"', where="matchers")
        value = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), quoted[1], flags=re.DOTALL)
    return checked(LabelMatcher(label, operator, value))  # type: ignore[arg-type] # the pattern knows only these


def checked(matcher: LabelMatcher) -> LabelMatcher:
    """The same.

    Raises:
        Invalid: its regular expression does not parse.
    """
    if matcher.operator in ("=~", "!~"):
        from opsbook.promql.series import compile_anchored

        compile_anchored(matcher.value, where=matcher.label)
    return matcher


def _matchers(value: Any) -> Any:
    if isinstance(value, Mapping):
        pairs = [(str(label), text) for label, text in value.items()]
        if not all(isinstance(text, str) for _, text in pairs):
            expected(MATCHERS)
        return tuple(_refusing(f"{label}={_quote(text)}") for label, text in pairs)
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(one, str | LabelMatcher) for one in value):
        expected(MATCHERS)
    return tuple(one if isinstance(one, LabelMatcher) else _refusing(one) for one in value)


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _refusing(text: str) -> LabelMatcher:
    try:
        return matcher_of(text)
    except Invalid as error:
        return expected(MATCHERS, error.message)


Matchers = Annotated[
    tuple[LabelMatcher, ...],
    BeforeValidator(_matchers),
    WithJsonSchema(
        {
            "type": ["object", "array", "string"],
            "$comment": "matchers",
            "description": MATCHERS,
            "examples": [{"severity": "critical"}, ["team=~shop|web", "environment!=local"]],
        }
    ),
]
"""All of them must fit."""
