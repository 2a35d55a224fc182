"""What the pages need of the rooms and of the console's shell; all handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import Request, Response

from opsbook.book import Book
from opsbook.book.matchers import LabelMatcher
from opsbook.journal import Event
from opsbook.monitoring.alerting.model import Silence
from opsbook.monitoring.alerting.room import AlertView
from opsbook.monitoring.alerting.silences import Wanted
from opsbook.monitoring.dashboards.room import Dashboards
from opsbook.monitoring.dashboards.top import Line
from opsbook.monitoring.querying.ports import Catalogue, Queries

Json = dict[str, Any]


class Shell(Protocol):
    """Renders pages; `opsbook.server.console.shell.Shell` is one."""

    def page(
        self,
        request: Request,
        template: str,
        make: Callable[[], Mapping[str, Any]],
        *,
        topics: tuple[str, ...] = (),
        status: int = 200,
    ) -> Response: ...

    def see_other(self, path: str) -> Response: ...


class RuleAlerts(Protocol):
    """What rules find; `opsbook.monitoring.rules.views.RulesView` knows."""

    def alerts(self, *, visible: frozenset[str] | None = None, pending: bool = True) -> list[Json]: ...


class Alerting(Protocol):
    """What becomes of alerts; `opsbook.monitoring.alerting.room.Alerting` knows."""

    def alerts(self) -> tuple[AlertView, ...]: ...

    def alert(self, fingerprint: str) -> AlertView | None: ...

    def silences(self) -> tuple[Silence, ...]: ...

    def maintenance(self) -> tuple[tuple[str, str, bool, float | None], ...]: ...

    def hidden_by(self, matchers: Sequence[LabelMatcher]) -> tuple[AlertView, ...]: ...

    def silence(self, wanted: Wanted, *, actor: str) -> Silence: ...

    def expire(self, name: str, *, actor: str) -> None: ...


class Probes(Protocol):
    """What is looked at from outside; `opsbook.monitoring.probes.room.Probes` knows."""

    def listed(self) -> list[Json]: ...

    def run(self, name: str) -> Json: ...


class Objectives(Protocol):
    """Objectives and their budgets; `opsbook.monitoring.slos.room.Slos` knows."""

    def listed(self, visible: frozenset[str] | None = None) -> list[Json]:
        """Each of them with its budget, those with the least left first."""

    def show(self, name: str) -> Json:
        """One of them, with its burn rates and its burn-down."""

    def burn_down(self, name: str) -> Json:
        """What was left of its budget, and what will be."""


class Top(Protocol):
    """The figures of all services and hosts; `opsbook.monitoring.dashboards.top.Top` knows."""

    def lines(self, visible: frozenset[str] | None = None) -> Sequence[Line]: ...


class Events(Protocol):
    """The journal, as far as pages tell what was."""

    def events(
        self,
        *,
        before: int | None = None,
        kinds: Sequence[str] = (),
        subject: str | None = None,
        subject_prefix: str | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int = 1000,
        newest: bool = False,
    ) -> list[Event]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """All of it.

    Args:
        journal: what was. now: epoch seconds, the time that samples are stamped with.
        probes, objectives: None where there are none of this kind.
    """

    dashboards: Dashboards
    top: Top
    queries: Queries
    catalogue: Catalogue
    rules: RuleAlerts
    alerting: Alerting
    journal: Events
    book: Callable[[], Book]
    now: Callable[[], float]
    probes: Probes | None = None
    objectives: Objectives | None = None

    def about(self, events: Sequence[Event], visible: frozenset[str] | None) -> Iterator[Event]:
        """Those that whoever is asking may know of."""
        for event in events:
            place = event.data.get("environment") or event.subject.partition("/")[0]
            if visible is None or place in visible:
                yield event
