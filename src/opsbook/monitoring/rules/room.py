"""The room of rules: which groups there are, when each is due, and the thread in which they run.

A round begins right after the scrapes have been committed, so that an alert fires as soon as its samples are there; a
timer stands in where nothing is scraped. Groups run one after the other. One that was slow the last time runs in a
thread of its own from then on, until it is quick again, so that it delays nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import opsbook.monitoring.rules.kinds as _kinds  # noqa: F401 - registers the kinds of events
from opsbook.errors import OpsbookError
from opsbook.monitoring.rules.evaluator import Evaluator, RunningGroup
from opsbook.monitoring.rules.model import AlertingRule, RuleGroup
from opsbook.monitoring.rules.ports import Book, Queries, Receiver, Series
from opsbook.monitoring.rules.remembering import Remembering
from opsbook.monitoring.rules.running import recorded_names
from opsbook.monitoring.rules.states import ActiveAlert

FALLBACK = 15.0  # seconds without a scrape after which a round begins all the same
SLOW = 1.0  # seconds that a group may take before it runs apart from the others
_EARLY = 0.25  # seconds by which a group with an interval may run early, so that it keeps to the scrapes


class Rules:
    """See the module. `load` before `start`; `scraped` from any thread.

    Args:
        queries: `opsbook.promql.Engine` over the storage, or an external server's.
        series: the storage; None with an external server, which records by itself what was exported to it.
        journal: alert state and events; None: nothing survives.
        receiver: who notifies.
        moment: the time samples are stamped with, epoch seconds (`Telemetry.moment`).
        log: told of what fails, once each time it begins to.
        external_labels, external_url: for templates.
    """

    def __init__(
        self,
        queries: Queries,
        series: Series | None,
        journal: Book | None,
        receiver: Receiver | None,
        *,
        moment: Callable[[], float],
        log: Callable[[str], None] = lambda _: None,
        external_labels: Mapping[str, str] | None = None,
        external_url: str = "",
        hold: bool = True,
    ) -> None:
        remembering = Remembering(journal)
        self._evaluator = Evaluator(
            queries,
            series,
            remembering,
            receiver,
            hold=hold,
            external_labels=external_labels,
            external_url=external_url,
        )
        self._moment = moment
        self._log = log
        self._remembered, self._looked = remembering.load()
        self._lock = threading.Lock()  # one round, or one change of the rules, at a time
        self._groups: dict[str, RunningGroup] = {}
        self._loaded = False
        self._apart: dict[str, Future[None]] = {}
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="opsbook-slow-rules")
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._scraped_ms = 0
        self._thread: threading.Thread | None = None
        self._said: set[str] = set()

    # --- rules -------------------------------------------------------------------------------------------------------

    def load(self, groups: Sequence[RuleGroup]) -> None:
        """The rules from now on. Those that stay keep their alerts; what those that leave said is resolved."""
        with self._lock:
            at = self._moment()
            paused = max(0.0, at - self._looked) if self._looked is not None else 0.0
            self._evaluator.knows(recorded_names(iter(groups)))
            running: dict[str, RunningGroup] = {}
            for group in groups:
                remembered = {
                    rule: alerts for (key, rule), alerts in self._remembered.items() if key == group.key
                }
                before = self._groups.pop(group.key, None)
                if before is not None and before.group == group:
                    running[group.key] = before
                    continue
                running[group.key] = self._evaluator.opened(group, before, remembered, paused)
                names = {rule.alert for rule in group.rules if isinstance(rule, AlertingRule)}
                self._forget(
                    group, {rule: found for rule, found in remembered.items() if rule not in names}, at
                )
            for gone in self._groups.values():
                for left in gone.rules:
                    self._evaluator.closed(gone.group, left, at)
            known = {group.key for group in groups}
            for (key, rule), alerts in self._remembered.items():
                if key not in known:
                    self._forget(_vanished(key), {rule: alerts}, at)
            self._groups, self._remembered, self._loaded = running, {}, True
        self._flush(at)

    def _forget(self, group: RuleGroup, remembered: Mapping[str, Sequence[ActiveAlert]], at: float) -> None:
        for rule, alerts in remembered.items():
            self._evaluator.forget(group, AlertingRule(alert=rule, expr=""), alerts, at)

    @property
    def groups(self) -> tuple[RunningGroup, ...]:
        """All groups as they run, in order."""
        return tuple(self._groups.values())

    @property
    def problem(self) -> str:
        """Why alert state cannot be written down at present; empty when it can."""
        return self._evaluator.problem

    # --- rounds ------------------------------------------------------------------------------------------------------

    def evaluate(self, at_ms: int) -> None:
        """One round: every group that is due, as of `at_ms`."""
        with self._lock:
            for running in self._groups.values():
                if not _is_due(running, at_ms / 1000):
                    continue
                under_way = self._apart.get(running.group.key)
                if under_way is not None and not under_way.done():
                    running.missed += 1
                elif running.seconds > SLOW and self._thread is not None:
                    self._apart[running.group.key] = self._pool.submit(self._slow, running, at_ms)
                else:
                    self._evaluator.evaluate(running, at_ms)
        self._flush(at_ms / 1000)

    def _slow(self, running: RunningGroup, at_ms: int) -> None:
        self._evaluator.evaluate(running, at_ms)
        self._flush(at_ms / 1000)

    def _flush(self, at: float) -> None:
        try:
            self._evaluator.flush(at)
            self._say_once("alerts are not written down", self._evaluator.problem)
            self._say_once("alerts cannot be handed over", "")
        except OpsbookError as error:
            self._say_once("alerts cannot be handed over", str(error))

    def _say_once(self, what: str, problem: str) -> None:
        if not problem:
            self._said.discard(what)
        elif what not in self._said:
            self._said.add(what)
            self._log(f"rules: {what}, and tried again: {problem}")

    # --- the loop ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the rounds."""
        self._thread = threading.Thread(target=self._run, name="opsbook-rules", daemon=True)
        self._thread.start()

    def scraped(self, at_ms: int) -> None:
        """A scrape round has been committed (`telemetry.on_scraped`): begin a round as of its time."""
        self._scraped_ms = at_ms
        self._due.set()

    def close(self) -> None:
        """End the rounds; the one under way is finished."""
        self._stopping.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        while True:
            scraped = self._due.wait(FALLBACK)
            self._due.clear()
            if self._stopping.is_set():
                return
            try:
                self.evaluate(self._scraped_ms if scraped else int(self._moment() * 1000))
            except Exception as error:
                self._say_once("a round failed", f"{type(error).__name__}: {error}")

    def active(self) -> Iterator[tuple[RuleGroup, AlertingRule, ActiveAlert]]:
        """Every alert that is pending or firing, with its rule."""
        for running in self.groups:
            for rule in running.rules:
                if isinstance(rule.rule, AlertingRule):
                    for alert in list(rule.active.values()):
                        yield running.group, rule.rule, alert


def _is_due(running: RunningGroup, at: float) -> bool:
    if running.at is None:
        return True
    if running.group.interval is None:
        return at != running.at
    return at - running.at >= running.group.interval - _EARLY or at < running.at


def _vanished(key: str) -> RuleGroup:
    """A group of which nothing is left but the state of its alerts."""
    source, _, name = key.partition(";")
    return RuleGroup(name=name, source=source, rules=())
