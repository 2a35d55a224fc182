"""How long it took to detect, to acknowledge and to resolve. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opsbook.response.incidents.model import SEVERITIES, Incident


def figures(incidents: Iterable[Incident], since: float) -> dict[str, Any]:
    """Of the incidents that were declared since then (epoch seconds).

    Merged ones are left out: they are part of others. Those that ended by themselves before anybody did anything are
    left out of the time to acknowledge, which would look better the less one cares.

    Returns:
        ``incidents``, ``open``, ``mttd``, ``mtta``, ``mttr`` (each median, p90 and count; seconds; None without any),
        and ``by_severity`` with the same of each.
    """
    counted = [one for one in incidents if one.state != "merged" and one.declared_at >= since]
    by = {name: [one for one in counted if one.severity == name] for name in SEVERITIES}
    return {
        "since": since,
        **_of(counted),
        "by_severity": {name: _of(some) for name, some in by.items() if some},
    }


def _of(incidents: Sequence[Incident]) -> dict[str, Any]:
    detect = [one.detected_at - one.started_at for one in incidents]
    answer = [
        one.answered_at - one.declared_at
        for one in incidents
        if one.answered_at is not None and not one.self_resolved
    ]
    solve = [one.resolved_at - one.started_at for one in incidents if one.resolved_at is not None]
    return {
        "incidents": len(incidents),
        "open": sum(1 for one in incidents if one.open),
        "self_resolved": sum(1 for one in incidents if one.self_resolved),
        "mttd": _middle(detect),
        "mtta": _middle(answer),
        "mttr": _middle(solve),
    }


def _middle(times: Sequence[float]) -> Mapping[str, float | int] | None:
    if not times:
        return None
    ordered = sorted(max(0.0, one) for one in times)
    ninth = ordered[-1] if len(ordered) == 1 else statistics.quantiles(ordered, n=10, method="inclusive")[8]
    return {"median": round(statistics.median(ordered), 3), "p90": round(ninth, 3), "count": len(ordered)}
