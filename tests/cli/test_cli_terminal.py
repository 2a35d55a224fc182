"""Words on a terminal: quantities, tables, regions, colours."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.errors import Failed, Invalid
from opsbook.terminal import (
    Region,
    Style,
    Terminal,
    age,
    count,
    cut,
    duration,
    parse_duration,
    share,
    table,
    width,
)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0s"),
        (12.44, "12.4s"),
        (59.96, "1m 0s"),
        (200, "3m 20s"),
        (7500, "2h 5m"),
        (356400, "4d 3h"),
        (-1, "0.0s"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, expected: str) -> None:
    """Precise where it is short."""
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [(None, "-"), (100.0, "now"), (60.0, "40s"), (-100.0, "3m"), (-90000.0, "1d"), (200.0, "now")],
)
def test_ages_have_one_unit(at: float | None, expected: str) -> None:
    """A time in the future is now: clocks differ."""
    assert age(at, 100.0) == expected


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("10m", 600), ("1h30m", 5400), ("500ms", 0.5), ("2d", 172800)]
)
def test_durations_are_read_as_they_are_written_in_the_handbook(text: str, seconds: float) -> None:
    """A plain number is seconds."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "10 m", "m", "-5m", "10x"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """With an example."""
    with pytest.raises(Invalid):
        parse_duration(text)


def test_counts_and_shares() -> None:
    """Singular, plural, irregular; small shares keep a digit."""
    assert [
        count(1, "instance"), count(0, "instance"), count(2, "entry", "entries"),
    ] == ["1 instance", "0 instances", "2 entries"]  # fmt: skip
    assert [share(0), share(0.002), share(0.12), share(1)] == ["0 %", "0.2 %", "12 %", "100 %"]


def test_columns_are_aligned_by_what_is_seen() -> None:
    """Colours take no room, wide characters two cells."""
    rows = [["a", "\x1b[31mred\x1b[0m", "x"], ["日本", "b", "y"]]
    assert [width(line.rpartition(" ")[0]) for line in table(rows)] == [10, 10]


def test_the_last_column_is_neither_padded_nor_cut() -> None:
    """Lines may be long in a pipe."""
    assert table([["a", "x" * 300], ["b", "y"]]) == ["a  " + "x" * 300, "b  y"]


@given(st.text(), st.integers(min_value=1, max_value=40))
def test_cut_text_fits(text: str, cells: int) -> None:
    """Whatever it is made of."""
    text = "".join(character for character in text if character.isprintable())
    assert width(cut(text, cells)) <= cells


def test_cutting_ends_the_colour() -> None:
    """Nothing after it is coloured by accident."""
    assert cut("\x1b[31mabcdef\x1b[0m", 4) == "\x1b[31mabc…\x1b[0m"


def test_a_region_never_shrinks_and_fits_the_screen() -> None:
    """What is below it does not jump; what does not fit is the oldest."""
    stream = io.StringIO()
    region = Region(stream, lambda: os.terminal_size((10, 4)))
    region.draw(["1", "2"])
    region.draw(["only"])
    region.draw([str(number) for number in range(9)])
    first, second, third = stream.getvalue().replace("\x1b[K", "").replace("\r", "").split("\x1b[2A")
    assert [first, second, third] == ["1\n2\n", "only\n\n", "6\n7\n8\n"]


def test_a_region_that_has_not_changed_is_not_drawn() -> None:
    """No flicker."""
    stream = io.StringIO()
    region = Region(stream, lambda: os.terminal_size((10, 4)))
    region.draw(["same"])
    before = stream.getvalue()
    region.draw(["same"])
    assert before == stream.getvalue()


def test_an_error_is_a_chain_then_a_blank_line_then_the_way_out() -> None:
    """As every command prints it."""
    messages = io.StringIO()
    error = Failed("canary api aborted", hint="opsbook deployments show d-91")
    error.__cause__ = Failed("p95 412 ms > 180 ms")
    Terminal(io.StringIO(), messages, {}).error(error)
    assert messages.getvalue() == (
        "error: canary api aborted\n  caused by: p95 412 ms > 180 ms\n\nhint: opsbook deployments show d-91\n"
    )


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, False), ({"CLICOLOR_FORCE": "1"}, True), ({"CLICOLOR_FORCE": "0"}, False),
     ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False)],
)  # fmt: skip
def test_a_pipe_is_coloured_only_by_force(environ: dict[str, str], coloured: bool) -> None:
    """https://no-color.org, https://bixense.com/clicolors/."""
    assert Style.of(io.StringIO(), environ).colour == coloured
