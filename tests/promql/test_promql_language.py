"""What queries answer, in small: each case can be checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from memory import Memory

from opsbook.errors import Failed, Invalid
from opsbook.promql import Engine, Matrix, Scalar, Vector, parse
from opsbook.promql.series import ABSENT, STALE, is_sample

NAN, INF = math.nan, math.inf
BITS = {marker: float(np.array([marker], np.int64).view(np.float64)[0]) for marker in (ABSENT, STALE)}


@pytest.fixture(scope="module")
def engine() -> Engine:
    """Samples every 10 s from 0 to 600."""
    memory = Memory()
    times = list(range(0, 601, 10))
    count = len(times)
    for instance, rate in (("a", 1.0), ("b", 2.0)):
        for code in ("200", "500"):
            grown = [rate * at * (1.0 if code == "200" else 0.1) for at in times]
            memory.add(times, {"requests_total": grown}, instance=instance, code=code)
    memory.add(times, {"version": [1.0] * count}, instance="a", version="7")
    memory.add(times, {"version": [1.0] * count}, instance="b", version="8")
    # A counter that starts anew at 300, a gauge that goes up and down, one that ends at 200.
    memory.add(times, {"restarting_total": [float(at % 300) for at in times]})
    memory.add(times, {"wave": [float(abs(300 - at)) for at in times]})
    memory.add(times, {"ended": [5.0] * 20 + [BITS[STALE]] + [BITS[ABSENT]] * (count - 21)})
    memory.add(times, {"odd": [NAN if at % 20 else INF for at in times]})
    for bound, share in (("0.1", 0.5), ("0.5", 0.9), ("1", 1.0), ("+Inf", 1.0)):
        memory.add(times, {"seconds_bucket": [share * at for at in times]}, le=bound)
    return Engine(memory)


Expected = dict[tuple[tuple[str, str], ...], float] | float


def answer(engine: Engine, query: str, at: float = 600.0) -> Expected:
    value = engine.instant(query, int(at * 1000)).value
    if isinstance(value, Scalar):
        return value.value
    assert isinstance(value, Vector)
    return {
        tuple(sorted(labels.items())): float(number)
        for labels, number in zip(value.series, value.values, strict=True)
    }


def row(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


NONE = row()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # arithmetic and its order
        ("1 + 2 * 3 ^ 2 ^ 0 - -4 % 3", 8.0),
        ("-2 ^ 2", -4.0),
        ("2 ^ 3 ^ 2", 512.0),
        ("7 / 0", INF),
        ("5 % -3", 2.0),
        ("1 > bool 2", 0.0),
        ("0x10 + 1e1 + .5", 26.5),
        ("vector(1) atan2 vector(0)", {NONE: math.pi / 2}),
        # selectors
        ('wave{instance=""}', {row(__name__="wave"): 300.0}),
        ('{__name__=~"wa.e"}', {row(__name__="wave"): 300.0}),
        ("wave offset 1m", {row(__name__="wave"): 240.0}),
        ("wave @ 300", {row(__name__="wave"): 0.0}),
        ("wave @ 300 offset -10s", {row(__name__="wave"): 10.0}),
        ("nothing", {}),
        ("ended", {}),
        # ranges are open on their left: of 60 s there are six samples
        ("count_over_time(wave[60s])", {NONE: 6.0}),
        ("count_over_time(wave[61s])", {NONE: 7.0}),
        ("sum_over_time(wave[30s])", {NONE: 870.0}),
        ("avg_over_time(wave[30s])", {NONE: 290.0}),
        ("min_over_time(wave[10m])", {NONE: 0.0}),
        ("max_over_time(wave[1m])", {NONE: 300.0}),
        ("last_over_time(wave[1m])", {row(__name__="wave"): 300.0}),
        ("quantile_over_time(0.5, wave[50s])", {NONE: 280.0}),
        ("stddev_over_time(wave[20s])", {NONE: 5.0}),
        ("stdvar_over_time(wave[20s])", {NONE: 25.0}),
        ("present_over_time(ended[10m])", {NONE: 1.0}),
        ("absent(nothing{a='b'})", {row(a="b"): 1.0}),
        ("absent(wave)", {}),
        ("absent_over_time(nothing[1m])", {NONE: 1.0}),
        # counters
        ("rate(restarting_total[200s] offset 10s)", {NONE: 1.0}),
        ("increase(restarting_total[100s] offset 10s)", {NONE: 100.0}),
        ("resets(restarting_total[10m])", {NONE: 2.0}),
        ("changes(version{instance='a'}[5m])", {row(instance="a", version="7"): 0.0}),
        ("irate(wave[1m])", {NONE: 1.0}),
        ("delta(wave[100s])", {NONE: 100.0}),
        ("idelta(wave[100s])", {NONE: 10.0}),
        ("deriv(wave[100s])", {NONE: 1.0}),
        ("predict_linear(wave[100s], 60)", {NONE: 360.0}),
        ("rate(wave[5s])", {}),
        # aggregations
        ("sum(requests_total)", {NONE: 1980.0}),
        ("sum by (code) (requests_total)", {row(code="200"): 1800.0, row(code="500"): 180.0}),
        ("sum without (code) (requests_total)", {row(instance="a"): 660.0, row(instance="b"): 1320.0}),
        ("topk(1, requests_total)", {row(__name__="requests_total", instance="b", code="200"): 1200.0}),
        ("bottomk by (code) (1, requests_total{code='200'})",
         {row(__name__="requests_total", instance="a", code="200"): 600.0}),
        ("quantile(0.5, requests_total)", {NONE: 360.0}),
        ("count_values('v', version)", {row(v="1"): 2.0}),
        ("group(requests_total)", {NONE: 1.0}),
        ("stdvar(version)", {NONE: 0.0}),
        ("max(odd)", {NONE: INF}),
        # matching
        ("requests_total{code='500'} / ignoring (code) requests_total{code='200'}",
         {row(instance="a"): 0.1, row(instance="b"): 0.1}),
        ("requests_total{code='200'} * on (instance) group_left (version) version",
         {row(instance="a", code="200", version="7"): 600.0, row(instance="b", code="200", version="8"): 1200.0}),
        ("version unless on (instance) requests_total{instance='a'}",
         {row(__name__="version", instance="b", version="8"): 1.0}),
        ("version and on (instance) requests_total{instance='a'}",
         {row(__name__="version", instance="a", version="7"): 1.0}),
        ("wave or nothing", {row(__name__="wave"): 300.0}),
        ("requests_total > 1000", {row(__name__="requests_total", instance="b", code="200"): 1200.0}),
        ("sum(requests_total) > bool 1000", {NONE: 1.0}),
        # functions
        ("histogram_quantile(0.9, rate(seconds_bucket[1m]))", {NONE: 0.5}),
        ("histogram_quantile(0.25, seconds_bucket)", {NONE: 0.05}),
        ("clamp(wave, 0, 10)", {NONE: 10.0}),
        ("round(vector(2.35), 0.5)", {NONE: 2.5}),
        ("scalar(wave) + 1", 301.0),
        ("label_replace(wave, 'x', '$1!', '__name__', '(w).*')", {row(__name__="wave", x="w!"): 300.0}),
        ("label_join(version{instance='a'}, 'j', '-', 'instance', 'version')",
         {row(__name__="version", instance="a", version="7", j="a-7"): 1.0}),
        ("hour(vector(3600 * 30))", {NONE: 6.0}),
        ("days_in_month(vector(951782400))", {NONE: 29.0}),
        ("time()", 600.0),
        ("timestamp(wave offset 5s)", {NONE: 590.0}),
        # subqueries
        ("max_over_time(rate(requests_total{code='200',instance='b'}[1m])[5m:30s])",
         {row(instance="b", code="200"): 2.0}),
        ("count_over_time(wave[5m:1m])", {NONE: 5.0}),
        ("sum_over_time((wave * 2)[20s:10s] @ 300)", {NONE: 20.0}),
    ],
)  # fmt: skip
def test_an_instant(query: str, expected: Expected, engine: Engine) -> None:
    """Labels and values at 600 s."""
    found = answer(engine, query)
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert expected.keys() == found.keys()
        assert expected == pytest.approx(found, rel=1e-12)
    else:
        assert expected == pytest.approx(found, rel=1e-12)


def test_a_series_that_has_ended(engine: Engine) -> None:
    """It is there until it is said to have ended, not five minutes longer; without a word it is there that long."""
    assert {row(__name__="ended"): 5.0} == answer(engine, "ended", 199)
    assert {} == answer(engine, "ended", 200)
    assert {row(__name__="wave"): 300.0} == answer(engine, "wave", 899.9)
    assert {} == answer(engine, "wave", 900)


@pytest.mark.parametrize(
    ("query", "kind", "said"),
    [
        ("sum(", Invalid, "unclosed"),
        ("rate(wave)", Invalid, "expected type matrix"),
        ("wave[5m] + 1", Invalid, "binary"),
        ("unknown(wave)", Invalid, "unknown"),
        ('wave{a="b" or c="d"}', Invalid, "or"),
        ('{a=~"("}', Invalid, "paren|regex"),
        ('{a=""}', Invalid, "at least one|empty"),
        ("requests_total * on (instance) version", Failed, "many-to-many|multiple matches"),
        ("requests_total + on () requests_total", Failed, "many-to-many"),
        ("label_replace(requests_total, 'code', '', '', '')", Failed, "same labelset"),
    ],
)
def test_what_is_refused(query: str, kind: type[Exception], said: str, engine: Engine) -> None:
    """A query that is wrong is Invalid, one that cannot be answered is Failed; both say why."""
    with pytest.raises(kind, match=said):
        engine.instant(query, 600_000)


def test_steps_are_instants(engine: Engine) -> None:
    """A range query is, step by step, what instant queries answer, also beside the ends of the data."""
    queries = [
        "rate(requests_total[1m])", "sum by (code) (rate(requests_total[45s] offset 20s))", "ended",
        "max_over_time(wave[2m:30s])", "requests_total > 300", "topk(1, requests_total)", "absent(ended)",
        "quantile_over_time(0.3, wave[95s])", "histogram_quantile(0.7, rate(seconds_bucket[1m]))", "odd",
        "version * on (instance) group_right () requests_total", "deriv(wave[70s])", "changes(restarting_total[2m])",
    ]  # fmt: skip
    for query in queries:
        matrix = engine.range(query, -60_000, 960_000, 17_000).value
        assert isinstance(matrix, Matrix)
        there = is_sample(matrix.values)
        for column, at in enumerate(matrix.timestamps.tolist()):
            stepped = {
                tuple(sorted(labels.items())): float(matrix.values[index, column])
                for index, labels in enumerate(matrix.series)
                if there[index, column]
            }
            single = answer(engine, query, at / 1000)
            assert isinstance(single, dict)
            assert stepped.keys() == single.keys(), (query, at)
            assert stepped == pytest.approx(single, rel=1e-9, nan_ok=True), (query, at)


def test_start_and_end_are_those_of_the_query(engine: Engine) -> None:
    """With @ a selector stands still while the steps go on."""
    value = engine.range("wave @ start() - wave @ end()", 100_000, 400_000, 100_000).value
    assert isinstance(value, Matrix)
    assert [100.0] * 4 == value.values[0].tolist()


def test_a_query_is_read_back_as_it_was_meant() -> None:
    """What is printed parses to the same."""
    for query in (
        "sum by (a) (rate(b{c=~'d|e'}[5m] offset 1m)) / on (a) group_left (f) g > bool 2",
        "-(a + b) ^ 2",
        "quantile_over_time(0.9, (a or b)[1h:5m] @ 100)",
    ):
        assert parse(query).root == parse(str(parse(query))).root
