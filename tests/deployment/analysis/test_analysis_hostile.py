"""Telemetry that lies. Whatever it says, nothing passes by accident."""

from __future__ import annotations

import json
import math
from typing import Any

from canaries import BOUNDS, COMPARISONS, SETTINGS
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.deployment.analysis import AnalysisState, Counts, Reading, judge
from opsbook.deployment.model import Rule

RULES = (*COMPARISONS, Rule(metric="error_rate", max=0.01), Rule(metric="cpu_usage", max=0.8))
NOT_A_COUNT = st.sampled_from([math.nan, math.inf, -1, None, "7", True])
COUNT = st.integers(0, 200)
VALUE = st.one_of(st.none(), st.floats(), st.sampled_from(["1", None]))


@st.composite
def counted(draw: st.DrawFn, number: st.SearchStrategy[Any]) -> Counts:
    latency = draw(st.one_of(st.just(()), st.tuples(*[number] * (len(BOUNDS) + 1)), st.tuples(number)))
    return Counts(draw(number), draw(number), latency)


def readings(number: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Reading]]:
    metrics = st.dictionaries(st.sampled_from(["error_rate", "cpu_usage"]), VALUE)
    one = st.builds(
        Reading,
        at=st.one_of(st.floats(0, 100), st.just(math.nan)),
        canary=counted(number),
        stable=st.one_of(st.none(), counted(number)),
        metrics=metrics,
        stable_metrics=metrics,
    )
    return st.lists(one, min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(readings(st.one_of(COUNT, NOT_A_COUNT)))
def test_nothing_unsound_ever_passes(found: list[Reading]) -> None:
    """A pass has requests enough, sound counts and values that were read; and every state can be written down."""
    state = AnalysisState()
    for reading in found:
        state, judgement = judge(state, RULES, reading, SETTINGS)
        assert AnalysisState.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False))) == state
        json.dumps(judgement.to_json(), allow_nan=False)
        if judgement.verdict == "pass":
            counts = reading.canary
            assert counts.requests >= SETTINGS.min_samples
            assert 0 <= counts.errors <= counts.requests
            assert all(math.isfinite(reading.metrics[name]) for name in ("error_rate", "cpu_usage"))


@settings(max_examples=100, deadline=None)
@given(
    broken=NOT_A_COUNT,
    where=st.sampled_from(["requests", "errors", "latency", "stable requests", "stable errors"]),
)
def test_one_number_that_is_none_spoils_the_look(broken: Any, where: str) -> None:
    """Otherwise good counts with a NaN, an infinity, a negative number or no number at all in them are an error."""
    values = {"requests": 100, "errors": 0, "latency": 100, "stable requests": 900, "stable errors": 0}
    values[where] = broken
    latency = (0, 0, 0, values["latency"], 0, 0, 0, 0, 0)
    canary = Counts(values["requests"], values["errors"], latency)
    stable = Counts(values["stable requests"], values["stable errors"], (0, 0, 0, 900, 0, 0, 0, 0, 0))
    _, judgement = judge(AnalysisState(), COMPARISONS, Reading(0.0, canary, stable), SETTINGS)
    assert judgement.verdict == "error"
