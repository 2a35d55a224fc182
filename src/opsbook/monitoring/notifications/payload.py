"""The body of webhooks: Alertmanager's, version 4, with what opsbook knows beyond it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from opsbook.monitoring.alerting.model import Alert, GroupMessage, Notification, Status

NEVER = "0001-01-01T00:00:00Z"
"""How Go writes the end of what has not ended."""


def payload(notification: Notification, *, url: str) -> dict[str, Any]:
    """The JSON of one notification; of a bundle, all of its groups' alerts.

    Args:
        url: of this opsbook; may be empty.
    """
    alerts = _alerts(notification.groups)
    groups = notification.groups
    return {
        "version": "4",
        "groupKey": groups[0].key if len(groups) == 1 else f"bundle:{notification.id}",
        "status": notification.status,
        "receiver": notification.channel,
        "groupLabels": dict(groups[0].labels) if len(groups) == 1 else common(g.labels for g in groups),
        "commonLabels": common(alert["labels"] for alert in alerts),
        "commonAnnotations": common(alert["annotations"] for alert in alerts),
        "externalURL": url,
        "truncatedAlerts": 0,
        "alerts": alerts,
        "opsbook": {
            "id": notification.id,
            "decidedAt": rfc3339(notification.at),
            **({} if notification.words is None else {"page": asdict(notification.words)}),
            "groups": [
                {
                    "groupKey": group.key,
                    "groupLabels": dict(group.labels),
                    "status": group.status,
                    "reminder": group.reminder,
                    "firing": [alert.fingerprint for alert in group.firing],
                    "resolved": [alert.fingerprint for alert in group.resolved],
                    "suppressed": group.others,
                }
                for group in groups
            ],
        },
    }


def _alerts(groups: Iterable[GroupMessage]) -> list[dict[str, Any]]:
    found = []
    for group in groups:
        found += [alert_json(alert, "firing") for alert in group.firing]
        found += [alert_json(alert, "resolved") for alert in group.resolved]
    return found


def alert_json(alert: Alert, status: Status) -> dict[str, Any]:
    """One alert as Alertmanager's webhooks have it, and its value."""
    ends = alert.ends_at if status == "resolved" else None
    return {
        "status": status,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": NEVER if ends is None else rfc3339(ends),
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
        "value": alert.value if alert.value is not None and math.isfinite(alert.value) else None,
    }


def common(mappings: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """What all of them have alike."""
    every = list(mappings)
    if not every:
        return {}
    found = dict(every[0])
    for other in every[1:]:
        found = {key: value for key, value in found.items() if other.get(key) == value}
    return found


def rfc3339(at: float) -> str:
    """Epoch seconds as ``2026-11-21T06:28:18.450Z``."""
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return NEVER
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
