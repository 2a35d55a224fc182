"""Which alerts fire, of the service and of what it stands on."""

from __future__ import annotations

from opsbook.monitoring.alerting.model import Alert
from opsbook.response.diagnosis.model import Check, Clue
from opsbook.response.diagnosis.plan import span
from opsbook.response.diagnosis.scene import Scene
from opsbook.response.diagnosis.words import counted

NAME, TITLE = "alerts", "alerts that fire"
_ABOUT = {
    "DiskFull": ("disk-full",),
    "DiskFullSoon": ("disk-full",),
    "HostHighCpuUsage": ("high-cpu",),
    "HostHighMemoryUsage": ("high-memory",),
}


def look(scene: Scene) -> Check:
    own, others = scene.own_alerts, scene.host_alerts
    lines = [line(alert, scene.now) for alert in (*own, *others)]
    clues = tuple(_clue(alert) for alert in others)
    if not own:
        text = f"none of {scene.service or 'the machines'}" + (
            f", {counted(len(others), 'other')}" if others else ""
        )
        return Check(name=NAME, title=TITLE, state="ok", text=text, lines=tuple(lines), clues=clues)
    first = own[0]
    return Check(
        name=NAME,
        title=TITLE,
        state="failed" if first.severity == "critical" else "warning",
        text=f"{counted(len(own), 'alert')} of {scene.service or 'the machines'}"
        + (f", {len(others)} of others" if others else ""),
        lines=tuple(lines),
        symptom=said(first),
        since=min(alert.starts_at for alert in own if alert.severity == first.severity),
        clues=clues,
        runbooks=_ABOUT.get(first.name, ()),
    )


def said(alert: Alert) -> str:
    """Its summary, or its name."""
    return alert.annotations.get("summary") or alert.name or "an alert without a name"


def line(alert: Alert, now: float) -> str:
    """An alert in a line."""
    return (
        f"{alert.severity or 'alert'} {alert.name} for {span(max(0.0, now - alert.starts_at))}: {said(alert)}"
    )


def _clue(alert: Alert) -> Clue:
    place = alert.labels.get("host") or alert.labels.get("instance") or alert.name
    return Clue(
        key=f"host:{alert.fingerprint}",
        kind="host",
        subject=place,
        text=said(alert),
        why=f"{alert.name} fires",
        weight=0.7 if alert.severity == "critical" else 0.45,
        at=alert.starts_at,
        lasting=True,
        runbooks=_ABOUT.get(alert.name, ()),
    )
