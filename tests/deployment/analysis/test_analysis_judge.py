"""What the judge says of canaries, good and bad."""

from __future__ import annotations

from dataclasses import replace

import pytest
from canaries import BOUNDS, COMPARISONS, ERRORS, P95, SETTINGS, once, reading, telemetry

from opsbook.deployment.analysis import AnalysisState, Counts, Judgement, Reading, judge, replay
from opsbook.deployment.model import Rule
from opsbook.errors import Invalid

MOST = Rule(metric="error_rate", max=0.01)
CPU = Rule(metric="cpu_usage", max=0.8)


def _buckets(fast: int, slow: int) -> tuple[int, ...]:
    """Requests of about 40 ms, and of about 400 ms."""
    return (0, 0, 0, fast, 0, 0, slow, 0, 0)


def _first(judgements: list[Judgement], verdict: str) -> int | None:
    return next((look for look, found in enumerate(judgements) if found.verdict == verdict), None)


def test_a_good_canary_passes_once_it_has_its_samples() -> None:
    """Before that it is inconclusive and says how many are missing."""
    found = replay(COMPARISONS, telemetry(looks=60), SETTINGS)
    assert found[0].reason.startswith(f"{found[0].rules[0].samples} of 50 requests to judge by")
    assert [judgement.verdict for judgement in found][-1] == "pass"
    assert _first(found, "fail") is None


@pytest.mark.parametrize(("errors", "within"), [(0.02, 70), (0.05, 25), (0.2, 8), (1.0, 2)])
def test_errors_are_found_the_sooner_the_worse_they_are(errors: float, within: int) -> None:
    """A canary that fails on one path only fails a small share of all its requests, and is found too."""
    found = replay(COMPARISONS, telemetry(looks=120, errors=lambda _: (errors, 0.001)), SETTINGS)
    look = _first(found, "fail")
    assert look is not None
    assert look <= within
    assert "of stable: evidence" in found[look].reason


def test_a_slow_canary_is_found_by_the_rank_of_its_requests() -> None:
    """50 % slower is enough."""
    found = replay((P95,), telemetry(looks=60, milliseconds=lambda _: (60.0, 40.0)), SETTINGS)
    look = _first(found, "fail")
    assert look is not None
    assert look <= 15
    assert found[look].reason.startswith("p95 ")


def test_a_canary_that_hangs_now_and_then_is_found() -> None:
    """4 % of its requests take ten times as long: its median tells nothing."""
    hang = [Counts(25 * n, 0, _buckets(24 * n, n)) for n in range(1, 60)]
    stable = [Counts(225 * n, 0, _buckets(225 * n, 0)) for n in range(1, 60)]
    rule = Rule(metric="response_time_p99", compare="stable")
    found = replay((rule,), [Reading(0.0, c, s) for c, s in zip(hang, stable, strict=True)], SETTINGS)
    assert found[-1].verdict == "fail"
    assert "p99 4" in found[-1].reason


def test_a_good_hour_excuses_nothing() -> None:
    """A canary that turns bad after a thousand good looks is found as fast as if it had just begun."""
    turned = telemetry(
        looks=1060, rates=(20.0, 180.0), errors=lambda look: (0.1 if look >= 1000 else 0.001, 0.001)
    )
    found = replay((ERRORS,), turned, SETTINGS)
    look = _first(found, "fail")
    assert look is not None
    assert 1000 <= look <= 1020
    assert "of the last" in found[look].reason


def test_releases_that_get_worse_together_blame_nobody() -> None:
    """Load drifts: errors go up to 30 %, requests become three times as slow, for both."""
    drifting = telemetry(
        looks=300,
        errors=lambda look: (look / 1000, look / 1000),
        milliseconds=lambda look: (40 + look / 4, 40 + look / 4),
    )
    assert {"pass", "inconclusive"} >= {found.verdict for found in replay(COMPARISONS, drifting, SETTINGS)}


def test_a_difference_that_nobody_minds_is_no_reason() -> None:
    """0.2 points more errors and 3 % slower, clear as they are, take nothing back."""
    canary = Counts(1_000_000, 3000, _buckets(958_000, 42_000))
    stable = Counts(9_000_000, 9000, _buckets(8_640_000, 360_000))
    found = once(COMPARISONS, Reading(0.0, canary, stable))
    assert found.verdict == "pass"
    assert found.bounds is not None
    assert 0.0015 < found.bounds.lower < 0.002 < found.bounds.upper < 0.0025


def test_the_reason_has_the_numbers() -> None:
    """Rates, requests of both, the evidence and its limit."""
    found = once((ERRORS,), reading((62, 31), (1912, 2)))
    assert found.verdict == "fail"
    assert found.reason == (
        "errors 50.0 % of 62 requests against 0.1 % of 1,912 of stable: evidence over 1,000,000:1, limit 100:1"
    )
    assert (found.rules[0].value, found.rules[0].threshold, found.rules[0].samples) == (0.5, 2 / 1912, 62)


def test_suspicion_does_not_pass() -> None:
    """Some evidence is not enough to take it back, and too much to promote."""
    found = once((ERRORS,), reading((60, 3), (540, 0)))
    assert found.verdict == "inconclusive"
    assert "looks worse" in found.reason
    assert SETTINGS.suspicion <= (found.rules[0].evidence or 0) < 100


def test_tests_share_the_budget() -> None:
    """Each of two comparisons needs twice the evidence; two rules on one test need no more than one."""
    counts = Counts(100, 0, _buckets(100, 0)), Counts(900, 0, _buckets(900, 0))
    two = once(COMPARISONS, Reading(0.0, *counts))
    same = once((ERRORS, Rule(metric="availability", compare="stable")), Reading(0.0, *counts))
    assert "limit 200:1" in two.rules[0].detail
    assert "limit 100:1" in same.rules[0].detail


def test_a_first_deployment_has_nothing_to_be_compared_with() -> None:
    """Comparisons are skipped and say so; limits hold."""
    good = once((ERRORS, MOST), reading((100, 0), None, error_rate=0.0))
    assert good.verdict == "pass"
    assert "skipped: there is no stable version to compare with" in good.reason
    assert good.bounds is None
    assert once((ERRORS, MOST), reading((100, 50), None, error_rate=0.5)).verdict == "fail"


def test_no_requests_are_no_data() -> None:
    """Neither of the canary nor of stable; a limit on something else still holds."""
    rules = (ERRORS, MOST, CPU)
    nothing = once(rules, reading((0, 0), (500, 0), error_rate=None, cpu_usage=0.1))
    assert (nothing.verdict, nothing.reason) == ("no_data", "the canary has had no requests")
    assert once((ERRORS,), reading((500, 0), (0, 0))).verdict == "no_data"
    assert once(rules, reading((0, 0), (500, 0), error_rate=None, cpu_usage=0.9)).verdict == "fail"


def test_one_failed_request_is_not_a_percentage() -> None:
    """2 % of the first fifty are above a limit of 1 %: that does not pass, and does not fail either."""
    found = once((MOST,), reading((50, 1), (450, 0), error_rate=0.02))
    assert found.verdict == "inconclusive"
    assert found.reason.startswith("error_rate 2.0 % over 60 s, at most 1.0 %: evidence")
    assert once((MOST,), reading((50, 10), (450, 0), error_rate=0.2)).verdict == "fail"
    assert once((MOST,), reading((500, 3), (450, 0), error_rate=0.006)).verdict == "pass"


def test_availability_is_the_other_side_of_errors() -> None:
    """A `min` of it is tested alike."""
    rule = Rule(metric="availability", min=0.99)
    assert once((rule,), reading((200, 40), (450, 0), availability=0.8)).verdict == "fail"
    assert once((rule,), reading((200, 0), (450, 0), availability=1.0)).verdict == "pass"


def test_a_limit_at_the_end_of_a_bucket_is_tested() -> None:
    """p95 at most 250 ms: three slow requests of fifty do not decide, thirty do."""
    rule = Rule(metric="response_time_p95", max=0.25)

    def of(slow: int) -> str:
        canary = Counts(50, 0, _buckets(50 - slow, slow))
        stable = Counts(450, 0, _buckets(450, 0))
        return once((rule,), Reading(0.0, canary, stable, {rule.metric: 0.4}, {rule.metric: 0.05})).verdict

    assert (of(3), of(30)) == ("inconclusive", "fail")


def test_a_limit_between_buckets_waits_for_samples() -> None:
    """There is no test for it, so a few requests are not believed and many are."""
    rule = Rule(metric="response_time_p95", max=0.3)

    def of(requests: int) -> str:
        canary = Counts(requests, 0, _buckets(0, requests))
        stable = Counts(450, 0, _buckets(450, 0))
        return once((rule,), Reading(0.0, canary, stable, {rule.metric: 0.4}, {rule.metric: 0.05})).verdict

    assert (of(10), of(60)) == ("inconclusive", "fail")


def test_a_bad_stable_does_not_block_its_fix() -> None:
    """Beyond the limit like stable, or better: it passes with a note. Worse than stable: it fails."""
    stable = {"stable_error_rate": 0.3, "stable_cpu_usage": 0.95}
    no_worse = once((MOST, CPU), reading((200, 50), (1800, 540), error_rate=0.25, cpu_usage=0.9, **stable))
    assert no_worse.verdict == "pass"
    assert "stable itself is beyond at most 1.0 % (30.0 %)" in no_worse.reason
    worse = once((MOST,), reading((200, 160), (1800, 540), error_rate=0.8, **stable))
    assert worse.verdict == "fail"
    assert once((CPU,), reading((200, 0), (1800, 0), cpu_usage=1.5, **stable)).verdict == "fail"


def test_few_requests_of_stable_do_not_excuse() -> None:
    """One error of five requests is no bad stable."""
    found = once((MOST,), reading((200, 40), (5, 1), error_rate=0.2, stable_error_rate=0.2))
    assert found.verdict == "fail"


def test_failures_are_tolerated_up_to_their_limit() -> None:
    """Consecutive ones; a look that is kept begins anew, one that cannot be read does not."""
    rule = CPU.but(limit=2)
    state, verdicts = AnalysisState(), []
    for value in (0.9, 0.9, 0.1, 0.9, 0.9, None, 0.9):
        state, found = judge(state, (rule,), reading((100, 0), (900, 0), cpu_usage=value), SETTINGS)
        verdicts.append(found.verdict)
    assert verdicts == [
        "inconclusive",
        "inconclusive",
        "pass",
        "inconclusive",
        "inconclusive",
        "error",
        "fail",
    ]


def test_a_metric_that_cannot_be_read_is_an_error() -> None:
    """None, no entry at all, or not a number; also one that vanishes on the way, and one that cannot be compared."""
    for metrics in ({"cpu_usage": None}, {}, {"cpu_usage": float("nan")}):
        assert once((CPU,), reading((100, 0), (900, 0), **metrics)).verdict == "error"
    assert once((MOST,), reading((100, 0), (900, 0), error_rate=None)).verdict == "error"
    assert once((Rule(metric="cpu_usage", compare="stable"),), reading((100, 0), (900, 0))).verdict == "error"
    vanished = [reading((100, 0), (900, 0)), replace(reading((120, 0), (900, 0)), stable=None)]
    assert replay((ERRORS,), vanished, SETTINGS)[-1].reason == "the counts of stable have vanished"


def test_an_empty_window_is_not_an_unreadable_metric() -> None:
    """With ten requests an hour the last minute often had none; then those of the whole step are looked at."""
    looks = [reading((n, 0), (9 * n, 0), at=360.0 * n, error_rate=0.0) for n in range(1, 61)]
    empty = reading((60, 0), (540, 0), at=360.0 * 60 + 90, error_rate=None)
    found = replay((MOST,), [*looks, empty], SETTINGS)
    assert [found[48].verdict, found[-1].verdict] == ["inconclusive", "pass"]
    assert found[-1].reason == "error_rate 0.0 % of 60 requests, at most 1.0 %"


def test_counters_that_go_back_are_an_error_and_leave_no_trace() -> None:
    """The next sound reading is judged as if the unsound one had not been."""
    good = list(telemetry(looks=30))
    lie = replace(good[10], canary=Counts(5, 5, good[10].canary.latency))
    with_lie = replay(COMPARISONS, [*good[:20], lie, *good[20:]], SETTINGS)
    assert with_lie[20].verdict == "error"
    assert "the number of requests of canary went back from" in with_lie[20].reason
    assert with_lie[21:] == replay(COMPARISONS, good, SETTINGS)[20:]


def test_a_new_step_keeps_the_evidence_and_counts_anew() -> None:
    """Samples begin at zero; what the canary has shown is not forgotten, so that steps share one budget."""
    state, suspected = judge(AnalysisState(), (ERRORS,), reading((60, 3), (540, 0)), SETTINGS)
    assert "looks worse" in suspected.reason
    anew = AnalysisState.from_json(state.counting_anew().to_json())
    assert anew.evidence["errors"].present == state.evidence["errors"].present
    assert anew.evidence["errors"].lately() == state.evidence["errors"].lately()
    anew, judgement = judge(anew, (ERRORS,), reading((10, 0), (90, 0)), SETTINGS)
    assert judgement.reason.startswith("10 of 50 requests")
    _, judgement = judge(anew, (ERRORS,), reading((20, 2), (180, 0)), SETTINGS)
    assert judgement.reason.startswith("errors 6.2 % of 80 requests against 0.0 % of 720 of stable")
    assert judgement.verdict == "fail"


def test_a_crash_costs_nothing() -> None:
    """With its state written and read at every look the judge says the same, bit by bit; and twice the same."""
    rules = (*COMPARISONS, MOST)
    readings = [
        replace(found, metrics={"error_rate": found.canary.errors / max(1, found.canary.requests)})
        for found in telemetry(looks=60, errors=lambda _: (0.01, 0.001), seed=5)
    ]
    state, said = AnalysisState(), []
    for found in readings:
        state = AnalysisState.from_json(state.to_json())
        state, judgement = judge(state, rules, found, SETTINGS)
        said.append(judgement)
    assert said == replay(rules, readings, SETTINGS) == replay(rules, readings, SETTINGS)


def test_response_times_that_are_missing_yet_are_no_data() -> None:
    """The histogram may come a little after the first requests; when it does not come at all that is an error."""
    unknown = replace(SETTINGS, bounds_ms=())
    for settings in (SETTINGS, unknown):
        assert once((P95,), reading((5, 0), (500, 0)), settings).verdict == "no_data"
        assert once((P95,), reading((500, 0), (500, 0)), settings).verdict == "error"
    assert once((P95,), reading((0, 0), (0, 0)), unknown).verdict == "no_data"


def test_evidence_of_another_shape_begins_anew() -> None:
    """An opsbook that was upgraded on the way may bet otherwise: nothing breaks, and nothing passes by it."""
    state, _ = judge(AnalysisState(), (ERRORS,), reading((60, 3), (540, 0)), SETTINGS)
    document = state.to_json()
    document["evidence"]["errors"]["capital"] = [0.0, 1.0]
    after, found = judge(AnalysisState.from_json(document), (ERRORS,), reading((70, 3), (600, 0)), SETTINGS)
    assert (after.evidence["errors"].blocks, found.verdict) == (1, "inconclusive")


def test_a_state_that_is_none_is_refused() -> None:
    """An empty document is the beginning, anything else that does not fit is an error with a way out."""
    assert AnalysisState() == AnalysisState.from_json({})
    with pytest.raises(Invalid, match="the state of the analysis cannot be read"):
        AnalysisState.from_json({"looks": -1})


def test_the_books_are_kept_forwards() -> None:
    """Blocks, learnt requests and the strongest evidence only grow; the present is never above the strongest."""
    state = AnalysisState()
    for found in telemetry(looks=40, rates=(0.4, 2.0), errors=lambda _: (0.1, 0.05), seed=9):
        before, (state, _) = state, judge(state, COMPARISONS, found, SETTINGS)
        for name, evidence in state.evidence.items():
            earlier = before.evidence.get(name, evidence)
            assert earlier.blocks <= evidence.blocks <= state.looks
            assert sum(earlier.learnt) <= sum(evidence.learnt)
            assert max(earlier.strongest, evidence.present) <= evidence.strongest
    assert len(BOUNDS) + 1 == len(state.evidence["p95"].learnt)
