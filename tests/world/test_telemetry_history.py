"""The history: what was written comes back bit for bit, sorted, coarser as it ages, and joined with memory."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from history_place import KEEP, MINUTE, START, TARGET, place

from opsbook.promql import Engine
from opsbook.promql.model import Matrix, Vector
from opsbook.promql.series import STALE, Matcher
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.telemetry.engine import EmbeddedTelemetry
from opsbook.world.telemetry.history.compaction import Retention
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore


def test_what_is_written_comes_back_bit_for_bit(tmp_path: Path) -> None:
    """Values, infinities, NaN that a target sent, and the marker of staleness, after a restart."""
    with place(tmp_path) as first:
        for at, value in enumerate([1.5, float("inf"), float("nan"), -0.0, 5e-324]):
            first.write(START + at * 5000, a=value, b=at)
        first.write(START + 25_000, b=7)
        before = first.bits("a")
    assert int(STALE) == before[-1][1]
    with place(tmp_path, START + MINUTE) as second:
        assert before == second.bits("a")
        assert [] == second.told


def test_memory_is_filled_again_after_a_restart(tmp_path: Path) -> None:
    """Rules that look back find everything without the files; a series that is gone since is marked stale."""
    with place(tmp_path) as first:
        for at in range(700):
            first.write(START + at * 5000, a=at, gone=1)
            first.write(START + at * 5000 + 1, target="web-2", a=-at)
    with place(tmp_path, START + 3_500_000) as second:
        found = second.hot.select(
            [Matcher("__name__", "=", "a"), Matcher("instance", "=", "web-1")], 0, 2**61
        )
        assert 700 == sum(selection.points(0)[0].size for selection in found)
        second.write(START + 3_500_000, a=700)
        assert int(STALE) == second.bits("gone")[-1][1]
        assert (START + 3_500_000, 700.0) == second.points("a")[-1]
        assert 1401 == len(second.points("a"))


def test_a_failed_scrape_is_known_after_a_restart(tmp_path: Path) -> None:
    """The columns in which the target did not answer are told apart by its own `up`."""
    with place(tmp_path) as first:
        for at in range(6):
            first.write(START + at * 5000, up=at != 3, a=at)
    with place(tmp_path, START + MINUTE) as second:
        (found,) = second.hot.select([Matcher("__name__", "=", "a")], 0, 2**61)
        assert [True, True, True, False, True, True] == found.window.scraped.tolist()


def test_memory_and_files_together_give_every_sample_once(tmp_path: Path) -> None:
    """Far more samples than fit into memory: each is there once, wherever the question begins and ends."""
    with place(tmp_path, retention=60) as here:
        for at in range(2000):
            here.now = START + at * 1000
            here.write(here.now, a=at)
            if at % 97 == 0:
                here.history.flush()
        assert START < (here.hot.since(tuple(sorted(TARGET.items()))) or 0)
        for low, high in ((0, 1999), (100, 200), (1200, 1900), (1590, 1610), (1999, 1999)):
            expected = [(START + at * 1000, float(at)) for at in range(low, high + 1)]
            assert expected == here.points("a", START + low * 1000, START + high * 1000)


def test_a_target_that_left_is_in_the_files(tmp_path: Path) -> None:
    """It is forgotten in memory after a while; questions about that time still find it, and its labels."""
    with place(tmp_path, retention=60) as here:
        for at in range(10):
            here.write(START + at * 1000, target="gone", a=at)
        here.history.flush()
        here.hot.end({**TARGET, "instance": "gone"}, START + 10_000)
        here.hot.expire(START + 200_000)
        here.write(START + 200_000, b=1)
        assert 1 == here.hot.size().blocks
        assert [float(at) for at in range(10)] == [value for _, value in here.points("a")]
        matchers = [Matcher("job", "=", "metrics")]
        assert ("gone", "web-1") == here.storage.label_values("instance", matchers, 0, 2**61)
        assert ("__name__", "instance", "job") == here.storage.names(matchers, 0, 2**61)
        assert ("b",) == here.storage.label_values("__name__", matchers, START + 100_000, 2**61)


@pytest.mark.parametrize("series", [3, 300])
def test_files_are_sorted_into_few(tmp_path: Path, series: int) -> None:
    """After two hours the small files are one; what they say is the same, the small ones are removed."""
    names = [f"m{number}" for number in range(series)]
    with place(tmp_path, retention=60) as here:
        for at in range(260):
            here.now = START + at * 30_000
            values: dict[str, Any] = {name: at + number for number, name in enumerate(names)}
            here.write(here.now, **values)
            if at % 10 == 0:
                here.history.flush()
        before = here.points("m1")
        everything = len(here.storage.select([Matcher("__name__", "=~", "m.*")], 0, 2**61)[0].series)
        here.history.maintain()
        assert 1 == len(list((tmp_path / "raw").glob("1-*.parquet")))
        assert before == here.points("m1")
        assert series == everything
        here.now += 100_000
        here.history.maintain()
        assert [] == list((tmp_path / "raw").glob("0-*.parquet"))
        assert before == here.points("m1")


def test_five_minutes_and_hours_tell_what_happened(tmp_path: Path) -> None:
    """Number, sum, extremes, last value; a counter's growth is exact over resets and over the borders of files."""
    random = np.random.default_rng(3)
    with place(tmp_path, retention=60) as here:
        counter, grown, gauges, growth = 1000.0, 0.0, list[float](), dict[int, float]()
        for at in range(1, 1000):
            here.now = START + at * 20_000
            step = float(random.integers(0, 10))
            counter = step if at % 111 == 0 else counter + step
            grown += step
            gauge = float(random.normal())
            gauges.append(gauge)
            bucket = -(-here.now // 300_000) * 300_000
            growth[bucket] = growth.get(bucket, 0.0) + step * (at > 1)
            here.write(here.now, x_total=counter, temperature=gauge)
            if at % 100 == 0:
                here.history.flush()
            if at % 300 == 0:
                here.history.maintain()
        here.history.flush()
        end = here.now // 300_000 * 300_000
        (found,) = here.storage.aggregates([Matcher("__name__", "=", "x_total")], START - 300_000, end)
        assert {at: number for at, number in growth.items() if at <= end} == dict(
            zip(found.timestamps.tolist(), found.grown.tolist(), strict=True)
        )
        here.now += 3 * 3_600_000
        here.history.maintain()
        (found,) = here.storage.aggregates([Matcher("__name__", "=", "x_total")], START, here.now)
        assert growth == dict(zip(found.timestamps.tolist(), found.grown.tolist(), strict=True))
        (hours,) = here.storage.aggregates(
            [Matcher("__name__", "=", "temperature")], START, here.now, hours=True
        )
        assert len(gauges) == int(hours.count.sum())
        assert sum(gauges) == pytest.approx(float(hours.sum.sum()))
        assert (min(gauges), max(gauges)) == (hours.min.min(), hours.max.max())
        assert gauges[-1] == hours.last[-1]
        assert (START + 3_600_000 * np.arange(1, 7)).tolist() == hours.timestamps.tolist()


def test_old_samples_become_one_for_five_minutes(tmp_path: Path) -> None:
    """Past their retention the samples are gone, the coarse ones answer, and increases stay what they were."""
    kept = Retention(raw=6 * 3600.0, coarse=86_400.0)
    with place(tmp_path, retention=60, keep=kept) as here:
        counter = 0.0
        for at in range(12 * 60):
            here.now = START + at * MINUTE
            counter = 0.0 if at == 100 else counter + 1
            here.write(here.now, x_total=counter, g=at)
            if at % 60 == 59:
                here.history.flush()
                here.history.maintain()
        old = here.points("x_total", START, START + 10_500_000)
        assert [START + number * 300_000 for number in range(36)] == [at for at, _ in old]
        assert 175 - 1 == old[-1][1] - old[0][1]
        assert all(before[1] < after[1] for before, after in pairwise(old))
        assert (START + 6_000_000, 100.0) == here.points("g", START, START + 2 * 3_600_000)[20]
        here.now += 86_400_000 * 2
        here.history.maintain()
        assert [] == here.points("g", START, START + 3 * 3_600_000)


def test_pushed_samples_that_come_late_are_kept(tmp_path: Path) -> None:
    """One that arrives after its time was written is in memory and in the files."""
    with place(tmp_path) as here:

        def push(name: str, *points: tuple[int, float]) -> tuple[int, int]:
            labels = {"__name__": name, "job": "node", "instance": "n1"}
            times, values = (np.array(part) for part in zip(*points, strict=True))
            received = here.storage.receive([(labels, times.astype(np.int64), values.astype(float))])
            return received.accepted, received.out_of_order

        assert (2, 0) == push("a", (START, 1.0), (START + 10_000, 2.0))
        here.history.flush()
        assert (2, 0) == push("b", (START, 5.0), (START + 10_000, 6.0))
        assert (1, 1) == push("a", (START + 5000, 1.5), (START, 9.0))
        assert (1, 0) == push("a", (START, 1.0))
    with place(tmp_path, START + MINUTE) as again:
        assert [(START, 1.0), (START + 5000, 1.5), (START + 10_000, 2.0)] == again.points("a")
        assert [(START, 5.0), (START + 10_000, 6.0)] == again.points("b")


def test_rules_after_the_first_start_do_not_wait_for_files(tmp_path: Path) -> None:
    """What lies before the first start is nowhere: the files are not asked for it."""
    with place(tmp_path) as here:
        here.write(START, a=1)
        here.history.flush()
        assert START - here.hot.retention == here.hot.find([Matcher("__name__", "=", "a")], 0, START).since
    with place(tmp_path, START + MINUTE) as again:
        since = again.hot.find([Matcher("__name__", "=", "a")], 0, START).since
        assert START + MINUTE - again.hot.retention == since


def test_series_that_no_file_has_are_forgotten(tmp_path: Path) -> None:
    """Once a day; those that are in memory keep their number although their samples in files have expired."""
    with place(tmp_path, retention=60) as here:
        here.write(START, a=1)
        here.write(START, target="gone", a=2)
        here.history.flush()
        here.hot.end({**TARGET, "instance": "gone"}, START + 1000)
        here.hot.expire(START + 200_000)
        here.now += int(KEEP.coarse * 1000) + MINUTE
        here.history.maintain()
        here.write(here.now, a=3)
        here.history.flush()
    with place(tmp_path, here.now + MINUTE) as again:
        assert [(here.now, 3.0)] == again.points("a")
        matchers = [Matcher("__name__", "=", "a")]
        rooms = again.history._rooms
        assert rooms is not None
        assert ["web-1"] == [entry.labels["instance"] for entry in rooms.catalogue.find(matchers)]


def test_a_target_given_up_for_memory_costs_only_who_asks_for_it(tmp_path: Path) -> None:
    """Questions about others are answered from memory alone, those about it from the files too."""
    with place(tmp_path) as here:
        for at in range(300):
            here.write(START + at * 1000, a=at)
            here.write(START + at * 1000, target="gone", a=at)
        here.history.flush()
        here.hot.end({**TARGET, "instance": "gone"}, START + 300_000)
        with here.hot.lock:
            here.hot._forget(next(iter(here.hot._ended)))
        assert 600 == len(here.points("a"))
        found = {
            name: here.hot.find([Matcher("instance", "=", name)], START, START + 300_000).since
            for name in ("web-1", "gone")
        }
        assert {"web-1": START - here.hot.retention, "gone": START + 300_001} == found
        here.write(START + 301_000, target="gone", a=301)
        assert 601 == len(here.points("a"))


def test_promql_over_memory_and_files_is_the_same_as_over_memory(tmp_path: Path) -> None:
    """Rates, aggregations, gaps and series that end, over the border between the two."""
    with place(tmp_path / "one", retention=60) as here, place(tmp_path / "other") as everything:
        for at in range(2000):
            here.now = everything.now = START + at * 1000
            values: dict[str, Any] = {"a_total": at % 700, "g": at % 13}
            if at % 500 > 250:
                values["sometimes"] = at
            for each in (here, everything):
                for target in ("web-1", "web-2"):
                    if at % 90 or target == "web-1":
                        each.write(each.now, target=target, **values)
            if at % 100 == 50:
                here.history.flush()
                here.hot.expire(here.now)
        assert here.hot.size().samples < everything.hot.size().samples / 2
        for query in (
            "rate(a_total[5m])",
            "sum by (instance) (increase(a_total[1m]))",
            "avg_over_time(g[90s])",
            "sometimes",
            "count_over_time(sometimes[3m] offset 2m)",
            "absent(sometimes)",
            "max_over_time(sum(g)[5m:7s])",
        ):
            mine, theirs = (
                Engine(each.storage).range(query, START + 5000, START + 1_999_000, 11_000).value
                for each in (here, everything)
            )
            assert isinstance(mine, Matrix)
            assert isinstance(theirs, Matrix)
            order, other = (
                sorted(range(len(each.series)), key=lambda row, each=each: sorted(each.series[row].items()))  # type: ignore[misc]
                for each in (mine, theirs)
            )
            assert [theirs.series[row] for row in other] == [mine.series[row] for row in order]
            np.testing.assert_allclose(mine.values[order], theirs.values[other], rtol=1e-9)


def test_telemetry_goes_on_after_a_restart(tmp_path: Path) -> None:
    """The engine as the server has it: its history is in its own metrics, and its samples are there again."""
    names = ("opsbook_history_up 1", "opsbook_history_failures_total 0", "opsbook_history_bytes")
    telemetry = EmbeddedTelemetry(SystemClock(), history=tmp_path)
    telemetry.start()
    now = int(telemetry.moment() * 1000)
    writer = telemetry.storage.writer({"rules": "test"})
    writer.write(now, [({"__name__": "recorded", "service": "web"}, 3.0)])
    assert telemetry.history is not None
    telemetry.history.flush()
    text = telemetry.own_metrics()
    telemetry.close()
    assert [True] * 3 == [name in text for name in names]
    again = EmbeddedTelemetry(SystemClock(), history=tmp_path)
    again.start()
    try:
        result = Engine(again.storage).instant("recorded", int(again.moment() * 1000)).value
        assert isinstance(result, Vector)
        assert [3.0] == result.values.tolist()
    finally:
        again.close()


def test_aggregates_without_a_history() -> None:
    """They are summed up from memory; a counter's growth begins with what it was before."""
    hot = HotStore()
    block = hot.block(TARGET)
    slots = np.array([block.slot({"__name__": "x_total", **TARGET})], np.int64)
    for number in range(60):
        block.append(START + number * 30_000, slots, np.array([float(number * 2)]))
    (found,) = Storage(hot).aggregates(
        [Matcher("__name__", "=", "x_total")], START + 300_000, START + 1_700_000
    )
    assert [START + number * 300_000 for number in (2, 3, 4, 5)] == found.timestamps.tolist()
    assert ([10] * 4, [20.0] * 4) == (found.count.tolist(), found.grown.tolist())
    assert ([22.0, 42.0], [40.0, 60.0]) == (found.min[:2].tolist(), found.last[:2].tolist())
