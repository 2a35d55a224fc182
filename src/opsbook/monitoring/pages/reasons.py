"""What an alert is about in figures: the side of its condition that has a value, and the threshold. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from opsbook.book.dashboards import Unit
from opsbook.errors import OpsbookError
from opsbook.promql import parse
from opsbook.promql.expression import Binary, Node, Number

COMPARED = {
    ">": "above",
    ">=": "at or above",
    "<": "below",
    "<=": "at or below",
    "==": "equal to",
    "!=": "other than",
}
_UNITS: tuple[tuple[str, Unit], ...] = (
    (r"ratio|_rate\b|error_rate|usage|availability|budget|share|(^|\W)up\W", "ratio"),
    (r"seconds|response_time|duration|latency", "seconds"),
    (r"bytes", "bytes"),
    (r"throughput|rate\(", "1/s"),
)
_SCALE = re.compile(r"[-+*/%]")


@dataclass(frozen=True, slots=True)
class Reason:
    """A condition, taken apart.

    Args:
        measured: PromQL of what is compared.
        operator: as it is written. threshold: what with; None: the condition compares with no number.
        unit: a guess from the names of metrics.
    """

    measured: str
    operator: str = ""
    threshold: float | None = None
    unit: Unit = "count"

    @property
    def word(self) -> str:
        """``above``."""
        return COMPARED.get(self.operator, "")


def reason_of(expression: str) -> Reason:
    """The first comparison with a number in `expression`, or all of it where there is none."""
    try:
        parse(expression)
    except OpsbookError:
        return Reason(expression)
    for left, operator, right in _comparisons(expression):
        for side, other, turned in ((left, right, operator), (right, left, _turned(operator))):
            number = _number(other)
            if number is not None and _number(side) is None and _parses(side):
                unit = unit_of(side)
                if unit in {"count", "1/s"} and _divides(side) and 0 < abs(number) <= 1:
                    unit = "ratio"
                return Reason(side, turned, number, unit)
    return Reason(expression, unit=unit_of(expression))


def _divides(text: str) -> bool:
    """Whether it is one figure divided by another, as a share is."""
    root: Node = parse(text).root
    return isinstance(root, Binary) and root.operator == "/" and _constant(root.right) is None


def unit_of(expression: str) -> Unit:
    """What its values probably are."""
    if re.match(r"\s*(count|changes|time|timestamp|resets|absent)\w*\b", expression):
        return "count"
    return next((unit for pattern, unit in _UNITS if re.search(pattern, expression)), "count")


def _comparisons(text: str) -> list[tuple[str, str, str]]:
    """The parts of the text at its comparisons that are in no brackets, left to right; of ``a and b`` each side's."""
    found = []
    for part in _split(
        _bare(text), re.compile(r"\b(?:and|or|unless)\b(?:\s*(?:on|ignoring)\s*\([^)]*\))?", re.IGNORECASE)
    ):
        bare = _bare(part)
        sides = _split(bare, re.compile(r"==|!=|>=|<=|(?<![=!~])>|<"))
        if len(sides) == 2:
            operator = bare[len(sides[0]) : len(bare) - len(sides[1])].strip()
            found.append((sides[0].strip(), operator, sides[1].strip().removeprefix("bool").strip()))
        elif bare != part and len(sides) == 1:
            found += _comparisons(bare) if bare != text else []
    return found


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """The parts between separators that are outside of brackets and quotes."""
    parts, depth, start, position = [], 0, 0, 0
    while position < len(text):
        character = text[position]
        if character in "\"'`":
            position = _past(text, position)
            continue
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif depth == 0 and (match := separator.match(text, position)):
            parts.append(text[start:position])
            start = position = match.end()
            continue
        position += 1
    return [*parts, text[start:]]


def _past(text: str, position: int) -> int:
    """The place after the text in quotes that begins here."""
    quote, position = text[position], position + 1
    while position < len(text) and text[position] != quote:
        position += 2 if text[position] == "\\" and quote != "`" else 1
    return position + 1


def _bare(text: str) -> str:
    """Without brackets around all of it."""
    text = text.strip()
    while text.startswith("(") and text.endswith(")"):
        inside = text[1:-1]
        depth = 0
        for character in inside:
            depth += (character == "(") - (character == ")")
            if depth < 0:
                return text
        text = inside.strip()
    return text


def _number(text: str) -> float | None:
    try:
        root: Node = parse(text).root
    except OpsbookError:
        return None
    return _constant(root)


def _constant(node: Node) -> float | None:
    match node:
        case Number(value):
            return value
        case Binary(operator, left, right) if _SCALE.fullmatch(operator):
            one, other = _constant(left), _constant(right)
            if one is None or other is None or (operator in "/%" and not other):
                return None
            return {"+": one + other, "-": one - other, "*": one * other}.get(
                operator, one / other if operator == "/" else one % other if other else None
            )
    return None


def _turned(operator: str) -> str:
    return {">": "<", "<": ">", ">=": "<=", "<=": ">="}.get(operator, operator)


def _parses(text: str) -> bool:
    try:
        parse(text)
    except OpsbookError:
        return False
    return True
