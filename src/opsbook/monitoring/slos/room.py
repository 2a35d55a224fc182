"""The room of objectives: counts as time goes on, remembers, tells when a budget is spent, and decides.

The truth is counts of five minutes in documents of the journal, so that a window of a month is a sum of a few thousand
numbers, and a restart loses nothing: what was missed meanwhile is counted from the storage's history, as far as that
goes back, and what nobody knows stays unknown, and is said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import opsbook.monitoring.slos.kinds as _kinds  # noqa: F401 - registers the kinds of events
from opsbook.book import Book
from opsbook.book.slos import DAY, SLICE
from opsbook.errors import NotFound, OpsbookError
from opsbook.journal import Journal
from opsbook.monitoring.querying.ports import Queries
from opsbook.monitoring.rules.model import RuleGroup
from opsbook.monitoring.slos.burning import (
    BAD,
    EVENTS,
    RATIO,
    from_counts,
    groups_of,
    labels_of,
    spelled,
    windows_of,
)
from opsbook.monitoring.slos.counting import Counter, Samples
from opsbook.monitoring.slos.model import Budget, Decision, Objective
from opsbook.monitoring.slos.objectives import objectives_of
from opsbook.monitoring.slos.plan import budget, decision, is_spent, length_of
from opsbook.monitoring.slos.tally import Tally
from opsbook.monitoring.slos.views import burn_down_view, listed_view, rates_view
from opsbook.promql.series import Labels

ROUND = 15.0
"""Seconds between two counts."""
GRACE = 60.0
"""Seconds after its end that a stretch is counted again: samples come in late."""
_DAYS, _SPENT = "slo/", "slo-spent/"


class Writer(Protocol):
    """Where series of an objective go."""

    def write(self, at_ms: int, samples: Iterable[tuple[Labels, float]]) -> object: ...

    def end(self, at_ms: int) -> object: ...


class Series(Samples, Protocol):
    """The storage, as far as objectives read and write it."""

    def writer(self, owner: Labels) -> Writer: ...


@dataclass(slots=True)
class _Kept:
    """An objective with what is known of it."""

    objective: Objective
    tally: Tally
    budget: Budget | None = None
    spent: bool = False
    spent_at: float | None = None


class Slos:
    """See the module. Thread-safe; what is asked is answered from memory.

    Args:
        queries: PromQL over `series`, or another server's.
        series: the storage; None with an external server: everything is asked by PromQL, and rules record all windows.
        journal: the counts, and events.
        book: the handbook as last read.
        moment: the time samples are stamped with, epoch seconds.
        log: a sentence for people, once when something begins to fail.
    """

    def __init__(
        self,
        queries: Queries,
        series: Series | None,
        journal: Journal,
        *,
        book: Callable[[], Book],
        moment: Callable[[], float],
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._counter = Counter(queries, series)
        self._series = series
        self._journal = journal
        self._book = book
        self.moment = moment
        self._log = log
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._writers: dict[str, Writer] = {}
        self._digest = ""
        self._problems: dict[str, str] = {}

    def start(self) -> None:
        """Remember what was counted before the restart. What was missed is counted by the first round of `keep`."""
        self._follow()

    def keep(self, stopping: threading.Event) -> None:
        """Count until the end."""
        while not stopping.is_set():
            self.look()
            stopping.wait(ROUND)

    def close(self) -> None:
        """Nothing is open; what was counted is written down."""

    def groups(self, book: Book) -> Sequence[RuleGroup]:
        """The rules of the handbook's objectives."""
        return groups_of(objectives_of(book), counted=self._series is not None)

    def look(self) -> None:
        """One round: follow the handbook, count, write down, tell."""
        with self._counting:
            self._follow()
            with self._lock:
                kept = list(self._kept.values())
            documents: dict[str, Any] = {}
            for one in kept:
                try:
                    documents |= self._count(one)
                except OpsbookError as error:
                    self._fail(one.objective.id, f"SLO {one.objective.id} cannot be counted: {error}")
                else:
                    self._problems.pop(one.objective.id, None)
            self._remember(documents)
            for one in kept:
                self._tell(one)

    # --- what is asked

    def listed(self, visible: frozenset[str] | None = None) -> list[dict[str, Any]]:
        """All objectives, those with the least budget first; cut to environments that one may look at."""
        rows = [
            listed_view(one.objective, one.budget, spent=one.spent, spent_at=one.spent_at)
            for one in self._all()
            if visible is None or not one.objective.environment or one.objective.environment in visible
        ]
        return sorted(rows, key=lambda row: (row["remaining"] is None, row["remaining"] or 0.0, row["id"]))

    def show(self, name: str) -> dict[str, Any]:
        """One objective by its id, or by its name where that is enough, with its burn rates and its burn-down.

        Raises:
            NotFound: there is none, or several have that name.
        """
        one, now = self._one(name), self.moment()
        with self._lock:
            return {
                **listed_view(one.objective, one.budget, spent=one.spent, spent_at=one.spent_at),
                "problem": self._problems.get(one.objective.id, ""),
                "rates": rates_view(one.objective, one.tally, now),
                "burn_down": burn_down_view(one.objective, one.tally, one.budget, now),
            }

    def burn_down(self, name: str) -> dict[str, Any]:
        """What was left of its budget over its window, and what will be. Raises as `show`."""
        one, now = self._one(name), self.moment()
        with self._lock:
            return burn_down_view(one.objective, one.tally, one.budget, now)

    def decide(self, environment: str, service: str) -> Decision:
        """What the budgets of a service say of a deployment of it. Without budgets that gate: it may."""
        spent = [
            (one.objective, one.budget)
            for one in self._all()
            if one.spent
            and one.budget is not None
            and one.objective.environment == environment
            and one.objective.service == service
        ]
        return decision(spent)

    def _all(self) -> list[_Kept]:
        with self._lock:
            return [self._kept[name] for name in sorted(self._kept)]

    def _one(self, name: str) -> _Kept:
        found = [one for one in self._all() if name in (one.objective.id, one.objective.name)]
        exact = [one for one in found if one.objective.id == name]
        if len(found) == 1 or exact:
            return (exact or found)[0]
        ids = ", ".join(one.objective.id for one in found or self._all())
        if found:
            raise NotFound(f"several SLOs are called {name}", hint=f"say which: {ids}")
        raise NotFound(f"there is no SLO {name}", hint=f"there are: {ids or 'none'}")

    # --- the round

    def _follow(self) -> None:
        """Take over the objectives of the handbook, when it has changed."""
        book = self._book()
        if book.digest == self._digest:
            return
        try:
            wanted = {one.id: one for one in objectives_of(book)}
        except OpsbookError as error:
            self._fail("", f"SLOs: the handbook's are not taken over: {error}")
            return
        now = self.moment()
        before = self._kept
        kept = {name: self._taken(one, before.get(name), now) for name, one in wanted.items()}
        with self._lock:
            self._kept = kept
        for name in [name for name in self._writers if name not in kept]:
            self._writers.pop(name).end(int(now * 1000))
        self._digest = book.digest

    def _taken(self, objective: Objective, before: _Kept | None, now: float) -> _Kept:
        if before is not None and before.objective == objective:
            return before
        horizon = _horizon(objective)
        tally = Tally(objective, horizon, now)
        for key, document in self._journal.state.items(f"{_DAYS}{objective.id}/").items():
            tally.restore(key.rpartition("/")[2], document, now)
        spent = self._journal.state.get(f"{_SPENT}{objective.id}") or {}
        return _Kept(
            objective, tally, budget(objective, tally, now), bool(spent.get("spent")), spent.get("at")
        )

    def _count(self, one: _Kept) -> dict[str, Any]:
        """Returns the documents of the days that have more stretches that are over."""
        now = self.moment()
        first, last = one.tally.sealed + 1, int(now // SLICE)
        found = self._counter.count(one.objective, first, last, now)
        sealed = max(one.tally.sealed, int((now - GRACE) // SLICE) - 1)
        horizon = now - _horizon(one.objective)
        with self._lock:
            one.tally.put(found, now)
            one.tally.sealed = sealed
            one.tally.forget(horizon)
            one.budget = budget(one.objective, one.tally, now)
        if self._series is not None:
            self._write(self._series, one, one.budget, now)
        if sealed < first:
            return {}
        days = dict(one.tally.documents(first, sealed))
        return {f"{_DAYS}{one.objective.id}/{date}": document for date, document in days.items()}

    def _write(self, series: Series, one: _Kept, left: Budget, now: float) -> None:
        """What rules and dashboards read of it."""
        name, labels = one.objective.id, labels_of(one.objective)
        if name not in self._writers:
            self._writers[name] = series.writer({"slo": name})
        samples: list[tuple[Labels, float]] = [
            ({"__name__": "slo_objective", **labels}, one.objective.target),
            ({"__name__": "slo_error_budget_remaining", **labels}, left.remaining),
        ]
        for window in windows_of(one.objective):
            if not from_counts(one.objective, window):
                continue
            counts = one.tally.between(now - window, now)
            more = {**labels, "window": spelled(window)}
            if counts.known > 0:
                samples.append(({"__name__": EVENTS, **more}, counts.total))
                samples.append(({"__name__": BAD, **more}, counts.bad))
            if (ratio := counts.bad_ratio) is not None:
                samples.append(({"__name__": RATIO, **more}, ratio))
        self._writers[name].write(int(now * 1000), samples)

    def _remember(self, documents: dict[str, Any]) -> None:
        """In one transaction. What cannot be written now is counted and written again after a restart."""
        if not documents:
            return
        try:
            old = self._outdated(documents)
            self._journal.append_all((), put={**documents, **dict.fromkeys(old)})
        except OpsbookError as error:
            self._fail("journal", f"SLOs: what was counted is not written down: {error}")
        else:
            self._problems.pop("journal", None)

    def _outdated(self, documents: dict[str, Any]) -> list[str]:
        """Days that no window reaches any more, looked for when a new one begins."""
        if all(len(document["total"]) > 1 for document in documents.values()):
            return []
        limits = {
            one.objective.id: _date(self.moment() - _horizon(one.objective) - DAY) for one in self._all()
        }
        return [
            key
            for key in self._journal.state.items(_DAYS)
            if (place := key.removeprefix(_DAYS).rpartition("/"))[2] < limits.get(place[0], "")
        ]

    def _tell(self, one: _Kept) -> None:
        """Event and state in one transaction; what cannot be written now is tried in the next round."""
        left = one.budget
        if left is None or (spent := is_spent(left, one.spent)) is one.spent:
            return
        objective, now = one.objective, self.moment()
        subject = (
            f"{objective.environment}/{objective.service}"
            if objective.environment and objective.service
            else f"slo/{objective.name}"
        )
        data = {
            "slo": objective.name,
            "environment": objective.environment,
            "service": objective.service,
            "target": objective.target,
            "bad": left.counts.bad,
            "total": left.counts.total,
            "remaining": left.remaining,
        }
        try:
            self._journal.append(
                "slo.budget_spent" if spent else "slo.budget_restored",
                subject,
                data,
                actor="opsbook",
                put={f"{_SPENT}{objective.id}": {"spent": spent, "at": now}},
            )
        except OpsbookError as error:
            self._fail("events", f"SLO {objective.id}: its change is not written down: {error}")
            return
        self._problems.pop("events", None)
        with self._lock:
            one.spent, one.spent_at = spent, now if spent else None

    def _fail(self, what: str, text: str) -> None:
        if self._problems.get(what) != text:
            self._problems[what] = text
            self._log(text)


def _horizon(objective: Objective) -> float:
    """Seconds of counts that are kept: the window, and the alerts' windows within it."""
    return length_of(objective.window) + 2 * DAY


def _date(at: float) -> str:
    from opsbook.monitoring.slos.tally import date_of

    return date_of(int(at // SLICE))
