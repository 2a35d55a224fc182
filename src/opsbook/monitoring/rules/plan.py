"""What becomes of the alerts of a rule at one evaluation: pure.

The rules are Prometheus', with one more: an alert whose data is *missing* is neither resolved nor promoted. Whether
data is missing or the condition has ended is decided by `opsbook.monitoring.rules.missing`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from opsbook.monitoring.rules.model import AlertingRule
from opsbook.monitoring.rules.states import Active, ActiveAlert
from opsbook.promql.series import LabelKey

ENDED = "the condition does not hold any more"
REMOVED = "the rule is not there any more"


@dataclass(frozen=True, slots=True)
class Found:
    """A series that the rule's expression gave, with its labels and annotations expanded."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one evaluation.

    Args:
        active: all that are pending or firing now.
        fired: those that began to fire just now.
        resolved: those that fired and do not any more.
        changed: what must be remembered anew: the keys whose state differs in more than value and annotations.
    """

    active: Active
    fired: tuple[ActiveAlert, ...] = ()
    resolved: tuple[ActiveAlert, ...] = ()
    changed: frozenset[LabelKey] = frozenset()


def advance(
    rule: AlertingRule,
    before: Active,
    found: Mapping[LabelKey, Found],
    at: float,
    *,
    missing: Collection[LabelKey] = (),
) -> Step:
    """The next state of all alerts of `rule`.

    Args:
        before: those that were pending or firing.
        found: what the expression gave at `at`, by labels.
        at: the time of the evaluation, epoch seconds.
        missing: those of `before` of which nothing can be said, because their data did not come.
    """
    active: dict[LabelKey, ActiveAlert] = {}
    resolved: list[ActiveAlert] = []
    for key, series in found.items():
        active[key] = _held(rule, before.get(key), series, at)
    for key, alert in before.items():
        if key in found:
            continue
        if key in missing:
            since = alert.missing_since
            active[key] = replace(alert, missing_since=at if since is None else since)
        elif (kept := _kept(rule, alert, at)) is not None:
            active[key] = kept
        elif alert.state == "firing":
            resolved.append(_resolved(alert, at, ENDED))
    fired = tuple(
        alert
        for key, alert in active.items()
        if alert.state == "firing" and (key not in before or before[key].state != "firing")
    )
    return Step(active, fired, tuple(resolved), _changed(before, active))


def removed(before: Active, at: float) -> Step:
    """The rule has left the handbook: what fired is resolved, what was pending is forgotten."""
    resolved = tuple(_resolved(alert, at, REMOVED) for alert in before.values() if alert.state == "firing")
    return Step({}, (), resolved, frozenset(before))


def resumed(active: Active, paused: float, tolerance: float) -> Active:
    """Alerts after nothing was evaluated for `paused` seconds.

    What fired goes on firing. What was pending goes on, too, but a pause longer than `tolerance` does not count as time
    in which the condition held, for nobody looked.
    """
    if paused <= tolerance:
        return active
    return {
        key: replace(alert, active_at=alert.active_at + paused) if alert.state == "pending" else alert
        for key, alert in active.items()
    }


def _held(rule: AlertingRule, before: ActiveAlert | None, found: Found, at: float) -> ActiveAlert:
    """An alert whose condition holds."""
    if before is None:
        before = ActiveAlert(
            labels=found.labels,
            annotations=found.annotations,
            value=found.value,
            state="pending",
            active_at=at,
        )
    alert = replace(
        before, annotations=found.annotations, value=found.value, keep_since=None, missing_since=None
    )
    # To the millisecond: 1700000010.2 - 1700000000.2 is 9.999999761581421.
    if alert.state == "pending" and round(at - alert.active_at, 3) >= rule.for_:
        alert = replace(alert, state="firing", fired_at=at)
    return alert


def _kept(rule: AlertingRule, alert: ActiveAlert, at: float) -> ActiveAlert | None:
    """An alert whose condition has ended, while it is to go on firing."""
    if alert.state != "firing" or not rule.keep_firing_for:
        return None
    since = at if alert.keep_since is None else alert.keep_since
    if round(at - since, 3) >= rule.keep_firing_for:
        return None
    return replace(alert, keep_since=since, missing_since=None)


def _resolved(alert: ActiveAlert, at: float, reason: str) -> ActiveAlert:
    return replace(alert, state="resolved", resolved_at=at, reason=reason)


def _changed(before: Active, after: Active) -> frozenset[LabelKey]:
    keys = {key for key, alert in after.items() if key not in before or _exact(alert) != _exact(before[key])}
    return frozenset(keys | (before.keys() - after.keys()))


def _exact(alert: ActiveAlert) -> tuple[object, ...]:
    return alert.state, alert.active_at, alert.fired_at, alert.keep_since, alert.missing_since
