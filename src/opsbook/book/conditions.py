"""Conditions of the short form: PromQL in which named metrics, percentages and durations may stand as people say them.

``error_rate{service="web"} > 1%`` becomes ``opsbook:error_rate{service="web"} > 0.01``. The text is read word by word
and everything else is left as it was written, so that an error of PromQL is about what somebody sees in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from opsbook.book.analysis import NAMED_METRICS
from opsbook.book.quantities import duration

RECORDED = "opsbook:"
"""What named metrics are recorded under: a colon never stands in a name that an application exports."""

_WORDS = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<duration>\d+(?:\.\d+)?(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*(?![\w:]))
    |(?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    |(?P<name>[A-Za-z_:][\w:]*)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_DASH = "\\-"  # needs no escape, and reads better without
_LISTS = frozenset(
    {"by", "without", "on", "ignoring", "group_left", "group_right"}
)  # labels in brackets follow
_KEYWORDS = frozenset(
    {"and", "or", "unless", "bool", "offset", "inf", "nan", "start", "end", "atan2", *_LISTS}
)
_ENDS = frozenset(
    {")", ",", "and", "or", "unless"}
)  # what may follow a percentage; an operand makes it a modulo


@dataclass(frozen=True, slots=True)
class _Word:
    kind: str
    text: str


def recorded_name(metric: str) -> str:
    """The series in which the named metric `metric` is found."""
    return RECORDED + metric


def compiled(condition: str, only: Mapping[str, Sequence[str]] | None = None) -> str:
    """The PromQL that `condition` means.

    Args:
        condition: of the short form; need not be valid, what is not understood is left as it is.
        only: values that labels must have in every series that is looked at: ``{"service": ("web", "api")}``.
    """
    matchers = ",".join(_matcher(label, values) for label, values in (only or {}).items() if values)
    words = [_Word(match.lastgroup or "sign", match[0]) for match in _WORDS.finditer(condition)]
    return "".join(_written(words, matchers))


def metrics_in(condition: str) -> frozenset[str]:
    """The named metrics that a condition uses."""
    words = [_Word(match.lastgroup or "sign", match[0]) for match in _WORDS.finditer(condition)]
    return frozenset(
        word.text
        for index, word in enumerate(words)
        if word.kind == "name" and word.text in NAMED_METRICS and _next(words, index) != "("
    )


def _written(words: Sequence[_Word], matchers: str) -> Iterator[str]:
    depth_in_list, braces, brackets, listed, skipped = 0, 0, 0, False, False
    for index, word in enumerate(words):
        text = word.text
        if skipped:  # the % behind a percentage
            skipped = text.isspace()
            continue
        if word.kind == "sign":
            depth_in_list += (text == "(" and (listed or depth_in_list > 0)) - (
                text == ")" and depth_in_list > 0
            )
            braces += (text == "{") - (text == "}")
            brackets += (text == "[") - (text == "]")
            listed = False
            if text == "{" and matchers:
                yield text + matchers + ("" if _next(words, index) == "}" else ",")
                continue
        elif word.kind == "name":
            listed = text.lower() in _LISTS
            if not (depth_in_list or braces or brackets):
                yield _name(words, index, matchers)
                continue
        elif word.kind == "duration" and not (brackets or braces or _is_offset(words, index)):
            yield f"{duration_of(text):g}"
            continue
        elif word.kind == "number" and _is_percentage(words, index):
            skipped = True
            yield f"{float(text) / 100:.12g}"
            continue
        yield text


def _name(words: Sequence[_Word], index: int, matchers: str) -> str:
    text, follows = words[index].text, _next(words, index)
    if follows == "(" or text.lower() in _KEYWORDS or follows.lower() in _LISTS - {"on", "ignoring"}:
        return text
    name = recorded_name(text) if text in NAMED_METRICS else text
    return name if follows == "{" or not matchers else f"{name}{{{matchers}}}"


def _is_percentage(words: Sequence[_Word], index: int) -> bool:
    if _next(words, index) != "%":
        return False
    position = next(i for i in range(index + 1, len(words)) if words[i].text == "%")
    after = _next(words, position)
    return after == "" or after.lower() in _ENDS


def _is_offset(words: Sequence[_Word], index: int) -> bool:
    before = [word.text for word in words[:index] if word.kind != "space"]
    while before and before[-1] in {"-", "+"}:
        before.pop()
    return bool(before) and before[-1].lower() == "offset"


def duration_of(text: str) -> float:
    """Seconds of a duration as PromQL writes it; years and weeks are there too."""
    years, _, rest = text.rpartition("y")
    return (float(years) * 365 * 86400 if years else 0.0) + (duration(rest) if rest else 0.0)


def _next(words: Sequence[_Word], index: int) -> str:
    """The word after `index` that is no space; empty at the end."""
    return next((word.text for word in words[index + 1 :] if word.kind != "space"), "")


def _matcher(label: str, values: Sequence[str]) -> str:
    if len(values) == 1:
        return f"{label}={_quoted(values[0])}"
    return f"{label}=~{_quoted('|'.join(re.escape(value).replace(_DASH, '-') for value in values))}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
