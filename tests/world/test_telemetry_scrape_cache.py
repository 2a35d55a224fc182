"""Reading whole bodies, the fast way and the slow way."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.errors import Invalid
from opsbook.world.telemetry.exposition import render_series
from opsbook.world.telemetry.scrape_cache import Reading, ScrapeCache
from opsbook.world.telemetry.store import HotStore


def cache(**labels: str) -> tuple[ScrapeCache, HotStore]:
    store = HotStore(max_series=50)
    return ScrapeCache(store.block({"job": "metrics"}), labels), store


def by_series(store: HotStore, reading: Reading) -> dict[str, float]:
    block = store.block({"job": "metrics"})
    named = {}
    for slot, value in zip(reading.slots.tolist(), reading.values.tolist(), strict=True):
        labels = dict(block.series[slot])
        named[render_series(labels.pop("__name__"), labels)] = value
    return named


def test_a_body_with_everything() -> None:
    """Comments, blank lines, Windows line ends, timestamps and exemplars; again and again the same."""
    body = (
        b"# HELP a Some help 5\n# TYPE a counter\n\na 1\r\n"
        b'a{x="1 2"} 2\nb{y="#"} 3 1700000000\n  \nc_total 4 # {trace="t"} 1\n# EOF\n'
    )
    reader, store = cache(service="web")
    expected = {
        'a{service="web"}': 1.0,
        'a{service="web",x="1 2"}': 2.0,
        'b{service="web",y="#"}': 3.0,
        'c_total{service="web"}': 4.0,
    }
    for _ in range(3):
        reading = reader.read(body)
        assert expected == by_series(store, reading)
        assert (4, 0, 0) == (reading.lines, reading.refused, reading.problems)


def test_labels_of_the_target_win() -> None:
    """What a body says under the name of a target's label is kept as exported_."""
    reader, store = cache(service="web")
    reading = reader.read(b'a{service="other",empty=""} 1\n')
    assert {'a{exported_service="other",service="web"}': 1.0} == by_series(store, reading)


def test_broken_lines_do_not_hide_the_others() -> None:
    """Each is counted, the first is told with its place, and a repaired line is read the next time."""
    reader, store = cache()
    reading = reader.read(b'a 1\nb{x=1} 2\nc x\n\xff 3\na 4\nd{y="\xff"} 5\ne 5')
    assert {"a": 1.0, "e": 5.0} == by_series(store, reading)
    assert 5 == reading.problems
    assert "line 2, column 5" == reading.first_problem.where  # type: ignore[union-attr]
    assert {"a": 1.0, "c": 2.0} == by_series(store, reader.read(b"a 1\nc 2\n"))


def test_a_value_that_breaks_later() -> None:
    """A line that was taken on sight is looked at again when its value is none."""
    reader, store = cache()
    for _ in range(3):
        reader.read(b"a 1\nb 2\n")
    reading = reader.read(b"a oops\nb 3\n")
    assert {"b": 3.0} == by_series(store, reading)
    assert "line 1" == reading.first_problem.where  # type: ignore[union-attr]
    assert {"a": 5.0, "b": 6.0} == by_series(store, reader.read(b"a 5\nb 6\n"))


@pytest.mark.parametrize("body", [b"<html>\n<body>404</body>\n</html>", b"{}", b"\x00\xff\xfe"])
def test_something_else_is_served(body: bytes) -> None:
    """When no line can be read the scrape has failed."""
    with pytest.raises(Invalid):
        cache()[0].read(body)


def test_endless_rubbish() -> None:
    """After a thousand unreadable lines the rest is not read."""
    with pytest.raises(Invalid) as raised:
        cache()[0].read(b"a 1\n" + b"what is this\n" * 5000)
    assert "more than 1000 lines cannot be read" in raised.value.message


def test_an_empty_body() -> None:
    """Nothing to tell is no failure."""
    assert 0 == cache()[0].read(b"").lines


def test_nan_is_a_value() -> None:
    """NaN and infinities come through."""
    values = cache()[0].read(b"a NaN\nb +Inf\nc -Inf\n").values
    assert math.isnan(values[0])
    assert [math.inf, -math.inf] == values[1:].tolist()


def test_too_many_series_are_refused_and_counted() -> None:
    """Those that are known go on; the others are counted, every time; labels that change cost no memory."""
    reader, store = cache()
    for number in range(20):
        lines = [b"kept 1"] + [b'a{x="%d"} %d' % (index + number * 1000, index) for index in range(400)]
        reading = reader.read(b"\n".join(lines))
        assert 401 == reading.lines
        assert 1.0 == by_series(store, reading)["kept"]
        assert (351 if number == 0 else 400) == reading.refused
    assert 50 == store.size().series
    assert len(reader._slots) < 2000


LINES = st.sampled_from(
    [b"a 1", b"a 2", b'a{x="1"} 3', b'a{x="1 2"} 4 5', b"# c 1", b"", b"b NaN", b"bad", b"c  7"]
)


@settings(max_examples=200)
@given(st.lists(st.lists(LINES, max_size=6), min_size=1, max_size=6))
def test_the_fast_way_is_the_slow_way(bodies: list[list[bytes]]) -> None:
    """What was scraped before never changes what a body says."""
    used, store = cache()
    for lines in bodies:
        body = b"\n".join(lines)
        fresh, fresh_store = cache()
        try:
            expected = fresh.read(body)
        except Invalid:
            with pytest.raises(Invalid):
                used.read(body)
            continue
        found = used.read(body)
        assert repr(sorted(by_series(fresh_store, expected).items())) == repr(
            sorted(by_series(store, found).items())
        )
        assert (expected.lines, expected.problems) == (found.lines, found.problems)
