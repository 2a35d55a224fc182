"""What fires, as deployments ask for it: capabilities do not know each other, so the two meet here."""

from __future__ import annotations

from opsbook.deployment.alarms import FiringAlert
from opsbook.monitoring.rules.room import Rules


class Fires:
    """The alerts of one service; none until there are rules to look at."""

    def __init__(self) -> None:
        self._rules: Rules | None = None

    def watch(self, rules: Rules) -> None:
        """These are the rules."""
        self._rules = rules

    def of(self, environment: str, service: str) -> tuple[FiringAlert, ...]:
        """What fires for this service in this environment."""
        if self._rules is None:
            return ()
        return tuple(
            FiringAlert(
                name=rule.alert,
                severity=alert.labels.get("severity", ""),
                since=alert.active_at,
                summary=alert.annotations.get("summary", ""),
            )
            for _, rule, alert in self._rules.active()
            if alert.state == "firing"
            and alert.labels.get("service") == service
            and alert.labels.get("environment") == environment
        )
