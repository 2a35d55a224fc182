"""Plots in a terminal, by what they look like."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.terminal import Point, Region, Style, Words, plot, width

PLAIN, ASCII = Style(colour=False), Style(colour=False, unicode=False)
MINUTE = Words(begins="0:00", ends="1:00")


def drawn(points: list[Point], style: Style = PLAIN, mark: float | None = None, height: int = 8) -> list[str]:
    return plot(points, since=0, until=60, width=48, height=height, style=style, words=MINUTE, mark=mark)


def narrowing(value: float) -> list[Point]:
    """Bounds that close in on `value`, one point every two seconds."""
    return [Point(at, value, value - 40 / (at + 10), value + 40 / (at + 10)) for at in range(0, 50, 2)]


def test_a_line_inside_its_bounds_with_the_unit_once_and_the_ends_named() -> None:
    """Early bounds leave the picture, so that the late ones can be read."""
    assert drawn(narrowing(0.2)) == [
        "+2.0 % ┤     ⠂⠄⡀",
        "       │        ⠁⠂⠄⠄⡀⡀",
        "+1.0   ┤              ⠁⠁⠂⠂⠂⠄⠄⠄⠄      +0.89 upper",
        "       │",
        "   0   ┤⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠁───── +0.20 now",
        "       │               ⡀⡀⡀⠄⠄⠄⠄⠂      −0.49 lower",
        "−1.0   ┤        ⡀⡀⠄⠂⠂⠁⠁",
        "       └ 0:00 ───────────────── 1:00",
    ]


def test_the_crossing_is_marked_on_the_line() -> None:
    """At its time."""
    assert drawn(narrowing(2.0), mark=20.0) == [
        "     │ ⠁⠄",
        "+4 % ┤   ⠁⠂⠄⠄⡀⡀",
        "     │         ⠁⠁⠁⠂⠂⠂⠄⠄⠄⠄⠄⠄⠄⠄⡀⡀       +2.7 upper",
        "+2   ┤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤✖⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤       +2.0 now",
        "     │         ⡀⡀⠄⠄⠄⠄⠄⠂⠂⠂⠂⠂⠂⠂⠁⠁       +1.3 lower",
        " 0   ┤────⠄⠄⠂⠁⠁──────────────────────",
        "     │ ⡀⠂⠁",
        "     └ 0:00 ──────────────────── 1:00",
    ]


def test_where_nothing_was_measured_nothing_is_drawn() -> None:
    """A gap in time and a value of None are gaps; the line is not drawn across."""
    points = [Point(at, None if 10 < at < 20 else 1.0) for at in [*range(30), *range(45, 60)]]
    assert drawn(points, height=5) == [
        "       │",
        "+1.0 % ┤⠤⠤⠤⠤⠤⠄    ⠤⠤⠤⠤⠤       ⠤⠤⠤⠤⠤⠤⠤⠄ +1.00 now",
        "       │",
        "   0   ┤──────────────────────────────",
        "       └ 0:00 ─────────────────── 1:00",
    ]


def test_without_unicode_letters_are_enough() -> None:
    """Dots for the bounds, stars for the line."""
    assert drawn(narrowing(0.2), ASCII, mark=30.0) == [
        "+2.0 % |     ...",
        "       |        ......",
        "+1.0   |              .........      +0.89 upper",
        "       |",
        "   0   |**************X********----- +0.20 now",
        "       |               ........      -0.49 lower",
        "-1.0   |        .......",
        "       + 0:00 ----------------- 1:00",
    ]


def test_an_empty_plot_says_so() -> None:
    """At the same height, so that nothing jumps when the first point comes."""
    lines = drawn([])
    assert (len(lines), sum("nothing measured yet" in line for line in lines)) == (8, 1)


@pytest.mark.parametrize(("columns", "rows"), [(29, 8), (48, 4)])
def test_with_too_little_room_there_is_no_plot(columns: int, rows: int) -> None:
    """Better none than one that cannot be read."""
    assert plot([], since=0, until=60, width=columns, height=rows, style=PLAIN) == []


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)
points = st.builds(Point, st.floats(0, 60), numbers, numbers, numbers)


@given(st.lists(points, max_size=30), st.integers(40, 120), st.integers(5, 20), st.booleans())
def test_a_plot_has_its_height_and_fits_its_width(
    measured: list[Point], columns: int, rows: int, colour: bool
) -> None:
    """Whatever was measured."""
    measured.sort(key=lambda point: point.at)
    style = Style(colour=colour)
    lines = plot(measured, since=0, until=60, width=columns, height=rows, style=style, words=MINUTE, mark=30)
    assert len(lines) == rows
    assert max(width(line) for line in lines) <= columns


def test_colours_are_changed_only_where_they_change() -> None:
    """Neighbours are painted together, and the picture is the same."""
    coloured = drawn(narrowing(0.2), Style(colour=True))
    assert sum(line.count("\x1b[0m") for line in coloured) < 60
    assert [width(line) for line in coloured] == [width(line) for line in drawn(narrowing(0.2))]


class Resized:
    def __init__(self, columns: int, rows: int) -> None:
        self.now = os.terminal_size((columns, rows))

    def __call__(self) -> os.terminal_size:
        return self.now


def test_in_a_narrower_window_the_wrapped_lines_are_overwritten() -> None:
    """What took one row takes two now; what is left below is cleared."""
    stream, size = io.StringIO(), Resized(20, 10)
    region = Region(stream, size)
    region.draw(["a" * 15, "b"])
    size.now = os.terminal_size((10, 10))
    region.draw(["a" * 15, "b"])
    assert stream.getvalue().endswith("\x1b[3A\raaaaaaaa…\x1b[K\n\rb\x1b[K\n\x1b[J")


def test_what_stays_for_good_leaves_no_hole_below() -> None:
    """The next message follows directly."""
    stream = io.StringIO()
    region = Region(stream, Resized(20, 10))
    region.draw(["1", "2", "3"])
    region.end(["done"])
    assert stream.getvalue().endswith("\x1b[3A\rdone\x1b[K\n\x1b[J")
