"""The nouns of objectives. Times are epoch seconds, durations seconds, shares 0..1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from opsbook.book.slos import AlertPolicy, BudgetPolicy, Operator, Window

CountKind = Literal["selectors", "expressions", "looks"]


@dataclass(frozen=True, slots=True)
class Indicator:
    """What is counted.

    Args:
        kind: ``selectors``: growth of counters; ``expressions``: PromQL that counts within ``$window``; ``looks``: each
            sample of `total` that is good when it keeps `limit`.
        good, bad: one of them; both empty for looks. total: all of it.
        op, limit: of looks.
    """

    kind: CountKind
    total: str
    good: str = ""
    bad: str = ""
    op: Operator = "lte"
    limit: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One SLO in one environment.

    Args:
        id: ``production/web-availability``; without an environment the name alone.
        slice: None: events are counted; else seconds of the stretches that are.
    """

    id: str
    name: str
    title: str
    environment: str
    service: str
    what: str
    kind: str
    indicator: Indicator
    target: float
    window: Window
    slice: float | None = None
    slice_target: float = 0.95
    alerting: AlertPolicy = field(default_factory=AlertPolicy)
    policy: BudgetPolicy | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    default: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """Events, good ones among them, and the seconds of which anything is known."""

    good: float = 0.0
    total: float = 0.0
    known: float = 0.0

    @property
    def bad(self) -> float:
        return max(0.0, self.total - self.good)

    @property
    def bad_ratio(self) -> float | None:
        """None: there was nothing."""
        return self.bad / self.total if self.total > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What is left.

    Args:
        is_: the share that was good; None: there was nothing.
        allowed: bad events that the window may have.
        remaining: 1 untouched, 0 spent, below 0 overdrawn.
        burn_rate: lately; 1 spends the budget in exactly the window. None: there was nothing.
        exhausted_at: when it will be spent if this goes on; None: not in sight, or already.
        known: share of the window of which anything is known.
        enough: there were enough events to judge by.
    """

    counts: Counts
    is_: float | None
    allowed: float
    remaining: float
    burn_rate: float | None
    exhausted_at: float | None
    since: float
    until: float
    known: float
    enough: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What a budget says of a deployment.

    Args:
        allowed: it may begin. max_weight: a canary may have so many percent; 100: all of them. reason: why not more.
        roles: people with one of these may go on. incidents: so may what is for an open incident.
    """

    allowed: bool = True
    max_weight: int = 100
    reason: str = ""
    roles: tuple[str, ...] = ()
    incidents: bool = False


class BudgetGate(Protocol):
    """Who decides: `opsbook.monitoring.slos.room.Slos`."""

    def decide(self, environment: str, service: str) -> Decision: ...
