"""What a diagnosis looks at; all of it is handed in by the composition root, and none of it is changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from opsbook.book import Book
from opsbook.deployment.model import Deployment, Placement, Release
from opsbook.journal import Event
from opsbook.monitoring.alerting.model import Alert
from opsbook.promql.model import Result
from opsbook.response.runbooks.model import Run
from opsbook.world.logs.query import Found, LogQuery
from opsbook.world.traces.words import Span, TraceQuery, TraceSummary
from opsbook.world.words import Clock, Instance, Probe, TrafficState

__all__ = ["Clock", "Deployments", "Instances", "Journal", "Logs", "Queries", "Runbooks", "Site", "Traces"]


class Queries(Protocol):
    """What answers PromQL; times in milliseconds."""

    def instant(self, query: str, at_ms: int) -> Result: ...

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Result: ...


class Instances(Protocol):
    """Those that run; `opsbook.world.words.Runtime` is one."""

    def instances(
        self, environment: str | None = None, service: str | None = None
    ) -> Collection[Instance]: ...

    def probe(self, instance: str) -> Probe: ...

    def log_tail(self, instance: str, lines: int = 20) -> Sequence[str]: ...


class Deployments(Protocol):
    """The documents of deployments; `opsbook.deployment.records.Records` has them."""

    def placement(self, environment: str, service: str) -> Placement: ...

    def deployment(self, name: str) -> Deployment:
        """Raises NotFound."""

    def release(self, environment: str, service: str, release: str) -> Release:
        """Raises NotFound."""


class _State(Protocol):
    def get(self, key: str) -> Any | None: ...

    def items(self, prefix: str = "") -> dict[str, Any]: ...


class Journal(Protocol):
    """What happened, and where diagnoses are kept."""

    @property
    def state(self) -> _State: ...

    def events(
        self,
        *,
        kinds: Sequence[str] = (),
        subject: str | None = None,
        since: float | None = None,
        limit: int = 1000,
        newest: bool = False,
    ) -> Sequence[Event]: ...

    def append(
        self,
        kind: str,
        subject: str,
        data: Mapping[str, Any],
        *,
        actor: str,
        put: Mapping[str, Any | None] | None = None,
    ) -> Event: ...


class Logs(Protocol):
    """What programs said; `opsbook.world.logs.search.LogSearch` is one."""

    def search(self, query: LogQuery) -> Found: ...


class Traces(Protocol):
    """`opsbook.world.traces.store.TraceStore` is one."""

    def search(self, query: TraceQuery) -> Sequence[TraceSummary]: ...

    def trace(self, trace_id: str, visible: frozenset[str] | None = None) -> Sequence[Span]: ...


class Runbooks(Protocol):
    """`opsbook.response.runbooks.room.Runbooks`, as far as looking goes."""

    def run(
        self,
        page: str,
        params: Mapping[str, str],
        actor: str,
        *,
        alert: str = "",
        incident: str = "",
        looking: bool = False,
    ) -> tuple[Run, bool]: ...

    def view(self, name: str, *, output: bool = False) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One opsbook, as a diagnosis sees it. What is None is not looked at, and the check says so.

    Args:
        alerts: those that fire, told or not.
        moment: now, on the clock that samples are stamped with.
        traffic: what the proxy says.
    """

    book: Callable[[], Book]
    journal: Journal
    clock: Clock
    alerts: Callable[[], Sequence[Alert]] = tuple
    queries: Queries | None = None
    moment: Callable[[], float] | None = None
    instances: Instances | None = None
    traffic: Callable[[], TrafficState] | None = None
    deployments: Deployments | None = None
    logs: Logs | None = None
    traces: Traces | None = None
    runbooks: Runbooks | None = None
