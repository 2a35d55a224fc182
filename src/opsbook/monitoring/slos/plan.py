"""Budgets, burn rates, projections and what a spent budget forbids. Pure arithmetic over counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from opsbook.book.slos import Window
from opsbook.monitoring.slos.model import Budget, Counts, Decision, Objective

MONTH = 30 * 86_400.0
RESTORED = 0.02
"""A budget that was spent is restored when so much of it is left again: at its edge it does not go back and forth."""
BURN_WINDOW = 6 * 3600.0
"""Over how long the burn rate is told, of a window of 30 days."""
_POINTS = 120


class Counted(Protocol):
    """What was counted between two times."""

    def between(self, start: float, end: float) -> Counts: ...


@dataclass(frozen=True, slots=True)
class Pair:
    """One burn-rate alert: both windows must burn faster than `factor`."""

    factor: float
    long: float
    short: float
    severity: str


_PAIRS = (
    Pair(14.4, 3600.0, 300.0, "critical"),
    Pair(6.0, 6 * 3600.0, 1800.0, "critical"),
    Pair(3.0, 86_400.0, 7200.0, "warning"),
    Pair(1.0, 3 * 86_400.0, 6 * 3600.0, "warning"),
)


def length_of(window: Window) -> float:
    """Seconds, for calendar windows about."""
    if window.calendar is None:
        return window.duration
    return {"day": 1, "week": 7, "month": 30, "quarter": 91, "year": 365}[window.calendar] * 86_400.0


def pairs_of(window: Window, target: float) -> tuple[Pair, ...]:
    """The alerts of a window: those of 30 days, scaled. What cannot happen is left out: the whole of the events being
    bad burns at 1 / (1 - target)."""
    scale = length_of(window) / MONTH
    highest = 1 / (1 - target)
    found = []
    for pair in _PAIRS:
        long = max(300.0, round(pair.long * scale / 60) * 60.0)
        short = max(60.0, round(long / 12 / 60) * 60.0)
        if pair.factor < highest:
            found.append(Pair(pair.factor, long, short, pair.severity))
    return tuple(found)


def bounds(window: Window, now: float) -> tuple[float, float]:
    """Since when it is counted, and when the window ends (a rolling one: now)."""
    if window.calendar is None:
        return now - window.duration, now
    zone = ZoneInfo(window.time_zone)
    here = datetime.fromtimestamp(now, UTC).astimezone(zone)
    day = here.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    match window.calendar:
        case "day":
            first, after = day, day + timedelta(days=1)
        case "week":
            first = day - timedelta(days=day.weekday())
            after = first + timedelta(days=7)
        case "month":
            first = day.replace(day=1)
            after = _months_later(first, 1)
        case "quarter":
            first = day.replace(day=1, month=(day.month - 1) // 3 * 3 + 1)
            after = _months_later(first, 3)
        case "year":
            first = day.replace(day=1, month=1)
            after = first.replace(year=first.year + 1)
    return first.timestamp(), after.timestamp()


def _months_later(first: datetime, months: int) -> datetime:
    year, month = divmod(first.month - 1 + months, 12)
    return first.replace(year=first.year + year, month=month + 1)


def budget(objective: Objective, counted: Counted, now: float) -> Budget:
    """What is left of an objective's budget at `now`."""
    since, until = bounds(objective.window, now)
    counts = counted.between(since, now)
    allowed = (1 - objective.target) * counts.total
    remaining = 1 - counts.bad / allowed if allowed > 0 else 1.0
    recent = counted.between(max(since, now - burn_window(objective.window)), now)
    ratio = recent.bad_ratio
    enough = counts.total >= objective.alerting.min_events and counts.bad >= objective.alerting.min_bad
    return Budget(
        counts=counts,
        is_=counts.good / counts.total if counts.total > 0 else None,
        allowed=allowed,
        remaining=remaining,
        burn_rate=None if ratio is None else ratio / (1 - objective.target),
        exhausted_at=_exhausted(objective, counts, recent, since, until, now),
        since=since,
        until=until,
        known=min(1.0, counts.known / (now - since)) if now > since else 0.0,
        enough=enough,
    )


def burn_window(window: Window) -> float:
    """Over how long the burn rate of a window is told."""
    return max(300.0, BURN_WINDOW * length_of(window) / MONTH)


def _exhausted(
    objective: Objective, counts: Counts, recent: Counts, since: float, until: float, now: float
) -> float | None:
    """When the budget will be spent if what was lately goes on; None: not in sight, or it is already.

    A window that is not full yet grows: good events earn budget while bad ones spend it. A full rolling one loses at
    its far end, on the average, what it has of bad events.
    """
    share = 1 - objective.target
    left = share * counts.total - counts.bad
    if left <= 0 or recent.known <= 0:
        return None
    bad, total = recent.bad / recent.known, recent.total / recent.known
    rolling = objective.window.calendar is None
    full = rolling and counts.known >= 0.99 * (now - since)
    spending = bad - counts.bad / (now - since) if full else bad - share * total
    if spending <= 0:
        return None
    at = now + left / spending
    if not rolling and at >= until:
        return None
    return at if at <= now + length_of(objective.window) else None


def series(
    objective: Objective, counted: Counted, now: float, points: int = _POINTS
) -> list[tuple[float, float | None]]:
    """The budget that was left at times since the window began, as shares of what the window allows now.

    None before anything is known. It begins at 1, never rises, and ends at the budget's `remaining`.
    """
    since, _ = bounds(objective.window, now)
    allowed = (1 - objective.target) * counted.between(since, now).total
    step = (now - since) / points
    found: list[tuple[float, float | None]] = [(since, 1.0 if counted.between(since, now).known else None)]
    for number in range(1, points + 1):
        at = now if number == points else since + number * step
        counts = counted.between(since, at)
        left = 1 - counts.bad / allowed if allowed > 0 else 1.0
        found.append((at, left if counts.known > 0 else None))
    return found


def projection(left: Budget, now: float) -> list[tuple[float, float]]:
    """From now to when the budget is spent, if this goes on; empty when that is not in sight."""
    return [] if left.exhausted_at is None else [(now, left.remaining), (left.exhausted_at, 0.0)]


def is_spent(budget: Budget, before: bool) -> bool:
    """Whether it counts as spent, when it did or did not before. Too few events say nothing."""
    if before:
        return budget.remaining < RESTORED and budget.counts.total > 0
    return budget.enough and budget.remaining <= 0


def decision(spent: Sequence[tuple[Objective, Budget]]) -> Decision:
    """What the spent budgets of one service say together; the strictest counts."""
    barring = [(one, left) for one, left in spent if one.policy is not None and one.policy.gate]
    if not barring:
        return Decision()
    policies = [one.policy for one, _ in barring if one.policy is not None]
    roles = set(policies[0].except_roles).intersection(*(policy.except_roles for policy in policies))
    names = ", ".join(f"{one.name} ({said(left)})" for one, left in barring)
    noun = "budget" if len(barring) == 1 else "budgets"
    return Decision(
        allowed=not any(policy.block for policy in policies),
        max_weight=min(int(policy.max_weight * 100 + 1e-9) for policy in policies),
        reason=f"the error {noun} of {names} {'is' if len(barring) == 1 else 'are'} spent",
        roles=tuple(sorted(roles)),
        incidents=all(policy.except_incidents for policy in policies),
    )


def said(left: Budget) -> str:
    """A budget in few words."""
    return f"{left.counts.bad:,.0f} bad of {left.counts.total:,.0f}, {left.allowed:,.1f} allowed"
