"""Waterfalls laid out, and questions read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.errors import Invalid
from opsbook.monitoring.traces.asking import Asked, moment
from opsbook.monitoring.traces.cli import took, waterfall_lines
from opsbook.monitoring.traces.model import waterfall_json
from opsbook.monitoring.traces.plan import own_time, pairs_of, waterfall
from opsbook.terminal import Style
from opsbook.world.traces.words import Span

MS = 1_000_000


def span(number: int, parent: int, start: int, length: int, **more: str) -> Span:
    return Span(
        trace_id="ab" * 16, span_id=str(number), parent_id=str(parent) if parent else "",
        start_ns=10**18 + start * MS, duration_ns=length * MS,
        **{"name": f"s{number}", "service": "web", **more},  # type: ignore[arg-type]
    )  # fmt: skip


def test_each_parent_comes_before_its_children_and_these_by_time() -> None:
    """The order of reading, whatever the order of arrival."""
    found = waterfall([span(4, 2, 30, 5), span(3, 1, 60, 10), span(2, 1, 20, 30), span(1, 0, 0, 100)])
    assert [("s1", 0), ("s2", 1), ("s4", 2), ("s3", 1)] == [(row.span.name, row.depth) for row in found.rows]
    assert [(0.0, 100.0), (20.0, 30.0), (30.0, 5.0), (60.0, 10.0)] == [
        (row.offset, row.share) for row in found.rows
    ]
    assert [60, 25, 5, 10] == [row.own_ns // MS for row in found.rows]


def test_children_at_the_same_time_count_once() -> None:
    """Own time is when no child worked; a child that outlives its parent takes no more than there is."""
    children = [span(2, 1, 10, 30), span(3, 1, 20, 30), span(4, 1, 90, 50)]
    assert 50 * MS == own_time(span(1, 0, 0, 100), children)


def test_what_lost_its_parent_is_shown_and_marked() -> None:
    """Spans whose parent was never sent, and circles that broken programs make, are all there, once."""
    found = waterfall([span(2, 9, 0, 10), span(5, 6, 1, 1), span(6, 5, 2, 1), span(7, 7, 3, 1)])
    assert [("s2", True), ("s5", True), ("s6", False), ("s7", True)] == [
        (row.span.name, row.orphan) for row in found.rows
    ]


@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.integers(0, 12), st.integers(0, 50), st.integers(0, 50)),
        min_size=1, max_size=12, unique_by=lambda one: one[0],
    )
)  # fmt: skip
def test_every_span_is_drawn_once_and_within_the_picture(given_: list[tuple[int, int, int, int]]) -> None:
    """Whatever is sent."""
    found = waterfall([span(*one) for one in given_])
    assert sorted(str(one[0]) for one in given_) == sorted(row.span.span_id for row in found.rows)
    assert all(
        0 <= row.offset and row.offset + row.share <= 100.0001 and row.own_ns >= 0 for row in found.rows
    )


def test_a_waterfall_at_the_terminal() -> None:
    """Bars stand under each other, a failure says why, nothing needs colour or Unicode."""
    found = waterfall_json(
        waterfall([span(1, 0, 0, 100), span(2, 1, 50, 50, service="db", status="error", message="no room")])
    )
    lines = list(waterfall_lines(found, Style(colour=False, unicode=False), 100))
    assert [
        "  web s1   ################################    100 ms",
        "F   db s2  ................################     50 ms",
        "      no room",
    ] == [line.rstrip() for line in lines]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.00083, "830 µs"), (0.0124, "12.4 ms"), (1.25, "1.25 s"), (90, "1.5 min")]
)
def test_durations_are_told_at_their_scale(seconds: float, text: str) -> None:
    """Three digits or so, whatever the scale."""
    assert text == took(seconds)


def test_questions_are_read_and_mistakes_named() -> None:
    """Durations, times and attributes, as people write them."""
    query = Asked(
        shortest="250ms", since="10m", until="1970-01-01T00:00:05+00:00", fields=["a=b=c", " "]
    ).query(1000.0, None)
    assert (0.25, 400.0, 5.0, {"a": "b=c"}) == (
        query.shortest,
        query.since,
        query.until,
        dict(query.attributes),
    )
    assert (None, 1.7e9) == (moment(" ", 1.0, "since"), moment("1700000000", 1.0, "since"))
    for wrong in ({"shortest": "quick"}, {"since": "yesterdayish"}, {"since": "9000d"}):
        with pytest.raises(Invalid):
            Asked(**wrong).query(1000.0, None)  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="NAME=VALUE"):
        pairs_of(["route"], "field")
