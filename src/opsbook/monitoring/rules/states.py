"""The state of alerts: what is remembered of one from evaluation to evaluation, and how it is written down."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from opsbook.monitoring.alerting.model import fingerprint_of
from opsbook.promql.series import LabelKey, key_of

State = Literal["pending", "firing", "resolved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveAlert:
    """An alert that is pending or firing, or has just resolved. All times are epoch seconds.

    Args:
        labels: expanded, ``alertname`` included; what tells it from all others.
        annotations: expanded, as of the last evaluation that found it.
        value: what the expression gave then.
        state: resolved ones are kept only until they have been handed over.
        active_at: since when the condition holds.
        fired_at: since when it fires.
        keep_since: since when it fires only because of ``keep_firing_for``.
        missing_since: since when its data is missing, so that nothing is known of it.
        resolved_at: when it ended.
        reason: why it ended.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    value: float
    state: State
    active_at: float
    fired_at: float | None = None
    keep_since: float | None = None
    missing_since: float | None = None
    resolved_at: float | None = None
    reason: str = ""

    @property
    def key(self) -> LabelKey:
        return key_of(self.labels)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.labels)


Active: TypeAlias = Mapping[LabelKey, ActiveAlert]


def to_json(alert: ActiveAlert) -> dict[str, Any]:
    """What is written down."""
    return {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "value": number_to_json(alert.value),
        "state": alert.state,
        "active_at": alert.active_at,
        "fired_at": alert.fired_at,
        "keep_since": alert.keep_since,
        "missing_since": alert.missing_since,
        "resolved_at": alert.resolved_at,
        "reason": alert.reason,
    }


def from_json(document: Mapping[str, Any]) -> ActiveAlert:
    """What `to_json` wrote."""
    return ActiveAlert(**{**document, "value": float(document["value"])})


def number_to_json(value: float) -> float | str:
    """JSON has no infinities."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
