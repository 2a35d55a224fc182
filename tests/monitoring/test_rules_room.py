"""Rules with a real engine, a real journal, and series in memory: state, events, missing data, restarts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from opsbook.errors import Failed
from opsbook.journal import Journal
from opsbook.monitoring.alerting.model import Alert
from opsbook.monitoring.rules.memory import MemoryStorage, bits_of
from opsbook.monitoring.rules.model import AlertingRule, RecordingRule, Rule, RuleGroup
from opsbook.monitoring.rules.plan import REMOVED
from opsbook.monitoring.rules.room import Rules
from opsbook.monitoring.rules.views import RulesView
from opsbook.promql import Engine, Matcher

DOWN = AlertingRule(
    alert="Down",
    expr='up{job="web"} == 0',
    for_=10,
    labels={"severity": "critical"},
    annotations={"summary": "{{ $labels.service }} is down", "runbook": "service-down"},
)
WEB = {"__name__": "up", "job": "web", "service": "web", "environment": "production"}


class Time:
    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at


class Receiver:
    def __init__(self) -> None:
        self.got: list[Alert] = []
        self.fails = False

    def receive(self, alerts: Sequence[Alert]) -> None:
        if self.fails:
            raise Failed("nobody is there")
        self.got += alerts

    def told(self) -> list[tuple[str, str]]:
        return [(alert.name, "firing" if alert.ends_at is None else "resolved") for alert in self.got]


class World:
    """One opsbook's rules; `again` is the next start after a crash."""

    def __init__(
        self, folder: Path, *rules: Rule, storage: MemoryStorage | None = None, at: float = 1000.0
    ) -> None:
        self.folder = folder
        self.time = Time()
        self.time.at = at
        self.storage = storage or MemoryStorage()
        self.receiver = Receiver()
        self.journal = Journal.open(folder / "journal.sqlite", keys=folder / "keys", clock=self.time)
        self.rules = Rules(
            Engine(self.storage), self.storage, self.journal, self.receiver, moment=self.time.now
        )
        self.load(*rules)

    def load(self, *rules: Rule) -> None:
        self.rules.load([RuleGroup(name="test", source="monitoring/test.yaml", rules=rules)])

    def at(self, seconds: float, *series: tuple[dict[str, str], float]) -> None:
        """A round at `seconds` after the beginning, right after these samples."""
        self.time.at = 1000.0 + seconds
        at_ms = int(self.time.at * 1000)
        for labels, value in series:
            self.storage.add(labels, [at_ms], bits_of([value]))
        self.rules.evaluate(at_ms)

    def states(self) -> list[tuple[str, str]]:
        return [(rule.alert, alert.state) for _, rule, alert in self.rules.active()]

    def events(self) -> list[tuple[str, str, Any]]:
        found = self.journal.events(kinds=("alert.*",))
        return [(event.kind, event.subject, event.data["alertname"]) for event in found]

    def again(self, *rules: Rule, storage: MemoryStorage | None = None) -> World:
        self.journal.close()
        return World(self.folder, *rules, storage=storage or self.storage, at=self.time.at)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, DOWN)
    yield made
    made.rules.close()
    made.journal.close()


def test_an_alert_fires_and_resolves_with_state_events_and_word_to_who_notifies(world: World) -> None:
    """Pending, firing, resolved; each is in the journal and was handed over once."""
    world.at(0, (WEB, 0))
    assert [("Down", "pending")] == world.states()
    world.at(10, (WEB, 0))
    assert [("Down", "firing")] == world.states()
    world.at(15, (WEB, 0))
    world.at(20, (WEB, 1))
    assert [] == world.states()
    assert [("Down", "firing"), ("Down", "resolved")] == world.receiver.told()
    firing, resolved = world.receiver.got
    assert ("web is down", 1010.0) == (firing.annotations["summary"], firing.starts_at)
    assert (1010.0, 1020.0) == (resolved.starts_at, resolved.ends_at)
    expected = [("alert.firing", "production/web", "Down"), ("alert.resolved", "production/web", "Down")]
    assert expected == world.events()
    event = world.journal.events(kinds=("alert.firing",))[0]
    assert ("critical", "service-down", 0.0, 1000.0) == (
        event.data["severity"], event.data["runbook"], event.data["value"], event.data["since"],
    )  # fmt: skip
    assert {} == world.journal.state.items("rules/alerts/")


def test_alerts_are_series_themselves(world: World) -> None:
    """ALERTS and ALERTS_FOR_STATE, which end with the alert."""
    world.at(0, (WEB, 0))
    engine = Engine(world.storage)
    assert "pending" == engine.instant("ALERTS", 1000_000).value.series[0]["alertstate"]  # type: ignore[union-attr]
    world.at(10, (WEB, 0))
    found = engine.instant("ALERTS", 1010_000).value
    assert ["firing"] == [labels["alertstate"] for labels in found.series]  # type: ignore[union-attr]
    assert [1000.0] == engine.instant("ALERTS_FOR_STATE", 1010_000).value.values.tolist()  # type: ignore[union-attr]
    world.at(20, (WEB, 1))
    assert () == engine.instant("{__name__=~'ALERTS.*'}", 1020_000).value.series  # type: ignore[union-attr]


def test_a_restart_continues_what_was_pending_and_what_fired(world: World) -> None:
    """Pending goes on counting, firing goes on firing, nothing is told anew in the journal."""
    world.at(0, (WEB, 0))
    second = world.again(DOWN)
    second.at(10, (WEB, 0))
    assert [("Down", "firing")] == second.states()
    third = second.again(DOWN)
    assert [("Down", "firing")] == third.states()
    third.at(15, (WEB, 0))
    assert [("alert.firing", "production/web", "Down")] == third.events()
    assert [("Down", "firing")] == third.receiver.told(), (
        "who notifies hears of it again: it may have crashed too"
    )
    assert 1010.0 == third.receiver.got[0].starts_at
    third.at(20, (WEB, 1))
    assert [("Down", "firing"), ("Down", "resolved")] == third.receiver.told()
    third.journal.close()


def test_an_empty_store_after_a_restart_resolves_nothing(world: World) -> None:
    """Until the ranges that the rule looks back on could have been filled again."""
    world.at(0, (WEB, 0))
    world.at(10, (WEB, 0))
    after = world.again(DOWN, storage=MemoryStorage())
    other = {**WEB, "service": "api"}
    after.at(20, (other, 1))
    after.at(300, (other, 1))
    assert [("Down", "firing")] == after.states()
    after.at(305, (WEB, 0), (other, 1))
    assert [("Down", "firing")] == after.states()
    after.at(310, (WEB, 1), (other, 1))
    assert [] == after.states()
    after.journal.close()


def test_a_crash_before_the_handing_over_is_made_good(world: World) -> None:
    """What resolved and was not handed over is handed over after the restart, and only then forgotten."""
    world.at(0, (WEB, 0))
    world.at(10, (WEB, 0))
    world.receiver.fails = True
    world.at(20, (WEB, 1))
    assert 1 == len(world.journal.state.items("rules/alerts/"))
    after = world.again(DOWN)
    assert [("Down", "resolved")] == after.receiver.told()
    assert {} == after.journal.state.items("rules/alerts/")
    after.at(30, (WEB, 1))
    assert [("Down", "resolved")] == after.receiver.told()
    after.journal.close()


def test_who_notifies_is_told_later_when_it_could_not_be_told_now(world: World) -> None:
    """Nothing is lost, and nothing is told twice."""
    world.receiver.fails = True
    world.at(0, (WEB, 0))
    world.at(10, (WEB, 0))
    assert [] == world.receiver.told()
    world.receiver.fails = False
    world.at(15, (WEB, 0))
    world.at(20, (WEB, 0))
    assert [("Down", "firing")] == world.receiver.told()


def test_a_journal_that_cannot_write_silences_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full: the alert is handed over all the same, and written down when there is room again."""

    def full(*_: Any, **__: Any) -> None:
        raise Failed("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(world.journal, "append_all", full)
        world.at(0, (WEB, 0))
        world.at(10, (WEB, 0))
        assert [("Down", "firing")] == world.receiver.told()
        assert "the disk is full" == world.rules.problem
    world.at(15, (WEB, 0))
    assert ("", [("alert.firing", "production/web", "Down")]) == (world.rules.problem, world.events())


def test_a_rule_that_leaves_resolves_what_it_said(world: World) -> None:
    """While it runs, and also when it left while opsbook was down."""
    world.at(0, (WEB, 0))
    world.at(10, (WEB, 0))
    world.load()
    assert [("Down", "firing"), ("Down", "resolved")] == world.receiver.told()
    world.load(DOWN)
    world.at(20, (WEB, 0))
    world.at(30, (WEB, 0))
    after = world.again()
    assert [("Down", "resolved")] == after.receiver.told()
    assert REMOVED == after.journal.events(kinds=("alert.resolved",), newest=True)[0].data["reason"]
    after.journal.close()


def test_a_rule_whose_limit_changes_keeps_its_alerts(world: World) -> None:
    """An edit of the handbook does not begin anew."""
    world.at(0, (WEB, 0))
    world.load(
        AlertingRule(alert="Down", expr="up < 1", for_=10, labels=DOWN.labels, annotations=DOWN.annotations)
    )
    world.at(10, (WEB, 0))
    assert [("Down", "firing")] == world.states()


# --- missing data -------------------------------------------------------------------------------------------

BUSY = AlertingRule(alert="Busy", expr="avg by (service) (load) > 5")
TARGET = {"__name__": "up", "job": "app", "service": "web", "instance": "web-1"}
LOAD = {"__name__": "load", "job": "app", "service": "web", "instance": "web-1"}


def gone(world: World, seconds: float, labels: dict[str, str]) -> None:
    """The series ends here, as after a failed scrape."""
    from opsbook.promql.series import STALE

    world.storage.add(labels, [int((1000 + seconds) * 1000)], [int(STALE)])


def test_a_failed_scrape_keeps_what_fires(world: World) -> None:
    """The target is down, so its load is unknown, not low; when it answers again, it decides."""
    world.load(BUSY)
    world.at(0, (TARGET, 1), (LOAD, 9))
    gone(world, 5, LOAD)
    for seconds in range(5, 1800, 60):
        world.at(seconds, (TARGET, 0))
    assert [("Busy", "firing")] == world.states()
    assert 1005.0 == next(iter(world.rules.active()))[2].missing_since
    world.at(1805, (TARGET, 1), (LOAD, 1))
    assert [] == world.states()


def test_a_failed_scrape_keeps_what_rests_on_recorded_series(world: World) -> None:
    """The recorded figure is gone because what it is made of is."""
    world.load(
        RecordingRule(record="service:load", expr="avg by (service) (load)"),
        AlertingRule(alert="Busy", expr="service:load > 5"),
    )
    world.at(0, (TARGET, 1), (LOAD, 9))
    gone(world, 5, LOAD)
    world.at(5, (TARGET, 0))
    assert [("Busy", "firing")] == world.states()


def test_a_target_that_left_on_purpose_ends_what_was_said_of_it(world: World) -> None:
    """It has no `up` any more."""
    world.load(BUSY)
    world.at(0, (TARGET, 1), (LOAD, 9))
    gone(world, 5, LOAD)
    gone(world, 5, TARGET)
    world.at(5)
    assert [] == world.states()


def test_another_target_that_is_down_keeps_nothing(world: World) -> None:
    """One of another service, or one that never gave this metric."""
    world.load(BUSY)
    other, probe = {**TARGET, "service": "api"}, {**TARGET, "job": "probe"}
    world.at(0, (TARGET, 1), (LOAD, 9), (other, 0), (probe, 0))
    gone(world, 5, LOAD)
    world.at(5, (TARGET, 1), (other, 0), (probe, 0))
    assert [] == world.states()


def test_data_that_came_back_ends_an_alert_about_its_absence(world: World) -> None:
    """Even if another target is down."""
    world.load(AlertingRule(alert="Absent", expr="absent(load)"))
    world.at(0, (TARGET, 0))
    assert [("Absent", "firing")] == world.states()
    world.at(5, (TARGET, 0), ({**LOAD, "instance": "web-2"}, 1))
    assert [] == world.states()


def test_an_evaluation_that_fails_keeps_its_state_and_stops_no_other(world: World) -> None:
    """Two series that cannot be matched are an error of one rule."""
    one = {"__name__": "a", "x": "1"}
    world.load(
        AlertingRule(alert="Broken", expr="a > on () b"),
        AlertingRule(alert="Bad", expr="a >"),
        AlertingRule(alert="Fine", expr="a > 0"),
    )
    world.at(0, (one, 5), ({"__name__": "b"}, 1))
    firing = [("Broken", "firing"), ("Fine", "firing")]
    assert firing == world.states()
    world.at(5, (one, 5), ({**one, "x": "2"}, 0), ({"__name__": "b"}, 1), ({"__name__": "b", "y": "1"}, 1))
    assert firing == world.states()
    groups = RulesView(world.rules).rules_json()["groups"]
    assert ["err", "err", "ok"] == [rule["health"] for rule in groups[0]["rules"]]


# --- many ---------------------------------------------------------------------------------------------------


def test_a_storm_of_ten_thousand_alerts_is_told_and_written_down(world: World) -> None:
    """All of them, each once, in a handful of transactions."""
    world.load(
        AlertingRule(
            alert="Down", expr="many == 0", annotations={"summary": "{{ $labels.instance }} is down"}
        )
    )
    series = [({"__name__": "many", "instance": f"i{n}"}, 0.0) for n in range(10_000)]
    world.at(0, *series)
    assert (10_000, 10_000) == (len(world.receiver.got), world.journal.head().id)
    world.at(5, *[(labels, 1.0) for labels, _ in series])
    assert (20_000, 20_000) == (len(world.receiver.got), world.journal.head().id)
    assert {} == world.journal.state.items("rules/alerts/")


def points(storage: MemoryStorage, name: str) -> list[int]:
    found = storage.select([Matcher("__name__", "=", name)], 0, 10**10)
    return found[0].window.timestamps.tolist()


def test_groups_have_intervals_of_their_own(world: World) -> None:
    """Without one a group runs each time something was scraped."""
    world.rules.load(
        [
            RuleGroup(name="often", source="x", rules=(RecordingRule(record="often", expr="time()"),)),
            RuleGroup(name="seldom", source="x", interval=60, rules=(RecordingRule(record="seldom", expr="time()"),)),
        ]
    )  # fmt: skip
    for seconds in range(0, 125, 5):
        world.at(seconds)
    counts = {name: len(points(world.storage, name)) for name in ("often", "seldom")}
    assert {"often": 25, "seldom": 3} == counts


def test_a_round_begins_when_something_was_scraped() -> None:
    """In a thread of its own; and a group that is slow delays no other."""
    storage, ended = MemoryStorage(), threading.Event()

    class Slow(Engine):
        def instant(self, query: Any, at_ms: int) -> Any:
            if "slow" in str(query):
                ended.wait(20)
            return super().instant(query, at_ms)

    receiver = Receiver()
    rules = Rules(Slow(storage), storage, None, receiver, moment=time.time)
    slow = RuleGroup(name="slow", source="x", rules=(RecordingRule(record="a", expr="slow"),))
    rules.load(
        [slow, RuleGroup(name="fast", source="x", rules=(AlertingRule(alert="Down", expr="up == 0"),))]
    )
    rules.groups[0].seconds = 5.0  # it was slow the last time
    rules.start()
    storage.add({"__name__": "up"}, [1000], bits_of([0.0]))
    rules.scraped(1000)
    deadline = time.monotonic() + 10
    while not receiver.got:
        assert time.monotonic() < deadline, "the fast group waits for the slow one"
        time.sleep(0.01)
    ended.set()
    rules.close()


def test_the_views_are_those_of_prometheus(world: World) -> None:
    """The shape of /api/v1/rules and /api/v1/alerts, and the worst first for people."""
    minor = AlertingRule(alert="Minor", expr="up == 0", labels={"severity": "info"})
    world.load(minor, DOWN)
    world.at(0, (WEB, 0))
    world.at(10, (WEB, 0))
    view = RulesView(world.rules, lambda _: {"silenced_by": []})
    assert ["Down", "Minor"] == [alert["name"] for alert in view.alerts()]
    assert [] == view.alerts(visible={"staging"})
    data = view.alerts_json()["alerts"][1]
    assert ("firing", "1970-01-01T00:16:40Z", "0") == (data["state"], data["activeAt"], data["value"])
    rule = view.rules_json()["groups"][0]["rules"][1]
    expected = ("firing", "Down", 10, "alerting", "ok")
    assert expected == (rule["state"], rule["name"], rule["duration"], rule["type"], rule["health"])
