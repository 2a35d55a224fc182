"""The hot store: alignment, staleness, bounds, time."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.errors import Invalid
from opsbook.promql.series import Matcher
from opsbook.world.telemetry.block import Block
from opsbook.world.telemetry.staleness import is_stale
from opsbook.world.telemetry.store import HotStore
from opsbook.world.telemetry.timeline import Timeline

TARGET = {"job": "metrics", "instance": "web-1"}


def write(block: Block, at: int, *, scraped: bool = True, **values: float) -> int:
    slots = [block.slot({"__name__": name, **block.labels}) for name in values]
    assert None not in slots
    return block.append(
        at, np.array(slots, np.int64), np.array(list(values.values()), float), scraped=scraped
    )


def points(store: HotStore, name: str) -> list[tuple[int, float]]:
    found = []
    for selection in store.select([Matcher("__name__", "=", name)], 0, 2**60):
        for index in range(len(selection.series)):
            times, values = selection.points(index)
            found += list(zip(times.tolist(), values.tolist(), strict=True))
    return found


def test_series_of_a_target_are_aligned() -> None:
    """All series share the timestamps; a series that comes later is absent before and stale once after."""
    store = HotStore()
    block = store.block(TARGET)
    write(block, 1000, a=1)
    write(block, 2000, a=2, b=20)
    write(block, 3000, a=3)
    write(block, 4000, a=4)
    (selection,) = store.select([Matcher("instance", "=", "web-1")], 0, 10_000)
    assert [1000, 2000, 3000, 4000] == selection.window.timestamps.tolist()
    names = [labels["__name__"] for labels in selection.series]
    assert ["a", "b"] == names
    assert [False, False, True, False] == is_stale(selection.window.values[1]).tolist()
    assert [(2000, 20.0)] == points(store, "b")


def test_a_range_is_inclusive() -> None:
    """Both ends of a range belong to it; a range without samples gives nothing."""
    store = HotStore()
    block = store.block(TARGET)
    for at in range(1000, 6000, 1000):
        write(block, at, a=at)
    (selection,) = store.select([Matcher("__name__", "=", "a")], 2000, 4000)
    assert [2000, 3000, 4000] == selection.window.timestamps.tolist()
    assert () == store.select([Matcher("__name__", "=", "a")], 5001, 9000)


@pytest.mark.parametrize(
    ("matchers", "expected"),
    [
        ([Matcher("instance", "=", "web-1")], {"a", "b"}),
        ([Matcher("__name__", "=~", "a|c")], {"a"}),
        ([Matcher("__name__", "!=", "a")], {"b"}),
        ([Matcher("instance", "!~", "web.*")], set()),
        ([Matcher("instance", "=~", "web")], set()),  # anchored
        ([Matcher("nowhere", "=", "")], {"a", "b"}),
        ([Matcher("nowhere", "!=", "")], set()),
    ],
)
def test_matchers(matchers: list[Matcher], expected: set[str]) -> None:
    """Matchers are those of PromQL."""
    store = HotStore()
    write(store.block(TARGET), 1000, a=1, b=2)
    found = {
        labels["__name__"] for selection in store.select(matchers, 0, 9000) for labels in selection.series
    }
    assert expected == found


def test_a_broken_regex_is_refused() -> None:
    """A regular expression that does not parse is Invalid, with its label."""
    with pytest.raises(Invalid) as raised:
        Matcher("instance", "=~", "(")
    assert "instance" == raised.value.where


def test_timestamps_never_go_back() -> None:
    """A time that is not later than the last is moved behind it."""
    block = HotStore().block(TARGET)
    assert [5000, 5001, 5002, 6000] == [write(block, at, a=1) for at in (5000, 4000, 5001, 6000)]


def test_retention_holds_and_memory_is_bounded() -> None:
    """What is younger than the retention is there after any number of samples, and the memory stops growing."""
    store = HotStore(retention=60)
    block = store.block(TARGET)
    sizes = []
    for at in range(0, 3_000_000, 1000):
        write(block, at, a=at, b=1)
        if at and at % 500_000 == 0:
            sizes.append(store.size().nbytes)
    times = [at for at, _ in points(store, "a")]
    assert set(range(2_940_000, 3_000_000, 1000)) <= set(times)
    assert len(times) <= 60 + 240 + 120
    assert max(sizes) - min(sizes) < 5000


def test_series_that_ended_are_forgotten() -> None:
    """A series without a sample within the retention gives its row back, and the others keep theirs."""
    store = HotStore(retention=30, max_series=3)
    block = store.block(TARGET)
    write(block, 0, a=1, b=2, c=3)
    assert block.slot({"__name__": "d"}) is None
    for at in range(1000, 500_000, 1000):
        write(block, at, b=at)
    assert 1 == store.size().series
    write(block, 500_000, b=7, d=8)
    assert [(500_000, 8.0)] == points(store, "d")
    assert (500_000, 7.0) == points(store, "b")[-1]
    assert [] == points(store, "a")


@settings(max_examples=60)
@given(st.lists(st.sets(st.sampled_from("abcdefgh")), max_size=60), st.integers(1, 30), st.integers(3, 400))
def test_the_block_remembers_as_a_list_would(scrapes: list[set[str]], times: int, retention: int) -> None:
    """Against a plain model: every sample within the retention is there, with its value, whatever comes and goes."""
    store = HotStore(retention=retention)
    block = store.block(TARGET)
    model: dict[str, dict[int, float]] = {}
    scrapes = [names for names in scrapes for _ in range(times)]
    for number, names in enumerate(scrapes):
        write(block, number * 1000, **{name: number + ord(name) / 1000 for name in sorted(names)})
        for name in names:
            model.setdefault(name, {})[number * 1000] = number + ord(name) / 1000
    oldest = (len(scrapes) - 1 - retention) * 1000
    for name, expected in model.items():
        found = dict(points(store, name))
        assert found.items() <= expected.items()
        assert {at for at in expected if at >= oldest} <= found.keys()


def test_a_target_that_left() -> None:
    """Its series are marked stale, kept for the retention, and then forgotten; its arrays have no slack."""
    store = HotStore(retention=60)
    write(store.block(TARGET), 1000, a=1)
    store.end(TARGET, 2000)
    (selection,) = store.select([Matcher("__name__", "=", "a")], 0, 9000)
    assert [False, True] == is_stale(selection.window.values[0]).tolist()
    store.expire(30_000)
    assert 1 == store.size().blocks
    store.expire(63_000)
    assert 0 == store.size().blocks


def test_a_target_that_comes_back() -> None:
    """It goes on in its own block, however often it comes and goes."""
    store = HotStore(retention=60)
    for at in range(0, 500, 10):
        write(store.block(TARGET), at, a=at)
        store.end(TARGET, at + 5)
    assert [(at, float(at)) for at in range(0, 500, 10)] == points(store, "a")
    store.expire(10**9)
    assert 0 == store.size().blocks


def test_the_whole_store_is_bounded() -> None:
    """At the limit those who left are forgotten first, then the oldest samples go early, which is counted."""
    store = HotStore(retention=7200, max_bytes=100_000)
    for number in range(5):
        gone = {"job": "metrics", "instance": f"gone-{number}"}
        for at in range(50):
            write(store.block(gone), at * 1000, **{f"m{index}": 1.0 for index in range(16)})
        store.end(gone, 51_000)
    block = store.block(TARGET)
    for at in range(5000):
        write(block, at * 1000, **{f"m{index}": float(at) for index in range(16)})
    size = store.size()
    assert size.nbytes <= 100_000
    assert 1 == size.blocks
    assert size.dropped_early > 0
    assert (4_999_000, 4999.0) == points(store, "m3")[-1]


def test_readers_and_writers_together() -> None:
    """Selections taken while samples are written are whole: ascending times, and every value of its time."""
    store = HotStore(retention=5)
    done = threading.Event()
    torn: list[str] = []

    def look() -> None:
        while not done.is_set():
            for selection in store.select([Matcher("__name__", "=", "a")], 0, 2**60):
                times, values = selection.points(0)
                if not (np.diff(times) > 0).all() or not (values == times).all():
                    torn.append("torn")

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    block = store.block(TARGET)
    for at in range(3000):
        with store.lock:
            write(block, at * 20, a=at * 20)
    done.set()
    for reader in readers:
        reader.join()
    assert [] == torn


class ScriptedClock:
    """Two clocks that do what a test says."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_000_000.0, 50.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def test_the_wall_clock_is_set_back() -> None:
    """Time goes on by the monotonic clock, a hundredth slow, until the wall clock has caught up."""
    clock = ScriptedClock()
    timeline = Timeline(clock)
    clock.wall -= 3600
    times = []
    for _ in range(100):
        clock.sleep(5)
        times.append(timeline.now())
    assert {4950} == {round(step, -1) for step in np.diff(times).tolist()}
    assert 3595 == pytest.approx(timeline.ahead(), abs=0.1)
    clock.wall += 3600
    assert int(clock.wall * 1000) == timeline.now()
    assert 0 == timeline.ahead()


def test_the_wall_clock_is_set_forward() -> None:
    """Time follows at once."""
    clock = ScriptedClock()
    timeline = Timeline(clock)
    clock.wall += 3600
    assert int(clock.wall * 1000) == timeline.now()


@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(0, 100))))
def test_time_never_goes_back(steps: list[tuple[float, float]]) -> None:
    """However the wall clock jumps."""
    clock = ScriptedClock()
    timeline = Timeline(clock)
    last = timeline.now()
    for jump, elapsed in steps:
        clock.wall += jump + elapsed
        clock.steady += elapsed
        now = timeline.now()
        assert now >= last
        last = now
