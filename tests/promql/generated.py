"""Data and queries made at random, such that no sample lies on the edge of a range.

Prometheus before 3 takes the left edge of a range as a part of it. Samples are taken 137 ms after whole seconds,
queries are asked at whole seconds that are no multiples of ten, and ranges and steps are multiples of ten seconds.
"""

from __future__ import annotations

import random
import re

import numpy as np
from memory import Memory

from opsbook.promql.series import ABSENT, NAME, STALE, Labels

SECONDS = 3000
EVERY = 15
BOUNDS = ("0.1", "0.5", "1", "5", "+Inf")


def data(seed: int, start: int) -> Memory:
    """Counters, gauges, histograms; with restarts, gaps, ends and NaN."""
    chance = np.random.default_rng(seed)
    memory = Memory()
    steps = SECONDS // EVERY
    for number, (a, b) in enumerate((a, b) for a in "xyz" for b in "12"):
        times = (start + np.arange(steps) * EVERY + number) * 1000 + 137
        own = {"a": a, "b": b}
        rows: list[tuple[Labels, np.ndarray]] = []
        for c in ("u", "v"):
            grown = np.cumsum(chance.exponential(3.0, steps)) + 50_000
            restart = int(chance.integers(1, steps))
            if number % 2:
                grown[restart:] -= grown[restart] - 20_000
            rows.append(({NAME: "requests_total", "c": c, **own}, grown))
            rows.append(({NAME: "load", "c": c, **own}, chance.normal(5, 3, steps)))
        rows.append(({NAME: "size", **own}, 100 + np.cumsum(chance.normal(0, 1, steps))))
        rows.append(({NAME: "info", "version": f"v{number % 3}", **own}, np.ones(steps)))
        broken = chance.normal(0, 1, steps)
        broken[chance.random(steps) < 0.1] = np.nan
        rows.append(({NAME: "broken", **own}, broken))
        counts = np.cumsum(chance.poisson(2, (len(BOUNDS), steps)), axis=1)
        rows += [
            ({NAME: "seconds_bucket", "le": bound, **own}, np.cumsum(counts, axis=0)[index] + 40_000.0)
            for index, bound in enumerate(BOUNDS)
        ]
        sparse = chance.normal(50, 20, steps)
        sparse.view(np.int64)[chance.random(steps) < 0.6] = ABSENT
        rows.append(({NAME: "sparse", **own}, sparse))
        ended = chance.normal(2, 1, steps)
        stop = int(chance.integers(steps // 4, steps // 2))
        ended.view(np.int64)[stop] = STALE
        ended.view(np.int64)[stop + 1 : stop + 30] = ABSENT
        rows.append(({NAME: "ended", **own}, ended))
        memory.targets.append(
            (times.astype(np.int64), [labels for labels, _ in rows], np.array([row for _, row in rows]))
        )
    return memory


VARIANCE = re.compile("stddev|stdvar")
NOT_A_NUMBER = re.compile("broken|histogram_quantile|ln|sqrt|log2|scalar|1 / 0|%|/|timestamp")


class Queries:
    """Queries made at random; the same for the same seed."""

    def __init__(self, seed: int, start: int) -> None:
        self._chance = random.Random(seed)
        self._start = start

    def query(self) -> str:
        """Some query about whose answer all Prometheuses agree."""
        while True:
            query = self.vector()
            # One NaN does not vary, said Prometheus before 3.
            if not (VARIANCE.search(query) and NOT_A_NUMBER.search(query)):
                return query

    def vector(self, depth: int = 3) -> str:
        """Some vector."""
        pick = self._chance.choice
        if depth <= 0:
            return self._selector() + pick(["", "", "", f" offset {pick([10, 30, 70])}s", self._at()])
        return pick(
            [
                self._over_time,
                self._over_time,
                self._aggregation,
                self._aggregation,
                self._binary,
                self._function,
                self._quantile,
            ]
        )(depth)

    def _selector(self, metric: str = "") -> str:
        pick = self._chance.choice
        name = metric or pick(["requests_total", "load", "size", "sparse", "ended", "broken", "info"])
        matchers = pick(["", "", '{a="x"}', '{a=~"x|y",b!="2"}', '{b!~"2"}', '{a!="z"}'])
        return name + matchers

    def _at(self) -> str:
        return f" @ {self._start + 10 * self._chance.randrange(60, 290) + 1}"

    def _range(self, metric: str = "", depth: int = 0) -> str:
        pick = self._chance.choice
        if depth > 1 and self._chance.random() < 0.15:
            inner = self.vector(1)
            while "[" in inner and ":" in inner:
                inner = self.vector(1)
            return f"({inner})[{pick([120, 300])}s:{pick([10, 30])}s]"
        shift = pick(["", "", "", " offset 40s", self._at()])
        return f"{self._selector(metric)}[{pick([60, 120, 300, 600])}s]{shift}"

    def _over_time(self, depth: int) -> str:
        pick = self._chance.choice
        name = pick(
            ["rate", "rate", "increase", "irate", "delta", "idelta", "deriv", "changes", "resets", "sum_over_time",
             "avg_over_time", "min_over_time", "max_over_time", "count_over_time", "last_over_time",
             "present_over_time", "stddev_over_time", "stdvar_over_time", "quantile_over_time", "predict_linear",
             "absent_over_time"]
        )  # fmt: skip
        if name in ("rate", "increase", "irate", "resets"):
            return f"{name}({self._range('requests_total')})"
        ranged = self._range("size" if name in ("deriv", "predict_linear") else "", depth)
        if name == "quantile_over_time":
            return f"{name}({pick([0, 0.1, 0.5, 0.9, 1])}, {ranged})"
        if name == "predict_linear":
            # With @ a Prometheus of before 3 gets it wrong: its range wanders with the steps.
            return f"{name}({ranged.partition(' @ ')[0]}, {pick([60, 3600])})"
        return f"{name}({ranged})"

    def _aggregation(self, depth: int) -> str:
        pick = self._chance.choice
        name = pick(
            ["sum", "avg", "min", "max", "count", "stddev", "stdvar", "group", "topk", "bottomk", "quantile"]
        )
        by = pick(["", "", " by (a)", " by (a, b)", " without (b)", " without (c, le)"])
        inner = self.vector(depth - 1)
        if name in ("topk", "bottomk"):
            return f"count{by} ({name}{by} ({pick([1, 2, 3])}, {inner}))"
        if name == "quantile":
            return f"quantile{by} ({pick([0.1, 0.5, 0.99])}, {inner})"
        return f"{name}{by} ({inner})"

    def _binary(self, depth: int) -> str:
        pick = self._chance.choice
        operator = pick(
            ["+", "-", "*", "/", ">", "<", ">=", "<=", "==", "!=", "and", "or", "unless", "atan2"]
        )
        left = self.vector(depth - 1)
        if operator in ("and", "or", "unless"):
            return (
                f"({left}) {operator}{pick(['', ' on (a, b)', ' ignoring (c)'])} ({self.vector(depth - 1)})"
            )
        # Before 3 atan2 kept the name of the metric, which sums have not.
        way = 1.0 if operator == "atan2" else self._chance.random()
        maybe = (
            " bool" if operator in (">", "<", ">=", "<=", "==", "!=") and self._chance.random() < 0.4 else ""
        )
        if way < 0.4:
            scalar = pick(["2", "0.5", "-3", "100", 'scalar(size{a="x",b="1"})', "1 / 0"])
            return (
                f"({left}) {operator}{maybe} {scalar}"
                if way < 0.3
                else f"{scalar} {operator}{maybe} ({left})"
            )
        if way < 0.7:
            match = pick(
                ["on (a, b) group_left ()", "on (a, b) group_left (version)", "ignoring (c) group_left ()"]
            )
            return f"({left}) {operator}{maybe} {match} (sum by (a, b, version) ({self._selector('info')}))"
        # What matches twice and is filtered out is an error since Prometheus 3 only.
        match = pick(["", "on (a, b)", "ignoring (c)", "on (a)" if operator in "+-*/" else ""])
        by = pick(["a", "a, b"])
        return f"sum by ({by}) ({left}) {operator}{maybe} {match} avg by ({by}) ({self.vector(depth - 1)})"

    def _function(self, depth: int) -> str:
        pick = self._chance.choice
        inner = self.vector(depth - 1)
        plain = self.vector(0)  # of computed numbers the last digit would decide which way they are rounded
        day = pick(
            ["hour", "minute", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"]
        )
        return pick(
            [
                f"abs({inner})", f"ceil({plain})", f"floor({plain})", f"-({inner})", f"sqrt({inner})", f"ln({inner})",
                f"exp({inner} / 1000)", f"round({plain}, 0.5)", f"clamp({inner}, -2, 50)", f"clamp_min({inner}, 1)",
                f"sgn({inner})", f"timestamp({self._selector()})", f"absent({inner})", f"sort({inner})",
                f'label_replace({inner}, "d", "$1-$2", "a", "(x)|(.)")', f'label_join({inner}, "d", "-", "a", "b")',
                f"{day}(timestamp({self._selector()}) * {pick([1, 0.9, 1.5])})", f"{self._selector()} % 7.5",
                f"vector(scalar({inner}))", f"atan({inner})", f"log2({inner})",
            ]
        )  # fmt: skip

    def _quantile(self, _: int) -> str:
        pick = self._chance.choice
        by = pick(["le", "le, a", "le, a, b"])
        inner = f"{pick(['rate', 'increase'])}({self._range('seconds_bucket')})"
        return f"histogram_quantile({pick([0.1, 0.5, 0.95, 1, 0])}, sum by ({by}) ({inner}))"
