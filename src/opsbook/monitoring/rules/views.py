"""Rules and alerts as others look at them: in Prometheus' shape for its API, and as people ask for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from opsbook.monitoring.rules.evaluator import AnyRunning, RunningGroup
from opsbook.monitoring.rules.model import AlertingRule, RuleGroup
from opsbook.monitoring.rules.remembering import runbook_of
from opsbook.monitoring.rules.room import Rules
from opsbook.monitoring.rules.states import ActiveAlert, number_to_json
from opsbook.monitoring.templating.printing import shortest

SEVERITIES = ("critical", "warning", "info", "")
Told = Callable[[str], Mapping[str, Any]]  # by fingerprint: silenced_by, inhibited_by


def _nothing(fingerprint: str) -> Mapping[str, Any]:
    del fingerprint
    return {}


class RulesView:
    """What `/prometheus/api/v1/rules` and `/alerts`, and the routes of monitoring, answer.

    Args:
        rules: the room.
        told: what alerting makes of an alert: ``{"silenced_by": [...], "inhibited_by": [...]}``, by fingerprint.
    """

    def __init__(self, rules: Rules, told: Told = _nothing) -> None:
        self._rules = rules
        self._told = told

    def rules_json(self) -> dict[str, Any]:
        """``data`` of ``/api/v1/rules``."""
        return {"groups": [_group(running) for running in self._rules.groups]}

    def alerts_json(self) -> dict[str, Any]:
        """``data`` of ``/api/v1/alerts``."""
        return {"alerts": [_alert(alert) for _, _, alert in self._rules.active()]}

    def alerts(self, *, visible: Collection[str] | None = None, pending: bool = True) -> list[dict[str, Any]]:
        """The alerts as people ask for them, worst first.

        Args:
            visible: the environments that may be seen; None: all, and what is about no environment too.
            pending: those that do not fire yet, too.
        """
        found = [
            self._told_of(group, rule, alert)
            for group, rule, alert in self._rules.active()
            if (visible is None or alert.labels.get("environment") in visible)
            and (pending or alert.state == "firing")
        ]
        return sorted(found, key=_worst_first)

    def _told_of(self, group: RuleGroup, rule: AlertingRule, alert: ActiveAlert) -> dict[str, Any]:
        return {
            "name": rule.alert,
            "fingerprint": alert.fingerprint,
            "state": alert.state,
            "severity": alert.labels.get("severity", ""),
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "since": alert.active_at,
            "fired_at": alert.fired_at,
            "fires_at": alert.active_at + rule.for_ if alert.state == "pending" else None,
            "missing_since": alert.missing_since,
            "value": number_to_json(alert.value),
            "expression": rule.expr,
            "for": rule.for_,
            "runbook": runbook_of(alert.annotations),
            "source": group.source,
            "where": rule.where,
            "silenced_by": [],
            "inhibited_by": [],
            **self._told(alert.fingerprint),
        }


def _worst_first(alert: Mapping[str, Any]) -> tuple[Any, ...]:
    severity = alert["severity"]
    quiet = bool(alert["silenced_by"] or alert["inhibited_by"])
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
    return alert["state"] != "firing", quiet, rank, alert["since"], alert["name"], alert["fingerprint"]


def _group(running: RunningGroup) -> dict[str, Any]:
    group = running.group
    return {
        "name": group.name,
        "file": group.source,
        "interval": group.interval or 0,
        "limit": group.limit,
        "rules": list(_rules(running)),
        "evaluationTime": running.seconds,
        "lastEvaluation": _moment(running.at or 0.0),
    }


def _rules(running: RunningGroup) -> Iterator[dict[str, Any]]:
    for rule in running.rules:
        if isinstance(rule.rule, AlertingRule):
            yield _alerting(rule, rule.rule)
        else:
            yield {"name": rule.rule.name, "query": rule.rule.expr, "labels": dict(rule.labels)} | _ran(
                rule, "recording"
            )


def _alerting(running: AnyRunning, rule: AlertingRule) -> dict[str, Any]:
    active = list(running.active.values())
    states = {alert.state for alert in active}
    return {
        "state": "firing" if "firing" in states else "pending" if states else "inactive",
        "name": rule.alert,
        "query": rule.expr,
        "duration": rule.for_,
        "keepFiringFor": rule.keep_firing_for,
        "labels": dict(running.labels),
        "annotations": dict(rule.annotations),
        "alerts": [_alert(alert) for alert in active],
    } | _ran(running, "alerting")


def _ran(running: AnyRunning, kind: str) -> dict[str, Any]:
    health = running.health
    told: dict[str, Any] = {"health": health.state, "evaluationTime": health.seconds}
    if health.error:
        told["lastError"] = health.error
    return told | {"lastEvaluation": _moment(health.at), "type": kind}


def _alert(alert: ActiveAlert) -> dict[str, Any]:
    told = {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "state": alert.state,
        "activeAt": _moment(alert.active_at),
        "value": shortest(alert.value),
    }
    return told if alert.keep_since is None else told | {"keepFiringSince": _moment(alert.keep_since)}


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
