"""Error budgets that stand in the way of a deployment: what is spent allows no canary past a limit. Pure.

Who watches hands the budgets in (`Site.budget`); deployments only ask.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

HELD_FOR = 86_400.0
"""Seconds that a canary waits for its service's budget; then it is taken back: it may not hold the service for ever."""


class Budget(Protocol):
    """What the budgets of a service say of a deployment of it; `opsbook.monitoring.slos.model.Decision` is one."""

    @property
    def allowed(self) -> bool:
        """Whether it may begin."""

    @property
    def max_weight(self) -> int:
        """How many percent of the requests a canary may have."""

    @property
    def reason(self) -> str: ...

    @property
    def roles(self) -> Collection[str]:
        """People with one of these may go on all the same."""

    @property
    def incidents(self) -> bool:
        """Whether a deployment for an open incident may."""


@dataclass(frozen=True, slots=True)
class Unlimited:
    """Nobody counts."""

    allowed: bool = True
    max_weight: int = 100
    reason: str = ""
    roles: tuple[str, ...] = ()
    incidents: bool = False


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A canary may not have more of the requests than so many percent, and why."""

    weight: int
    reason: str

    def holds(self, weight: int) -> str:
        """What a canary waits for that wants `weight` percent; empty when it may have them."""
        if weight <= self.weight:
            return ""
        return f"the error budget before more than {self.weight} % of requests: {self.reason}"


def excepted(budget: Budget, roles: Collection[str], *, incident_open: bool) -> bool:
    """Whether who asked, or what for, is an exception."""
    return any(role in budget.roles for role in roles) or (budget.incidents and incident_open)
