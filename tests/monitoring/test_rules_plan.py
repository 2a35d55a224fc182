"""What becomes of alerts at one evaluation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opsbook.monitoring.rules.missing import agree, asks_for_absence, sources, without_conditions
from opsbook.monitoring.rules.model import AlertingRule
from opsbook.monitoring.rules.plan import REMOVED, Found, Step, advance, removed, resumed
from opsbook.monitoring.rules.states import Active, ActiveAlert, from_json, to_json
from opsbook.promql.parsing import parse
from opsbook.promql.series import key_of

LABELS = {"alertname": "Down", "service": "web"}
KEY = key_of(LABELS)
FOUND = {KEY: Found(LABELS, {}, 1.0)}


def run(rule: AlertingRule, steps: str, *, every: float = 10.0) -> list[str]:
    """The state after each step of ``x`` (found), ``.`` (not found) and ``?`` (its data is missing)."""
    active: Active = {}
    states = []
    for index, step in enumerate(steps):
        done = advance(
            rule, active, FOUND if step == "x" else {}, index * every, missing={KEY} if step == "?" else ()
        )
        active = done.active
        states.append(active[KEY].state[0] if active else "r" if done.resolved else "-")
    return states


def test_an_alert_is_pending_for_its_time_and_then_fires() -> None:
    """`for: 20s` fires at the third evaluation, ten seconds apart; without it at the first."""
    assert list("-ppfffr-") == run(AlertingRule(alert="Down", expr="", for_=20), ".xxxxx..")
    assert list("-ffr") == run(AlertingRule(alert="Down", expr=""), ".xx.")


def test_a_gap_begins_the_time_anew() -> None:
    """Pending is forgotten when the condition ends."""
    assert list("pp-ppf") == run(AlertingRule(alert="Down", expr="", for_=20), "xx.xxx")


def test_an_alert_goes_on_firing_for_its_time() -> None:
    """`keep_firing_for: 20s`; found again it begins anew, and only what fires is kept."""
    rule = AlertingRule(alert="Down", expr="", keep_firing_for=20)
    assert list("fffr") == run(rule, "x...")
    assert list("fffffr") == run(rule, "x.x...")
    assert list("p-") == run(AlertingRule(alert="Down", expr="", for_=60, keep_firing_for=20), "x.")


def test_missing_data_neither_resolves_nor_promotes() -> None:
    """What fires goes on, what is pending waits, and time goes on counting when the condition is seen again."""
    assert list("fff") == run(AlertingRule(alert="Down", expr=""), "x??")
    assert list("ffr") == run(AlertingRule(alert="Down", expr=""), "x?.")
    assert list("ppppf") == run(AlertingRule(alert="Down", expr="", for_=20), "x???x")


def test_half_seconds_do_not_delay_an_alert() -> None:
    """Differences of large times are a little off; to the millisecond they are right."""
    rule = AlertingRule(alert="Down", expr="", for_=10)
    first = advance(rule, {}, FOUND, 1700000000.2)
    assert "firing" == advance(rule, first.active, FOUND, 1700000010.2).active[KEY].state


def test_a_rule_that_leaves_resolves_what_fired() -> None:
    """And forgets what was pending."""
    firing = advance(AlertingRule(alert="Down", expr=""), {}, FOUND, 1.0).active
    step = removed(firing, 5.0)
    assert (("resolved", 5.0, REMOVED),) == tuple((a.state, a.resolved_at, a.reason) for a in step.resolved)
    pending = advance(AlertingRule(alert="Down", expr="", for_=9), {}, FOUND, 1.0).active
    assert Step({}, (), (), frozenset({KEY})) == removed(pending, 5.0)


def test_a_long_pause_does_not_count_and_a_short_one_does() -> None:
    """Nobody looked, so nothing is known of that time; what fires is not touched."""
    pending = advance(AlertingRule(alert="Down", expr="", for_=9), {}, FOUND, 1.0).active
    assert 1.0 == resumed(pending, 60.0, 300.0)[KEY].active_at
    assert 3601.0 == resumed(pending, 3600.0, 300.0)[KEY].active_at
    firing = advance(AlertingRule(alert="Down", expr=""), {}, FOUND, 1.0).active
    assert 1.0 == resumed(firing, 3600.0, 300.0)[KEY].active_at


@given(st.text(alphabet="x.?", max_size=30), st.integers(0, 40), st.integers(0, 40))
def test_every_firing_is_resolved_once(steps: str, for_: int, keep: int) -> None:
    """Fired and resolved alternate, and nothing is active that neither fires nor is pending."""
    rule, active, told = AlertingRule(alert="Down", expr="", for_=for_, keep_firing_for=keep), {}, []
    for index, step in enumerate(steps):
        missing = {KEY} if step == "?" else set()
        done = advance(rule, active, FOUND if step == "x" else {}, index * 10.0, missing=missing)
        told += ["fired"] * len(done.fired) + ["resolved"] * len(done.resolved)
        firing = any(alert.state == "firing" for alert in done.active.values())
        assert firing == (told.count("fired") > told.count("resolved"))
        if step == "?":
            assert done.active.keys() == active.keys()
        active = done.active
    assert told == (["fired", "resolved"] * len(told))[: len(told)]


@given(
    st.builds(
        ActiveAlert,
        labels=st.dictionaries(st.text(), st.text()),
        annotations=st.dictionaries(st.text(), st.text()),
        value=st.floats(allow_nan=False),
        state=st.sampled_from(["pending", "firing", "resolved"]),
        active_at=st.floats(0, 2e9),
        fired_at=st.none() | st.floats(0, 2e9),
        keep_since=st.none() | st.floats(0, 2e9),
        missing_since=st.none() | st.floats(0, 2e9),
        resolved_at=st.none() | st.floats(0, 2e9),
    )
)
def test_what_is_written_down_is_read_back(alert: ActiveAlert) -> None:
    """Infinities too."""
    assert alert == from_json(to_json(alert))


def test_an_expression_without_its_conditions_gives_something_whenever_there_is_data() -> None:
    """Comparisons become 0 or 1 and `unless` is left out; between numbers they are no conditions."""
    assert parse("a > bool 1 and b < bool 2").root == without_conditions(parse("a > 1 and b < 2")).root  # type: ignore[union-attr]
    assert parse("a >= bool on (x) b").root == without_conditions(parse("a >= on (x) b unless c")).root  # type: ignore[union-attr]
    assert (
        parse("sum by (x) (rate(a[5m]) > bool 3) * 2").root
        == without_conditions(  # type: ignore[union-attr]
            parse("sum by (x) (rate(a[5m]) > 3) * 2")
        ).root
    )
    assert without_conditions(parse("sum(a)")) is None
    assert asks_for_absence(parse("x > 1 or absent(y)"))
    assert not asks_for_absence(parse("absent_x > 1"))


def test_an_alert_and_a_target_agree_unless_a_label_says_otherwise() -> None:
    """Labels that only one of them has say nothing."""
    target = {"job": "process", "service": "web", "instance": "web-1"}
    assert agree({"alertname": "X", "service": "web"}, target)
    assert agree({"alertname": "X"}, target)
    assert not agree({"alertname": "X", "service": "api"}, target)


def test_sources_go_through_recording_rules() -> None:
    """To what is measured; a circle of recordings ends."""
    recorded = {"b:x": parse("a + other").selectors, "c:x": parse("b:x").selectors, "d": parse("d").selectors}
    assert ["a", "other"] == [each.name for each in sources(parse("c:x > 1").selectors, recorded)]
    assert ["d"] == [each.name for each in sources(parse("d > 1").selectors, recorded)]
