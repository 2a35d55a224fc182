"""A line between its bounds, drawn over time with braille dots, for a terminal. Pure: numbers in, lines out.

The values have their zero line, the unit stands once at the top of the axis, where nothing was measured nothing is
drawn, and nothing is smoothed. Each row of text is a round number, so that the scale changes seldom while it is live.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from opsbook.terminal.style import Style
from opsbook.terminal.table import width as cells

LEAST_WIDTH, LEAST_HEIGHT = 30, 5
# The bit of a braille character for a dot, by column (0, 1) and row (0 to 3) in its cell.
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_Cell = tuple[str, str]  # what it belongs to, and its character
_Column = Callable[[float], float]  # a time's column of dots
_NOTHING = 1e-4  # values that are all smaller are drawn as 0
_GAP = 4.0  # times the usual distance of two points: nothing was measured in between


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement; None is not measured. `at` is on the same scale as the range of the plot."""

    at: float
    value: float | None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """What stands around a plot."""

    unit: str = "%"
    begins: str = ""  # under the left end of the axis
    ends: str = ""  # under the right end
    value: str = "now"  # right of the line's last point
    empty: str = "nothing measured yet"


@dataclass(slots=True)
class _Scale:
    """Rows of text to values: the row `zero` is 0, and each row is `each` more than the one below it."""

    each: float
    zero: int
    rows: int

    def dot(self, value: float) -> int | None:
        """The row of dots, from the top; None outside."""
        row = round((self.zero + 0.5) * 4 - 0.5 - value / self.each * 4)
        return row if 0 <= row < self.rows * 4 else None

    def row(self, value: float) -> int:
        """The row of text, the nearest one for what lies outside."""
        return min(max(round(self.zero - value / self.each), 0), self.rows - 1)


@dataclass(slots=True)
class _Canvas:
    columns: int
    rows: int
    dots: dict[tuple[int, int], int] = field(default_factory=dict)

    def draw(self, x: int, y: int | None) -> None:
        if y is not None and 0 <= x < self.columns * 2:
            cell = (y // 4, x // 2)
            self.dots[cell] = self.dots.get(cell, 0) | _BITS[x % 2][y % 4]


def plot(
    points: Sequence[Point],
    *,
    since: float,
    until: float,
    width: int,
    height: int,
    style: Style,
    words: Words | None = None,
    mark: float | None = None,
) -> list[str]:
    """Exactly `height` lines of at most `width` cells; none where there is too little room.

    Args:
        points: ordered by time; values in the unit of `words`.
        since, until: what the horizontal axis spans.
        mark: where the line crossed its bounds; shown as a cross on the line.
    """
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return []
    words = words or Words()
    points = [point for point in points if since <= point.at <= until]
    rows = height - 1
    scale = _scale(points, rows)
    labels = _labels(scale, words.unit, style)
    ends = _ends(points, scale, words, style)
    left, right = cells(labels[0]), max((cells(text) for text in ends.values()), default=0)
    columns = width - left - 2 - (right + 1 if right else 0)
    bounds, line = _Canvas(columns, rows), _Canvas(columns, rows)
    span = max(until - since, 1e-9)

    def x(at: float) -> float:
        return (at - since) / span * (columns * 2 - 1)

    _draw(points, x, scale, bounds, line)
    crossed = mark is not None and since <= mark <= until
    body = [_row(row, bounds, line, scale, style, empty="" if points else words.empty) for row in range(rows)]
    if crossed and mark is not None:
        _cross(body, points, mark, x, scale, style)
    colour = "red" if crossed else "blue"
    axis = "┤" if style.unicode else "|"
    lines = []
    for row, drawn in enumerate(body):
        tick = axis if labels[row].strip() else ("│" if style.unicode else "|")
        end = f" {ends[row]}" if row in ends else ""
        lines.append(
            f"{labels[row]} {style.paint(tick, 'dim')}{_painted(drawn, style, colour)}{end}".rstrip()
        )
    rule = columns - cells(words.begins) - cells(words.ends) - 3
    line_of_time = ("─" if style.unicode else "-") * max(rule, 1)
    corner = "└" if style.unicode else "+"
    foot = f"{' ' * left} {corner} {words.begins} {line_of_time} {words.ends}"
    return [*lines, style.paint(foot[:width].rstrip(), "dim")]


def _scale(points: Sequence[Point], rows: int) -> _Scale:
    """Round numbers that hold zero and the later half of the points; earlier bounds may leave the picture."""
    late = points[len(points) // 2 :]
    numbers = [n for p in late for n in (p.value, p.lower, p.upper) if n is not None and math.isfinite(n)]
    high, low = max(numbers, default=0.0), min(numbers, default=0.0)
    high, low = max(high, 0.0), max(-low, 0.0)
    if high + low < _NOTHING:
        high, low = 1.0, 0.0
    for each in _round_numbers((high + low) / rows):
        above, below = math.ceil(high / each - 1e-9), math.ceil(low / each - 1e-9)
        if above + below + 1 <= rows:
            spare = rows - 1 - above - below
            return _Scale(each, above + (spare + 1) // 2, rows)
    raise AssertionError("round numbers never end")


def _round_numbers(least: float) -> Iterator[float]:
    """1, 2, 5, 10 ... from the first that is at least `least`."""
    power = math.floor(math.log10(least))
    while True:
        for digit in (1, 2, 5):
            if (number := digit * 10.0**power) >= least * (1 - 1e-9):
                yield number
        power += 1


def _labels(scale: _Scale, unit: str, style: Style) -> list[str]:
    """One a row, as wide as the widest; every second row has none."""
    digits = max(0, -math.floor(math.log10(scale.each) + 1e-9))
    texts = []
    for row in range(scale.rows):
        steps = scale.zero - row
        shown = steps % 2 == 0
        texts.append(_signed(steps * scale.each, digits, style) if shown else "")
    first = next(row for row, text in enumerate(texts) if text)
    texts = [f"{text} {unit}" if row == first else text and text + " " * (len(unit) + 1)
             for row, text in enumerate(texts)]  # fmt: skip
    widest = max(cells(text) for text in texts)
    return [" " * (widest - cells(text)) + text for text in texts]


def _signed(number: float, digits: int, style: Style) -> str:
    text = f"{number:+.{digits}f}"
    if float(text) == 0:
        return "0"
    return text.replace("-", "−") if style.unicode else text


def _ends(points: Sequence[Point], scale: _Scale, words: Words, style: Style) -> dict[int, str]:
    """What the lines are, by the row at which each ends; moved apart where they end on the same."""
    last = next((point for point in reversed(points) if point.value is not None), None)
    if last is None:
        return {}
    assert last.value is not None
    # Two digits more than the axis: what it is now is read here.
    digits = max(1, 1 - math.floor(math.log10(scale.each) + 1e-9))
    named = [(last.upper, "upper"), (last.value, words.value), (last.lower, "lower")]
    ends: dict[int, str] = {}
    free = 0
    known = [(number, name) for number, name in named if number is not None]
    for position, (number, name) in enumerate(known):
        latest = scale.rows - (len(known) - position)
        row = min(max(scale.row(number), free), latest)
        free = row + 1
        text = f"{_signed(number, digits, style)} {name}"
        ends[row] = style.paint(text, "bold") if name == words.value else style.paint(text, "dim")
    return ends


def _draw(points: Sequence[Point], x: _Column, scale: _Scale, bounds: _Canvas, line: _Canvas) -> None:
    from statistics import median  # not needed by the many commands that plot nothing

    distances = [later.at - earlier.at for earlier, later in pairwise(points)]
    longest = _GAP * median(distances) if distances else 0.0
    for point in points:
        for number in (point.lower, point.upper):
            _dotted(bounds, round(x(point.at)), number, scale)
        if point.value is not None:
            line.draw(round(x(point.at)), scale.dot(point.value))
    for earlier, later in pairwise(points):
        if later.at - earlier.at > longest:
            continue
        start, end = round(x(earlier.at)), round(x(later.at))
        for column in range(start, end + 1):
            part = (column - start) / (end - start) if end > start else 1.0
            for one, other in ((earlier.lower, later.lower), (earlier.upper, later.upper)):
                if one is not None and other is not None:
                    _dotted(bounds, column, one + (other - one) * part, scale)
        if earlier.value is not None and later.value is not None:
            _connect(line, (start, earlier.value), (end, later.value), scale)


def _dotted(canvas: _Canvas, column: int, number: float | None, scale: _Scale) -> None:
    """The bounds are dotted, so that they differ from the line without colour too."""
    if number is not None and column % 2 == 0:
        canvas.draw(column, scale.dot(number))


def _connect(canvas: _Canvas, start: tuple[int, float], end: tuple[int, float], scale: _Scale) -> None:
    """A line without holes: as many dots as its longer side has."""
    rise = abs(end[1] - start[1]) / scale.each * 4
    dots = max(end[0] - start[0], min(math.ceil(rise), scale.rows * 8), 1)
    for number in range(dots + 1):
        part = number / dots
        value = start[1] + (end[1] - start[1]) * part
        canvas.draw(round(start[0] + (end[0] - start[0]) * part), scale.dot(value))


def _row(row: int, bounds: _Canvas, line: _Canvas, scale: _Scale, style: Style, *, empty: str) -> list[_Cell]:
    """The cells of one row of text; the line is over its bounds, and both over the zero line."""
    drawn: list[_Cell] = []
    for column in range(line.columns):
        ours, theirs = line.dots.get((row, column), 0), bounds.dots.get((row, column), 0)
        if ours:
            drawn.append(("line", chr(0x2800 | ours | theirs) if style.unicode else "*"))
        elif theirs:
            drawn.append(("dim", chr(0x2800 | theirs) if style.unicode else "."))
        elif row == scale.zero:
            drawn.append(("dim", "─" if style.unicode else "-"))
        else:
            drawn.append(("", " "))
    if empty and row == max(scale.zero - 1, 0):
        start = max((line.columns - len(empty)) // 2, 0)
        drawn[start : start + len(empty)] = [("dim", letter) for letter in empty[: line.columns]]
    return drawn


def _painted(drawn: Sequence[_Cell], style: Style, colour: str) -> str:
    """Neighbours of one colour are painted together."""
    text = ""
    for kind, run in groupby(drawn, key=lambda cell: cell[0]):
        letters = "".join(letter for _, letter in run)
        name = {"line": colour, "cross": "red"}.get(kind, kind)
        text += style.paint(letters, name) if name else letters
    return text


def _cross(
    body: list[list[_Cell]], points: Sequence[Point], mark: float, x: _Column, scale: _Scale, style: Style
) -> None:
    known = [point for point in points if point.value is not None]
    if known:
        nearest = min(known, key=lambda point: abs(point.at - mark))
        assert nearest.value is not None
        cell = body[scale.row(nearest.value)]
        cell[min(round(x(nearest.at)) // 2, len(cell) - 1)] = (
            "cross",
            "✖" if style.unicode else "X",
        )
