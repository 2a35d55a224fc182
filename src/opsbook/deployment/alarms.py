"""Alerts that take a new version back, as `rollback_on` of its strategy names them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opsbook.deployment.model import Deployment

TRIGGER = "alert:"


@dataclass(frozen=True, slots=True)
class FiringAlert:
    """An alert that fires for a service in an environment."""

    name: str
    severity: str
    since: float  # epoch seconds: since when its condition holds
    summary: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.summary}" if self.summary else self.name


def condemning(deployment: Deployment, firing: Sequence[FiringAlert]) -> str:
    """Why alerts condemn the version of this deployment; empty when they do not.

    One that fired before the deployment began is not its doing: else nobody could repair what is alerted.
    """
    wanted = {
        trigger.removeprefix(TRIGGER)
        for trigger in deployment.strategy.rollback_on
        if trigger.startswith(TRIGGER)
    }
    began = deployment.started_at if deployment.started_at is not None else deployment.requested_at
    for alert in firing:
        if alert.since >= began and not wanted.isdisjoint((alert.name, alert.severity)):
            return f"the {alert.severity or 'unranked'} alert {alert} fires"
    return ""
