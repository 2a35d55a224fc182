"""Budgets as arithmetic: what is left, how fast it burns, when it is spent, and what that forbids."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.book.slos import BudgetPolicy, SloSpec, Window
from opsbook.monitoring.rules.model import AlertingRule, RecordingRule
from opsbook.monitoring.slos.burning import expressions, groups_of, spelled, windows_of
from opsbook.monitoring.slos.counting import Stretch
from opsbook.monitoring.slos.model import Counts, Decision, Indicator, Objective
from opsbook.monitoring.slos.objectives import BOUNDS, bound, limited
from opsbook.monitoring.slos.plan import bounds, budget, decision, is_spent, pairs_of, projection, series
from opsbook.monitoring.slos.tally import Tally
from opsbook.promql.parsing import parse
from opsbook.world.traffic.bootstrap import RESPONSE_TIME_BUCKETS

DAY = 86_400.0
NOW = 1_800_000_000.0
REQUESTS = Indicator(
    "selectors", 'requests_total{service="web"}', bad='requests_total{service="web",code="5"}'
)


def objective(**changes: Any) -> Objective:
    wanted: dict[str, Any] = {
        "id": "production/web", "name": "web", "title": "web", "environment": "production", "service": "web",
        "what": "", "kind": "availability", "indicator": REQUESTS, "target": 0.99,
        "window": Window.model_validate({"duration": "10d"}), **changes,
    }  # fmt: skip
    return Objective(**wanted)


class Steady:
    """So many events a second, of which a share is bad, since a time."""

    def __init__(self, rate: float, bad: float, since: float = 0.0) -> None:
        self.rate, self.bad, self.since = rate, bad, since

    def between(self, start: float, end: float) -> Counts:
        seconds = max(0.0, end - max(start, self.since))
        return Counts(self.rate * seconds * (1 - self.bad), self.rate * seconds, seconds)


def test_what_is_left_is_what_was_allowed_without_what_was_bad() -> None:
    """Half of the allowed share bad: half of the budget left, at a burn rate of a half."""
    left = budget(objective(), Steady(1.0, 0.005), NOW)
    assert left.allowed == pytest.approx(8640)
    assert left.remaining == pytest.approx(0.5)
    assert left.burn_rate == pytest.approx(0.5)
    assert left.exhausted_at is None


def test_nothing_measured_is_no_failure() -> None:
    """The budget is whole, and it is said that nothing is known."""
    left = budget(objective(), Steady(0.0, 0.0, since=NOW), NOW)
    assert (1.0, None, None, 0.0) == (left.remaining, left.is_, left.burn_rate, left.known)


class Turning:
    """Well until six days ago, bad at a rate since."""

    def __init__(self, bad: float) -> None:
        self.parts = (Steady(1.0, 0.0), Steady(1.0, bad))

    def between(self, start: float, end: float) -> Counts:
        turn = NOW - 6 * DAY
        early = self.parts[0].between(start, min(end, turn))
        late = self.parts[1].between(max(start, turn), end)
        return Counts(early.good + late.good, early.total + late.total, early.known + late.known)


def test_the_projection_comes_true() -> None:
    """When things go on as they are, a calendar's budget is spent exactly when it was foretold."""
    year, counted = objective(window=Window(calendar="year")), Turning(0.02)
    left = budget(year, counted, NOW)
    assert left.exhausted_at is not None
    assert budget(year, counted, left.exhausted_at).remaining == pytest.approx(0, abs=1e-6)
    assert [(NOW, left.remaining), (left.exhausted_at, 0.0)] == projection(left, NOW)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=400),
    st.integers(1, 400),
)
def test_sums_agree_with_counting_one_by_one(events: list[tuple[int, int]], window: int) -> None:
    """Whatever was counted in stretches, a window is the sum of the stretches in it, also after a restart."""
    last = int(NOW // 300)
    first = last - len(events) + 1
    now = (last + 1) * 300.0
    good = np.array([float(g) for g, _ in events])
    total = np.array([float(g + b) for g, b in events])
    one = objective(window=Window.model_validate({"duration": "10d"}))
    tally = Tally(one, 12 * DAY, now)
    tally.put(Stretch(first, good, total), now)
    tally.sealed = last
    again = Tally(one, 12 * DAY, now)
    for date, document in tally.documents(first, last):
        again.restore(date, document, now)
    chosen = events[-window:]
    expected = Counts(
        float(sum(g for g, _ in chosen)), float(sum(g + b for g, b in chosen)), 300.0 * len(chosen)
    )
    assert expected == tally.between(now - window * 300, now) == again.between(now - window * 300, now)
    assert last == again.sealed


@given(st.lists(st.integers(0, 20), min_size=1, max_size=300))
def test_the_burn_down_falls_to_what_is_left(bad: list[int]) -> None:
    """It begins whole, never rises, and ends at what the budget says."""
    last = int(NOW // 300)
    one, now = objective(), (last + 1) * 300.0
    tally = Tally(one, 12 * DAY, now)
    counts = np.array([float(number) for number in bad])
    tally.put(Stretch(last - len(bad) + 1, np.full(len(bad), 20.0) - counts, np.full(len(bad), 20.0)), now)
    points = [left for _, left in series(one, tally, now) if left is not None]
    assert all(after <= before + 1e-9 for before, after in itertools.pairwise(points))
    assert points[-1] == pytest.approx(budget(one, tally, now).remaining)


@pytest.mark.parametrize(
    ("unit", "since", "until"),
    [
        ("day", "2026-05-20T22:00", "2026-05-21T22:00"),
        ("week", "2026-05-17T22:00", "2026-05-24T22:00"),
        ("month", "2026-04-30T22:00", "2026-05-31T22:00"),
        ("quarter", "2026-03-31T22:00", "2026-06-30T22:00"),
        ("year", "2025-12-31T23:00", "2026-12-31T23:00"),
    ],
)
def test_calendars_begin_where_their_people_are(unit: str, since: str, until: str) -> None:
    """Midnight in Berlin, in summer and in winter."""
    now = datetime(2026, 5, 21, 12, tzinfo=UTC).timestamp()
    window = Window.model_validate({"calendar": unit, "timeZone": "Europe/Berlin"})
    found = tuple(datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M") for at in bounds(window, now))
    assert (since, until) == found


def test_the_alerts_of_thirty_days_are_the_known_ones() -> None:
    """14.4, 6, 3 and 1, over an hour, six, a day, three; a window of a week has shorter ones."""
    month = pairs_of(Window.model_validate({"duration": "30d"}), 0.999)
    assert [(14.4, "1h", "5m"), (6, "6h", "30m"), (3, "1d", "2h"), (1, "3d", "6h")] == [
        (pair.factor, spelled(pair.long), spelled(pair.short)) for pair in month
    ]
    assert ["14m", "84m", "336m", "1008m"] == [
        spelled(pair.long) for pair in pairs_of(Window.model_validate({"duration": "7d"}), 0.999)
    ]
    assert [3.0, 1.0] == [pair.factor for pair in pairs_of(Window.model_validate({"duration": "30d"}), 0.8)]


@pytest.mark.parametrize("counted", [True, False])
def test_every_rule_is_promql_and_every_window_is_written_once(counted: bool) -> None:
    """By rules, or from the counts."""
    kinds = (
        REQUESTS,
        Indicator("expressions", "sum(increase(jobs_total[$window]))", good="sum(increase(ok[$window]))"),
        Indicator("looks", "queue_depth", op="lte", limit=10.0),
    )
    for indicator in kinds:
        (group,) = groups_of(
            [objective(indicator=indicator, window=Window.model_validate({"duration": "30d"}))],
            counted=counted,
        )
        recorded = [rule for rule in group.rules if isinstance(rule, RecordingRule)]
        alerts = [rule for rule in group.rules if isinstance(rule, AlertingRule)]
        assert 4 == len(alerts)
        assert (9 if counted else 21) == len(recorded)
        for rule in group.rules:
            parse(rule.expr)
    assert 7 == len(windows_of(objective(window=Window.model_validate({"duration": "30d"}))))


def test_an_objective_that_is_not_to_be_told_has_no_rules() -> None:
    """It is counted all the same."""
    said = SloSpec.model_validate(
        {
            "name": "x",
            "service": "web",
            "indicator": "availability",
            "target": "99%",
            "alerting": {"enabled": False},
        }
    )
    assert () == groups_of([objective(alerting=said.alerting)], counted=True)


def test_bad_ones_that_never_were_are_none() -> None:
    """Without a series of failures the ratio is 0, and not unknown."""
    bad, total = expressions(objective(), "1h")
    assert f"({bad[1:-1].partition(' or ')[0]} or {total} * 0)" == bad


def test_the_bounds_of_response_times_are_the_proxys() -> None:
    """A limit between two of them is taken down to the lower."""
    assert tuple(RESPONSE_TIME_BUCKETS) == BOUNDS
    assert (500, 250, 250, 1, 10000) == tuple(bound(one) for one in (0.5, 0.25, 0.3, 0.0001, 60.0))


def test_a_selector_keeps_what_it_says() -> None:
    """Environment and service are added where it says nothing of them."""
    only = {"environment": "production", "service": "web"}
    assert 'jobs{environment="production",service="web"}' == limited("jobs", only)
    assert 'jobs{service=~"a|b",environment="production"}' == limited('jobs{service=~"a|b"}', only)
    assert "jobs" == limited("jobs", {"environment": "", "service": ""})


def test_few_events_spend_no_budget_and_restoring_takes_more_than_an_edge() -> None:
    """One error of ten requests is no reason to stop; what is spent is so until two percent are left."""
    few = budget(objective(), Steady(10 / (10 * DAY), 0.1), NOW)
    assert few.remaining < 0
    assert not is_spent(few, before=False)
    many = budget(objective(), Steady(1.0, 0.02), NOW)
    assert is_spent(many, before=False)
    edge = budget(objective(), Steady(1.0, 0.0099), NOW)
    assert is_spent(edge, before=True)
    assert not is_spent(edge, before=False)
    assert not is_spent(budget(objective(), Steady(1.0, 0.009), NOW), before=True)


def test_the_strictest_policy_counts_and_none_forbids_nothing() -> None:
    """Without a policy a spent budget is only told."""
    spent = budget(objective(), Steady(1.0, 0.02), NOW)
    gate = objective(policy=BudgetPolicy(except_roles=("admin",)))
    block = objective(
        name="strict",
        policy=BudgetPolicy.model_validate({"max_weight": "5%", "block": True, "except_incidents": False}),
    )
    off = objective(policy=BudgetPolicy(gate=False))
    assert Decision() == decision([]) == decision([(objective(), spent), (off, spent)])
    one = decision([(gate, spent)])
    assert (True, 10, ("admin",), True) == (one.allowed, one.max_weight, one.roles, one.incidents)
    assert "the error budget of web (17,280 bad of 864,000, 8,640.0 allowed) is spent" == one.reason
    both = decision([(gate, spent), (block, spent)])
    assert (False, 5, (), False) == (both.allowed, both.max_weight, both.roles, both.incidents)
