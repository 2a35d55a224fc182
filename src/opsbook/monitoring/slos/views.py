"""Objectives as the API tells them. Pure."""

from __future__ import annotations

from typing import Any

from opsbook.monitoring.slos.burning import expressions, spelled
from opsbook.monitoring.slos.model import Budget, Objective
from opsbook.monitoring.slos.plan import Counted, bounds, burn_window, pairs_of, projection, series


def listed_view(
    objective: Objective, left: Budget | None, *, spent: bool, spent_at: float | None
) -> dict[str, Any]:
    """One objective and its budget. Ratios are 0..1, times epoch seconds; None: not known."""
    policy = objective.policy
    return {
        "id": objective.id,
        "name": objective.name,
        "title": objective.title,
        "environment": objective.environment or None,
        "service": objective.service or None,
        "description": objective.what,
        "kind": objective.kind,
        "method": "Occurrences" if objective.slice is None else "Timeslices",
        "default": objective.default,
        "target": objective.target,
        "window": window_said(objective),
        "state": _state(left, spent),
        "is": left.is_ if left else None,
        "good": left.counts.good if left else 0.0,
        "bad": left.counts.bad if left else 0.0,
        "total": left.counts.total if left else 0.0,
        "allowed": left.allowed if left else 0.0,
        "remaining": left.remaining if left and left.known > 0 else None,
        "burn_rate": left.burn_rate if left else None,
        "burn_window": burn_window(objective.window),
        "exhausted_at": left.exhausted_at if left else None,
        "since": left.since if left else None,
        "until": left.until if left and objective.window.calendar else None,
        "known": left.known if left else 0.0,
        "spent": spent,
        "spent_at": spent_at,
        "gates": policy is not None and policy.gate,
        "max_weight": round(policy.max_weight * 100) if policy is not None and policy.gate else None,
        "blocks": policy is not None and policy.gate and policy.block,
        "queries": dict(zip(("bad", "total"), expressions(objective, spelled(3600.0)), strict=True)),
    }


def window_said(objective: Objective) -> str:
    """``30d``, or ``month``."""
    return objective.window.calendar or spelled(objective.window.duration)


def _state(left: Budget | None, spent: bool) -> str:
    """``spent``, ``burning`` (spent before the window is over if this goes on), ``ok``, or ``unknown``."""
    if spent:
        return "spent"
    if left is None or left.known <= 0:
        return "unknown"
    return "burning" if left.exhausted_at is not None and left.enough else "ok"


def rates_view(objective: Objective, counted: Counted, now: float) -> list[dict[str, Any]]:
    """How fast it burns over the windows of its alerts."""
    rows = []
    for pair in pairs_of(objective.window, objective.target):
        rates = []
        for window in (pair.long, pair.short):
            ratio = counted.between(now - window, now).bad_ratio
            rates.append(None if ratio is None else ratio / (1 - objective.target))
        long, short = rates
        rows.append(
            {
                "long": pair.long,
                "short": pair.short,
                "rate": long,
                "short_rate": short,
                "limit": pair.factor,
                "severity": pair.severity,
                "burning": long is not None and short is not None and min(long, short) > pair.factor,
            }
        )
    return rows


def burn_down_view(objective: Objective, counted: Counted, left: Budget | None, now: float) -> dict[str, Any]:
    """The budget that was left over the window, what would be even, and what comes if this goes on."""
    since, until = bounds(objective.window, now)
    return {
        "id": objective.id,
        "since": since,
        "until": until,
        "now": now,
        "points": [list(point) for point in series(objective, counted, now)],
        "ideal": [[since, 1.0], [until, 0.0]],
        "projected": [list(point) for point in projection(left, now)] if left else [],
    }
