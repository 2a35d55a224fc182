"""What every look is handed: the service, the ports, the time, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from opsbook.book import Book
from opsbook.monitoring.alerting.model import Alert
from opsbook.promql.model import Matrix, Result, Scalar, Vector
from opsbook.promql.series import Matcher
from opsbook.response.diagnosis.ports import Queries, Site

HOUR = 3600.0
DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One service in one environment, now. Without a service: the machines, and what else belongs to none.

    Args:
        alerts: all that fire, of other services too.
        now: epoch seconds. moment: the same on the clock of samples.
        depends_on: what it needs, directly or by others. affected: what needs it.
        actor: who asks. incident, alert: what for.
        run_pages: whether the diagnose blocks of pages are run.
        stop: True once the time is up: what is found by then is the answer.
    """

    site: Site
    book: Book
    environment: str
    service: str
    alerts: Sequence[Alert]
    now: float
    moment: float
    depends_on: tuple[str, ...] = ()
    affected: tuple[str, ...] = ()
    actor: str = "opsbook"
    incident: str = ""
    alert: str = ""
    run_pages: bool = True
    stop: Callable[[], bool] = lambda: False

    @property
    def own_alerts(self) -> tuple[Alert, ...]:
        """Those of the service itself, the worst and then the oldest first."""
        return in_order(alert for alert in self.alerts if concerns(alert, self.environment, self.service))

    @property
    def host_alerts(self) -> tuple[Alert, ...]:
        """Those of no service: of machines, the proxy, servers that opsbook does not run."""
        if not self.service:
            return ()
        return in_order(
            alert
            for alert in self.alerts
            if not alert.labels.get("service")
            and alert.labels.get("environment", self.environment) in {"", self.environment}
        )

    @property
    def only(self) -> str:
        """Matchers of PromQL that choose the service."""
        return f"{Matcher('service', '=', self.service)},{Matcher('environment', '=', self.environment)}"

    def number(self, query: str, *, ago: float = 0.0) -> float | None:
        """The largest value of a query; None where there is none, or nobody to ask."""
        found = self.numbers(query, ago=ago)
        return max((value for _, value in found), default=None)

    def numbers(self, query: str, *, ago: float = 0.0) -> list[tuple[dict[str, str], float]]:
        """Labels and values of a query now, or so many seconds ago. Raises OpsbookError."""
        queries = self.site.queries
        if queries is None:
            return []
        return values(queries.instant(query, int((self.moment - ago) * 1000)))

    def line(self, query: str, *, back: float, step: float) -> list[tuple[float, float]]:
        """Times and the largest value at each, of the last `back` seconds. Raises OpsbookError."""
        queries: Queries | None = self.site.queries
        if queries is None:
            return []
        end = int(self.moment // step * step * 1000)  # so that two looks in a row see the same points
        found = queries.range(query, end - int(back * 1000), end, int(step * 1000)).value
        if not isinstance(found, Matrix):
            return []
        largest: dict[int, float] = {}
        for row in range(len(found.series)):
            times, numbers = found.points(row)
            for at, value in zip(times.tolist(), numbers.tolist(), strict=True):
                if math.isfinite(value):
                    largest[at] = max(value, largest.get(at, value))
        return [(at / 1000, value) for at, value in sorted(largest.items())]


def values(result: Result) -> list[tuple[dict[str, str], float]]:
    """Labels and values of an instant answer, without what is no number."""
    value = result.value
    if isinstance(value, Scalar):
        return [({}, value.value)] if math.isfinite(value.value) else []
    if not isinstance(value, Vector):
        return []
    found = zip(value.series, value.values.tolist(), strict=True)
    return [(dict(labels), number) for labels, number in found if math.isfinite(number)]


def concerns(alert: Alert, environment: str, service: str) -> bool:
    """Whether an alert is about the service; one that names no environment is about it in each."""
    labels = alert.labels
    if labels.get("service", "") != service:
        return False
    return not environment or labels.get("environment", environment) in {"", environment}


def in_order(alerts: Iterable[Alert]) -> tuple[Alert, ...]:
    """The worst first, then the oldest."""
    order = {"critical": 0, "warning": 1}

    return tuple(sorted(alerts, key=lambda one: (order.get(one.severity, 2), one.starts_at, one.fingerprint)))
