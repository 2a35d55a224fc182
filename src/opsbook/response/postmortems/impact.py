"""The impact of an incident in numbers, and what is drawn of it: asked of the metrics by PromQL.

The series are those that opsbook records of every service; with another metrics server they are the same, by the rules
that were exported to it. A figure that nothing was measured for is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from opsbook.book.conditions import recorded_name
from opsbook.errors import OpsbookError
from opsbook.promql.model import Matrix, Result, Scalar, Vector
from opsbook.promql.series import Matcher, is_sample
from opsbook.response.incidents.model import Incident
from opsbook.response.postmortems.model import Burn, Impact, ServiceImpact
from opsbook.response.postmortems.plot import MOST_LINES, Line, Panel

REQUESTS = "envoy_cluster_upstream_rq_xx"
BUDGET = "slo_error_budget_remaining"
SHORTEST = 60.0  # seconds that are counted at least: fewer hold too few samples to count from
BEFORE, AFTER = 900.0, 300.0  # seconds that are drawn around the incident, at most
LEAST_BEFORE = 120.0
POINTS = 240
MOST_SERVICES = 20

_PANELS: tuple[tuple[str, str, float], ...] = (
    ("error_rate", "failed requests, %", 100.0),
    ("response_time_p95", "p95 of the response time, ms", 1000.0),
    ("throughput", "requests a second", 1.0),
)
_OTHERWISE = (("instances_up", "instances up", 1.0), ("cpu_usage", "CPU, % of its limit", 100.0))


class Queries(Protocol):
    """What answers PromQL."""

    def instant(self, query: str, at_ms: int) -> Result: ...

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Result: ...


def impact_of(incident: Incident, queries: Queries | None, now: float) -> Impact:
    """Requests, failed requests, the worst rates and the budgets that it cost, service by service."""
    start, end = span_of(incident, now)
    if queries is None:
        return Impact(start=start, end=end, problem="there are no metrics")
    services: list[ServiceImpact] = []
    for service in sorted(set(incident.services))[:MOST_SERVICES]:
        try:
            services.append(_Asking(queries, service, incident.environment, start, end).figures())
        except OpsbookError as error:
            return Impact(start=start, end=end, services=tuple(services), problem=error.message)
    return Impact(start=start, end=end, services=tuple(services))


def panels_of(
    incident: Incident, queries: Queries | None, now: float
) -> tuple[tuple[Panel, ...], float, float]:
    """What is drawn, and from when until when. No panels: nothing was measured."""
    since, until = span_of(incident, now)
    before = min(BEFORE, max(LEAST_BEFORE, 2 * (until - since)))
    start, end = since - before, max(until, min(now, until + AFTER))
    if queries is None:
        return (), start, end
    services = sorted(set(incident.services))[:MOST_LINES]

    def panels(wanted: Sequence[tuple[str, str, float]]) -> Iterator[Panel]:
        for metric, title, factor in wanted:
            drawn = [
                _line(queries, metric, one, incident.environment, start, end, factor) for one in services
            ]
            lines = tuple(line for line in drawn if line is not None)
            if lines:
                yield Panel(title, lines)

    try:
        found = tuple(panels(_PANELS)) or tuple(panels(_OTHERWISE))
    except OpsbookError:
        found = ()  # the page says with its figures why nothing could be measured
    measured = [
        at for panel in found for line in panel.lines for at, value in line.points if value is not None
    ]
    first = min(measured, default=start)
    return found, max(start, min(first, since - LEAST_BEFORE)), end


def span_of(incident: Incident, now: float) -> tuple[float, float]:
    """From when until when users noticed: to its mitigation, when that was said; a clock that jumped does no harm."""
    start = incident.started_at
    ends = (incident.mitigated_at, incident.resolved_at, incident.closed_at, now)
    end = next((at for at in ends if at is not None and at >= start), start)
    return start, end


class _Asking:
    """The questions about one service in one environment."""

    def __init__(self, queries: Queries, service: str, environment: str, start: float, end: float) -> None:
        self._queries = queries
        self._start = start
        self._end = end
        self._of = _selector(service, environment)
        self._service = service

    def figures(self) -> ServiceImpact:
        requests = self._count("")
        failed = self._count('response_code_class="5"')
        return ServiceImpact(
            service=self._service,
            requests=requests,
            failed=None if requests is None else failed or 0.0,
            worst_error_rate=self._over("max_over_time", "error_rate", self._end, self._seconds),
            usual_p95=self._over("avg_over_time", "response_time_p95", self._start, BEFORE),
            worst_p95=self._over("max_over_time", "response_time_p95", self._end, self._seconds),
            burns=tuple(self._burns()),
        )

    @property
    def _seconds(self) -> float:
        return max(SHORTEST, self._end - self._start)

    def _count(self, more: str) -> float | None:
        """From the proxy's own counters; where those are not kept so long, from what was recorded each minute."""
        inside = ",".join(part for part in (self._of, more) if part)
        window = f"{math.ceil(self._seconds)}s"
        counted = self._one(f"sum(increase({REQUESTS}{{{inside}}}[{window}]))", self._end)
        if counted is not None:
            return counted
        metric = recorded_name("error_count" if more else "request_count")
        return self._one(f"sum(sum_over_time({metric}{{{self._of}}}[{window}:1m]))", self._end)

    def _over(self, function: str, metric: str, at: float, seconds: float) -> float | None:
        query = f"max({function}({recorded_name(metric)}{{{self._of}}}[{math.ceil(seconds)}s]))"
        return self._one(query, at)

    def _burns(self) -> Iterator[Burn]:
        query = f"min by (slo) ({BUDGET}{{{self._of}}})"
        before, after = self._by_slo(query, self._start), self._by_slo(query, self._end)
        for slo, left in sorted(after.items()):
            burned = max(0.0, before[slo] - left) if slo in before else None
            yield Burn(slo=slo, burned=burned, left=left)

    def _by_slo(self, query: str, at: float) -> dict[str, float]:
        value = self._queries.instant(query, _ms(at)).value
        if not isinstance(value, Vector):
            return {}
        pairs = zip(value.series, value.values.tolist(), strict=True)
        return {labels["slo"]: left for labels, left in pairs if labels.get("slo") and math.isfinite(left)}

    def _one(self, query: str, at: float) -> float | None:
        value = self._queries.instant(query, _ms(at)).value
        if isinstance(value, Scalar):
            found = [value.value]
        else:
            found = value.values.tolist() if isinstance(value, Vector) else []
        return found[0] if found and math.isfinite(found[0]) else None


def _line(
    queries: Queries, metric: str, service: str, environment: str, start: float, end: float, factor: float
) -> Line | None:
    step = max(5, math.ceil((end - start) / POINTS))
    query = f"max({recorded_name(metric)}{{{_selector(service, environment)}}})"
    value = queries.range(query, _ms(start), _ms(end), step * 1000).value
    if not isinstance(value, Matrix) or not len(value.series):
        return None
    present = is_sample(value.values[0]) & np.isfinite(value.values[0])
    if not present.any():
        return None
    points = zip(value.timestamps.tolist(), value.values[0].tolist(), present.tolist(), strict=True)
    return Line(
        service, tuple((at / 1000, number * factor if there else None) for at, number, there in points)
    )


def _selector(service: str, environment: str) -> str:
    """What a label holds is quoted for PromQL, whatever it is."""
    return ",".join(
        str(Matcher(*one)) for one in (("service", "=", service), ("environment", "=", environment))
    )


def _ms(at: float) -> int:
    return round(at * 1000)
