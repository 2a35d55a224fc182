"""What is heard of an alert, joined with what was known of it: pure."""

from __future__ import annotations

from dataclasses import replace

from opsbook.monitoring.alerting.model import PUSHED, RULES, Alert, Record


def merged(old: Record | None, alert: Alert, now: float, *, resolve_timeout: float) -> Record | None:
    """The record after `alert` was heard of; None when nothing is to be kept of it.

    A spell of firing goes on as long as one message follows the other before its end. An end of what nobody has
    heard of is forgotten: there is nobody to tell it to.

    Args:
        resolve_timeout: seconds after which a pushed alert without an end has ended, as in Alertmanager.
    """
    alert = _with_times(alert, now, resolve_timeout)
    if old is None:
        return Record(alert, now, now) if alert.firing(now) else None
    if not old.firing(now):
        return Record(alert, now, now) if alert.firing(now) else old
    if old.alert.source == RULES and alert.source == PUSHED:
        return old  # our own rule knows better than who pushes an alert of the same labels
    starts_at = min(old.alert.starts_at, alert.starts_at)
    ends_at = alert.ends_at
    if ends_at is not None and ends_at > now and old.alert.ends_at is not None:
        ends_at = max(ends_at, old.alert.ends_at)  # an earlier deadline that was pushed late
    if not alert.firing(now):
        # What it said while it fired is what its end is told with: a resolved alert is often sent without words.
        alert = replace(
            alert,
            annotations=alert.annotations or old.alert.annotations,
            value=alert.value if alert.value is not None else old.alert.value,
            actions=alert.actions or old.alert.actions,
        )
    alert = replace(alert, starts_at=starts_at, ends_at=ends_at)
    if alert == old.alert:
        return old
    return Record(alert, old.received_at, now)


def kept_alive(record: Record, now: float, grace: float) -> Record:
    """A record as it is read after a restart.

    Who pushes alerts says again and again that they fire. While opsbook was down it could not hear that: a deadline
    that has passed meanwhile is put off, so that silence of our own making does not count as an end.
    """
    ends_at = record.alert.ends_at
    was_deadline = ends_at is not None and ends_at > record.updated_at
    if record.alert.source != PUSHED or ends_at is None or not was_deadline or ends_at >= now + grace:
        return record
    return replace(record, alert=replace(record.alert, ends_at=now + grace), updated_at=now)


def _with_times(alert: Alert, now: float, resolve_timeout: float) -> Alert:
    starts_at, ends_at = alert.starts_at, alert.ends_at
    if not starts_at:
        starts_at = now if ends_at is None else min(now, ends_at)
    if ends_at is None and alert.source == PUSHED:
        ends_at = now + resolve_timeout
    if ends_at is not None and starts_at > ends_at:
        starts_at = ends_at
    if (starts_at, ends_at) == (alert.starts_at, alert.ends_at):
        return alert
    return replace(alert, starts_at=starts_at, ends_at=ends_at)
