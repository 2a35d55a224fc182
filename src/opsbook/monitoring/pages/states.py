"""Alerts as people look at them: one state, one word, one sentence. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from opsbook.monitoring.alerting.model import PUSHED, Suppression
from opsbook.monitoring.alerting.room import AlertView

Look = Literal["ok", "running", "warning", "critical", "unknown", "paused"]
State = Literal["firing", "pending", "silenced", "inhibited", "resolved"]
STATES: tuple[State, ...] = ("firing", "pending", "silenced", "inhibited")
_SEVERITIES = ("critical", "warning", "info")
_LOOKS: Mapping[str, Look] = {"critical": "critical", "warning": "warning", "info": "running"}
_AROUND = frozenset({"alertname", "severity", "environment", "service"})


@dataclass(frozen=True, slots=True)
class Condition:
    """How something is: the shape and colour, and the word."""

    state: Look
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An alert as it stands in a list.

    Args:
        since: epoch seconds. fires_at: when a pending one will fire.
        value: what the expression gave; None: it is not known.
        why: why it is not told, one sentence each.
    """

    fingerprint: str
    name: str
    state: State
    severity: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    since: float
    fires_at: float | None = None
    value: float | None = None
    expression: str = ""
    held_for: float = 0.0
    where: str = ""
    source: str = ""
    missing_since: float | None = None
    why: tuple[Suppression, ...] = ()
    channels: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    pushed: bool = False
    runbook: str = ""

    @property
    def condition(self) -> Condition:
        if self.state == "pending":
            return Condition("running", "pending")
        if self.state in ("silenced", "inhibited"):
            return Condition("paused", self.state)
        if self.state == "resolved":
            return Condition("ok", "resolved")
        return Condition(_LOOKS.get(self.severity, "warning"), self.severity or "firing")

    @property
    def environment(self) -> str:
        return self.labels.get("environment", "")

    @property
    def service(self) -> str:
        return self.labels.get("service", "")

    @property
    def place(self) -> str:
        """What it is about, as short as can be."""
        about = "/".join(part for part in (self.environment, self.service) if part)
        return about or self.labels.get("host") or self.labels.get("probe") or self.labels.get("instance", "")

    @property
    def sentence(self) -> str:
        """What is wrong."""
        return self.annotations.get("summary") or self.annotations.get("description") or self.name

    @property
    def description(self) -> str:
        """What is said beyond the sentence."""
        found = self.annotations.get("description", "")
        return "" if found == self.sentence else found

    @property
    def others(self) -> list[tuple[str, str]]:
        """The labels that nothing else says."""
        return sorted((name, value) for name, value in self.labels.items() if name not in _AROUND)

    @property
    def rank(self) -> tuple[Any, ...]:
        """The worst first."""
        severity = _SEVERITIES.index(self.severity) if self.severity in _SEVERITIES else len(_SEVERITIES)
        order = (*STATES, "resolved").index(self.state)
        return order, severity, self.since, self.name, self.fingerprint


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to; stands in the address."""

    state: str = ""
    text: str = ""
    environment: str = ""
    severity: str = ""
    counted: dict[str, int] = field(default_factory=dict, compare=False)

    def fits(self, alert: Shown) -> bool:
        """All but the state."""
        if self.environment and alert.environment != self.environment:
            return False
        if self.severity and alert.severity != self.severity:
            return False
        if not self.text:
            return True
        said = " ".join(
            (alert.name, alert.sentence, *(f'{k}="{v}" {k}={v}' for k, v in alert.labels.items()))
        )
        return all(word in said.lower() for word in self.text.lower().split())


def shown_alerts(rules: Iterable[Mapping[str, Any]], known: Iterable[AlertView]) -> tuple[Shown, ...]:
    """Every alert that is pending or firing, the worst first.

    Args:
        rules: what rules find (`RulesView.alerts`).
        known: what alerting knows; of what was pushed, only it does.
    """
    views = {view.alert.fingerprint: view for view in known}
    found = [_of_rule(one, views.get(str(one["fingerprint"]))) for one in rules]
    found += [
        of_view(view)
        for view in views.values()
        if view.alert.source == PUSHED and view.state in ("firing", "suppressed")
    ]
    return tuple(sorted(found, key=lambda one: one.rank))


def _of_rule(one: Mapping[str, Any], view: AlertView | None) -> Shown:
    why = view.suppressions if view is not None else ()
    return Shown(
        fingerprint=str(one["fingerprint"]),
        name=str(one["name"]),
        state="pending" if one["state"] == "pending" else _quiet(why),
        severity=str(one["severity"]),
        labels=one["labels"],
        annotations=one["annotations"],
        since=float(one["since"]),
        fires_at=one["fires_at"],
        value=_number(one["value"]),
        expression=str(one["expression"]),
        held_for=float(one["for"]),
        where=str(one["where"]),
        source=str(one["source"]),
        missing_since=one["missing_since"],
        why=why,
        channels=view.channels if view is not None else (),
        told=view.told if view is not None else (),
        runbook=str(one["runbook"] or ""),
    )


def of_view(view: AlertView) -> Shown:
    """An alert of which only alerting knows: it was pushed, or has ended."""
    alert = view.alert
    return Shown(
        fingerprint=alert.fingerprint,
        name=alert.name,
        state="resolved" if view.state == "resolved" else _quiet(view.suppressions),
        severity=alert.severity,
        labels=alert.labels,
        annotations=alert.annotations,
        since=alert.starts_at,
        value=_number(alert.value),
        why=view.suppressions,
        channels=view.channels,
        told=view.told,
        pushed=alert.source == PUSHED,
        runbook=alert.annotations.get("runbook", ""),
    )


def _quiet(why: Iterable[Suppression]) -> State:
    kinds = {one.kind for one in why}
    if "silence" in kinds:
        return "silenced"
    return "inhibited" if kinds else "firing"


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(found) else found
