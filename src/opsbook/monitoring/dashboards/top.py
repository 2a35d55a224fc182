"""What is going on at a glance: one line for each service and host. Pure, but for the questions it asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from opsbook.book import Book
from opsbook.monitoring.dashboards.plan import LOCAL_HOST
from opsbook.promql.expression import Expression
from opsbook.promql.model import Result, Vector

FIGURES: Mapping[str, str] = {
    "rate": "opsbook:throughput",
    "errors": "opsbook:error_rate",
    "p95": "opsbook:response_time_p95",
    "cpu": "opsbook:cpu_usage",
    "memory": "opsbook:memory_bytes",
    "memory_ratio": "opsbook:memory_usage",
    "up": "opsbook:instances_up",
}
_SEVERITIES = ("critical", "warning", "info")


class Instants(Protocol):
    """What answers instant queries."""

    def instant(self, query: str | Expression, at_ms: int) -> Result: ...


class Alerts(Protocol):
    """What fires; `opsbook.monitoring.rules.views.RulesView` knows."""

    def alerts(
        self, *, visible: frozenset[str] | None = None, pending: bool = True
    ) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One service in one environment, or one host. None: it is not known.

    Args:
        rate: requests a second. errors, cpu, memory_ratio: 0..1. p95: seconds. memory: bytes.
        up: instances that run.
        alerts: how many fire and are told; worst: the severity of the worst of them.
    """

    kind: str
    environment: str
    name: str
    rate: float | None = None
    errors: float | None = None
    p95: float | None = None
    cpu: float | None = None
    memory: float | None = None
    memory_ratio: float | None = None
    up: float | None = None
    alerts: int = 0
    worst: str = ""

    @property
    def rank(self) -> tuple[Any, ...]:
        """The worst first. Errors count by whole percents, so that the order does not waver."""
        severity = _SEVERITIES.index(self.worst) if self.worst in _SEVERITIES else len(_SEVERITIES)
        return (
            self.kind != "service",
            severity,
            -int((self.errors or 0) * 100),
            self.environment,
            self.name,
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Top:
    """The lines, asked for anew each time.

    Args:
        queries: the recorded figures.
        alerts: what fires. book: the handbook. now: epoch seconds.
    """

    def __init__(
        self, queries: Instants, alerts: Alerts, *, book: Callable[[], Book], now: Callable[[], float]
    ) -> None:
        self._queries = queries
        self._alerts = alerts
        self._book = book
        self._now = now

    def lines(self, visible: frozenset[str] | None = None) -> tuple[Line, ...]:
        """The worst first; services before hosts.

        Args:
            visible: the environments that may be looked at; None: all, and hosts too.
        """
        at = int(self._now() * 1000)
        figures: dict[tuple[str, str], dict[str, float]] = {}
        for name, series in FIGURES.items():
            value = self._queries.instant(series, at).value
            if isinstance(value, Vector):
                for labels, number in zip(value.series, value.values.tolist(), strict=True):
                    if math.isfinite(number):
                        figures.setdefault(_key(labels), {})[name] = number
        book = self._book()
        for environment, services in book.placed.items():
            for service in services:
                figures.setdefault((environment, service), {})
        alerts = counted(self._alerts.alerts(visible=visible, pending=False))
        lines = [
            _line(key, found, alerts.get(key, ()))
            for key, found in figures.items()
            if visible is None or key[0] in visible
        ]
        return tuple(sorted(lines, key=lambda line: line.rank))


def _key(labels: Mapping[str, str]) -> tuple[str, str]:
    if labels.get("service"):
        return labels.get("environment", ""), labels["service"]
    return "", labels.get("host") or LOCAL_HOST


def counted(alerts: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], tuple[str, ...]]:
    """The severities of what fires and is not quiet, by what it is about."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for alert in alerts:
        # What is looked at from outside is neither a service of ours nor a host.
        if "probe" in alert["labels"] and not alert["labels"].get("service"):
            continue
        if alert["state"] == "firing" and not (alert["silenced_by"] or alert["inhibited_by"]):
            key = _key(alert["labels"])
            found[key] = (*found.get(key, ()), str(alert["severity"]))
    return found


def _line(key: tuple[str, str], figures: Mapping[str, float], severities: Sequence[str]) -> Line:
    environment, name = key
    worst = next((one for one in _SEVERITIES if one in severities), "")
    kind = "service" if environment else "host"
    return Line(kind=kind, environment=environment, name=name, alerts=len(severities), worst=worst, **figures)
