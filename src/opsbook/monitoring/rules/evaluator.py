"""Evaluates groups of rules: ask, decide, write down, hand over. One group at a time is one story.

The order within an evaluation: the queries; what the plan makes of them; the rules' own series; the alerts' state and
events in one transaction; then whoever notifies is told. A crash between the last two is made good at the next start,
when everything that fires, and everything that resolved and was not handed over yet, is handed over again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote_plus

from opsbook.errors import Failed, OpsbookError
from opsbook.monitoring.alerting.model import Alert
from opsbook.monitoring.rules.missing import agree, asks_for_absence
from opsbook.monitoring.rules.model import AlertingRule, RecordingRule, Rule, RuleGroup
from opsbook.monitoring.rules.plan import Step, advance, removed, resumed
from opsbook.monitoring.rules.ports import Queries, Receiver, Series, Writer
from opsbook.monitoring.rules.remembering import Remembering
from opsbook.monitoring.rules.running import (
    Running,
    alerts_found,
    answered,
    measured_sources,
    prepared,
    recordings,
    samples_of,
)  # fmt: skip
from opsbook.monitoring.rules.states import ActiveAlert
from opsbook.monitoring.templating import Context, Sample
from opsbook.promql.model import Selector, Vector
from opsbook.promql.parsing import parse
from opsbook.promql.series import NAME, LabelKey, Labels, Matcher, key_of

TOLERANCE = 300.0  # seconds without evaluations that still count as time in which a condition held
FED = 3_600_000  # milliseconds: a target that gave series within this time feeds a rule
REFRESH = 60.0  # seconds after which a firing alert's new value is handed over
_LOOKED_EVERY = 15.0
_DOWN = parse("up == 0")


AnyRunning: TypeAlias = Running[AlertingRule] | Running[RecordingRule]
Place: TypeAlias = tuple[str, str, LabelKey]  # group, rule, alert


@dataclass(slots=True)
class RunningGroup:
    """A group as it runs."""

    group: RuleGroup
    rules: list[AnyRunning]
    at: float | None = None  # of the last evaluation
    seconds: float = 0.0  # how long it took
    missed: int = 0  # evaluations that were due while one was under way


class Evaluator:
    """See the module. Not for several threads at once; `opsbook.monitoring.rules.room` sees to that.

    Args:
        queries: answers the expressions.
        series: where recorded series and ``ALERTS`` go; None: nowhere, as with an external backend that records itself.
        remembering: alert state that survives.
        receiver: who notifies; None: nobody.
        hold: whether missing data keeps an alert; False is Prometheus' way, for its unit tests.
        external_labels, external_url: for templates.
        stopwatch: seconds, for durations.
    """

    def __init__(
        self,
        queries: Queries,
        series: Series | None,
        remembering: Remembering,
        receiver: Receiver | None = None,
        *,
        hold: bool = True,
        external_labels: Mapping[str, str] | None = None,
        external_url: str = "",
        stopwatch: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._queries = queries
        self._series = series
        self._remembering = remembering
        self._receiver = receiver
        self._hold = hold
        self._external_labels = dict(external_labels or {})
        self._external_url = external_url
        self._stopwatch = stopwatch
        self._lock = threading.RLock()  # guards what is to be written and told; groups may run side by side
        self._waiting: dict[Place, Alert] = {}  # to be handed over
        self._resolved: dict[Place, tuple[RuleGroup, AlertingRule]] = {}
        self._told: dict[Place, tuple[float, tuple[object, ...]]] = {}  # when, and what
        self._recorded: Mapping[str, tuple[Selector, ...]] = {}
        self._started: float | None = None
        self._looked = 0.0

    def knows(self, recorded: Mapping[str, tuple[Selector, ...]]) -> None:
        """What the recording rules read, by what they record; see `missing.sources`."""
        self._recorded = recorded

    # --- rules come and go ---------------------------------------------------------------------------------------

    def opened(
        self,
        group: RuleGroup,
        before: RunningGroup | None,
        remembered: Mapping[str, Sequence[ActiveAlert]],
        paused: float,
    ) -> RunningGroup:
        """A group ready to run.

        Args:
            before: the same group as it ran until now: what its rules knew is kept.
            remembered: by rule, alerts from before the start.
            paused: seconds since those were evaluated last.
        """  # fmt: skip
        rules: list[AnyRunning] = []
        used: set[int] = set()
        for index, rule in enumerate(group.rules):
            running = prepared(group, rule)
            match = next(
                (b for b in (before.rules if before else ()) if _same(b, rule) and id(b) not in used), None
            )
            if match is not None:
                used.add(id(match))
                running.writer, running.health = match.writer, match.health
                running.active, running.restored = match.active, match.restored
            else:
                running.writer = self._writer(group, rule.name, index)
                if isinstance(rule, AlertingRule):
                    known = {
                        alert.key: alert
                        for alert in remembered.get(rule.alert, ())
                        if self._remembering.owner(group, rule.alert, alert) == index
                    }
                    active = {key: alert for key, alert in known.items() if alert.state != "resolved"}
                    running.active = resumed(active, paused, TOLERANCE)
                    running.restored = set(active)
                    for key, alert in running.active.items():
                        if alert != active[key]:
                            self._remembering.put(group, rule, key, alert)
                    for key, alert in known.items():
                        self._tell(group, rule, key, alert, alert.active_at)
            rules.append(running)
        opened = RunningGroup(group, rules)
        if before is not None:
            opened.at, opened.seconds, opened.missed = before.at, before.seconds, before.missed
            for old in before.rules:
                if id(old) not in used:
                    self.closed(before.group, old, opened.at or 0.0)
        return opened

    def closed(self, group: RuleGroup, running: AnyRunning, at: float) -> None:
        """A rule that has left: its series end, and what fired is resolved."""
        if running.writer is not None:
            running.writer.end(int(at * 1000))
        if isinstance(running.rule, AlertingRule):
            self._settle(group, running.rule, removed(running.active, at), at)

    def forget(self, group: RuleGroup, rule: AlertingRule, alerts: Iterable[ActiveAlert], at: float) -> None:
        """Alerts from before the start whose rule is no more."""
        active = {alert.key: alert for alert in alerts if alert.state != "resolved"}
        self._settle(group, rule, removed(active, at), at)
        for alert in alerts:
            if alert.state == "resolved":
                self._tell(group, rule, alert.key, alert, at)

    # --- one evaluation --------------------------------------------------------------------------------------------

    def evaluate(self, running: RunningGroup, at_ms: int) -> None:
        """All rules of a group, one after the other, as of one moment. One that fails stops no other."""
        began, at = self._stopwatch(), at_ms / 1000
        if self._started is None:
            self._started = at
        asked_ms = at_ms - round(running.group.query_offset * 1000)
        context = self._context(asked_ms)
        for rule in running.rules:
            if self._series is None and isinstance(rule.rule, RecordingRule):
                continue  # the other server records what was exported to it
            self._rule(running.group, rule, at_ms, asked_ms, context)
        running.at, running.seconds = at, self._stopwatch() - began

    def flush(self, at: float) -> None:
        """Write down what changed, then hand over. What fails is tried again at the next call."""
        with self._lock:
            if at - self._looked >= _LOOKED_EVERY or at < self._looked:
                self._looked = at
                self._remembering.looked(at)
            self._remembering.write()
            if not self._waiting:
                return
            waiting = dict(self._waiting)
            if self._receiver is not None:
                self._receiver.receive(list(waiting.values()))
            self._waiting.clear()
            for place in waiting:
                if place in self._resolved:  # told: now it may be forgotten
                    group, rule = self._resolved.pop(place)
                    self._remembering.put(group, rule, place[2], None)
            self._remembering.write()

    @property
    def problem(self) -> str:
        """Why state could not be written down the last time; empty when it could."""
        return self._remembering.problem

    def _rule(
        self,
        group: RuleGroup,
        running: AnyRunning,
        at_ms: int,
        asked_ms: int,
        context: Context,
    ) -> None:
        began, health = self._stopwatch(), running.health
        try:
            found = self._asked(group, running, asked_ms)
            if isinstance(running.rule, RecordingRule):
                if running.writer is not None:
                    running.writer.write(at_ms, recordings(running, found))
            else:
                series = alerts_found(running, found, context)
                missing = self._missing(running, series.keys(), asked_ms)
                step = advance(running.rule, running.active, series, at_ms / 1000, missing=missing)
                self._settle(group, running.rule, step, at_ms / 1000)
                running.active = step.active
                running.restored &= missing
                if running.writer is not None:
                    running.writer.write(at_ms, _own_series(step.active.values()))
            health.state, health.error, health.samples = "ok", "", len(found.series)
        except Exception as error:
            health.state, health.error = "err", str(error) or type(error).__name__
            if running.writer is not None and isinstance(running.rule, AlertingRule):
                running.writer.write(at_ms, _own_series(running.active.values()))
        health.at, health.seconds = at_ms / 1000, self._stopwatch() - began

    def _asked(self, group: RuleGroup, running: AnyRunning, at_ms: int) -> Vector:
        if running.expression is None:
            raise Failed(running.fault)
        found = answered(self._queries, running.expression, at_ms)
        if group.limit and len(found.series) > group.limit:
            raise Failed(f"exceeded limit of {group.limit} with {len(found.series)} series")
        return found

    def _settle(self, group: RuleGroup, rule: AlertingRule, step: Step, at: float) -> None:
        """Note what must be remembered and who must be told."""
        ended = {alert.key: alert for alert in step.resolved}
        with self._lock:
            for alert in (*step.fired, *step.resolved):
                self._remembering.event(group, rule, alert)
                self._tell(group, rule, alert.key, alert, at)
            for key in step.changed:
                # A resolved one is remembered until it has been handed over.
                self._remembering.put(group, rule, key, step.active.get(key) or ended.get(key))
            for key, alert in step.active.items():
                told, said = self._told.get((group.key, rule.alert, key), (at, None))
                if said is not None and at - told >= REFRESH and said != _said(alert):
                    self._tell(group, rule, key, alert, at)

    def _tell(
        self, group: RuleGroup, rule: AlertingRule, key: LabelKey, alert: ActiveAlert, at: float
    ) -> None:
        if alert.state == "pending":
            return
        place = (group.key, rule.alert, key)
        self._waiting[place] = alert_of(rule, alert, self._external_url)
        if alert.state == "resolved":
            self._resolved[place] = (group, rule)
            self._told.pop(place, None)
        else:
            self._resolved.pop(place, None)
            self._told[place] = (at, _said(alert))

    # --- missing data ----------------------------------------------------------------------------------------------

    def _missing(
        self, running: Running[AlertingRule], found: Collection[LabelKey], at_ms: int
    ) -> frozenset[LabelKey]:
        """Those of the active alerts that were not found, and of which that means nothing; see `missing`."""
        gone = {key: alert for key, alert in running.active.items() if key not in found}
        if not gone or not self._hold or running.expression is None or asks_for_absence(running.expression):
            return frozenset()
        present = self._present(running, at_ms)
        unknown = {
            key: alert for key, alert in gone.items() if _own_key(running, alert.labels) not in present
        }
        if not unknown:
            return frozenset()
        selectors = measured_sources(running, self._recorded)
        reach = max((each.range_ms for each in (*selectors, *running.expression.selectors)), default=0)
        starting = self._started is not None and at_ms - self._started * 1000 <= reach
        held = {key for key in unknown if starting and key in running.restored}
        down = [] if held == unknown.keys() else self._down(at_ms)
        for target in down:
            agreeing = {
                key for key, alert in unknown.items() if key not in held and agree(alert.labels, target)
            }
            if agreeing and self._feeds(target, selectors, at_ms):
                held |= agreeing
        return frozenset(held)

    def _present(self, running: Running[AlertingRule], at_ms: int) -> set[LabelKey]:
        """The series, without the rule's labels, for which the figure behind the condition is there."""
        if running.opened is None:
            return set()
        try:
            found = answered(self._queries, running.opened, at_ms)
        except OpsbookError:
            return set()  # with its conditions it could be answered; without them two series may be one
        return {_own_key(running, labels) for labels in found.series}

    def _down(self, at_ms: int) -> tuple[Labels, ...]:
        """The labels of targets that failed their last scrape."""
        found = answered(self._queries, _DOWN, at_ms)
        return tuple({name: text for name, text in each.items() if name != NAME} for each in found.series)

    def _feeds(self, target: Labels, selectors: Iterable[Selector], at_ms: int) -> bool:
        if self._series is None:
            return True  # another server knows; that the labels agree has to do
        own = [Matcher(name, "=", text) for name, text in target.items()]
        return any(self._series.series([*each.matchers, *own], at_ms - FED, at_ms) for each in selectors)

    # --- small things ------------------------------------------------------------------------------------------------

    def _context(self, at_ms: int) -> Context:
        def query(expression: str) -> list[Sample]:
            return samples_of(answered(self._queries, parse(expression), at_ms))

        return Context(
            query=query,
            now=at_ms / 1000,
            external_labels=self._external_labels,
            external_url=self._external_url,
        )

    def _writer(self, group: RuleGroup, name: str, index: int) -> Writer | None:
        owner = {"rule_group": group.key, "rule": name, "index": str(index)}
        return None if self._series is None else self._series.writer(owner)


def alert_of(rule: AlertingRule, alert: ActiveAlert, external_url: str = "") -> Alert:
    """The alert as it is handed over."""
    return Alert(
        labels=dict(alert.labels),
        annotations=dict(alert.annotations),
        starts_at=alert.active_at if alert.fired_at is None else alert.fired_at,
        ends_at=alert.resolved_at,
        value=alert.value,
        generator_url=f"{external_url}/prometheus/graph?g0.expr={quote_plus(rule.expr)}&g0.tab=1",
        actions=rule.actions,
    )


def _said(alert: ActiveAlert) -> tuple[object, ...]:
    return alert.value, tuple(alert.annotations.items())


def _own_key(running: Running[AlertingRule], labels: Labels) -> LabelKey:
    """Labels without those that the rule sets."""
    return key_of(
        {n: text for n, text in labels.items() if n not in running.labels and n not in (NAME, "alertname")}
    )


def _own_series(alerts: Iterable[ActiveAlert]) -> Iterator[tuple[Labels, float]]:
    """``ALERTS`` and ``ALERTS_FOR_STATE`` of those that are pending or firing."""
    for alert in alerts:
        yield {**alert.labels, NAME: "ALERTS", "alertstate": alert.state}, 1.0
        yield {**alert.labels, NAME: "ALERTS_FOR_STATE"}, float(int(alert.active_at))


def _same(running: AnyRunning, rule: Rule) -> bool:
    """Whether a rule goes on: the same name and labels of its own; its condition may have changed."""
    return (
        type(running.rule) is type(rule)
        and running.rule.name == rule.name
        and running.rule.labels == rule.labels
    )
