"""When alerts fired, from the journal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opsbook.journal import Event
from opsbook.monitoring.pages.states import Condition, Shown

KINDS = ("alert.firing", "alert.resolved")
_LOOKS = {"critical": "critical", "warning": "warning", "info": "running"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """From when until when an alert fired.

    Args:
        since, until: epoch seconds; `until` None: it fires still, `since` None: it is not known any more.
        reason: why it ended.
    """

    id: int
    fingerprint: str
    name: str
    subject: str
    severity: str
    summary: str
    value: Any
    since: float | None
    until: float | None
    reason: str = ""

    @property
    def seconds(self) -> float | None:
        return None if self.since is None or self.until is None else self.until - self.since

    @property
    def condition(self) -> Condition:
        if self.until is not None:
            return Condition("ok", "resolved")
        return Condition(_LOOKS.get(self.severity, "warning"), "firing")  # type: ignore[arg-type]  # looks


def spells(newest: Iterable[Event]) -> list[Spell]:
    """The spells that `newest`, events of `KINDS`, the newest first, tell of; the latest first."""
    found: list[Spell] = []
    ended: dict[str, int] = {}  # by fingerprint: where in `found` the spell is whose beginning comes next
    for event in newest:
        fingerprint = str(event.data.get("fingerprint", ""))
        if event.kind == "alert.resolved":
            began = event.data.get("fired_at")
            ended[fingerprint] = len(found)
            found.append(_spell(event, None if began is None else float(began), event.at))
        elif fingerprint in ended:
            ended.pop(fingerprint)  # its end has told of it
        else:
            found.append(_spell(event, event.at, None))
    return found


def _spell(event: Event, since: float | None, until: float | None) -> Spell:
    data = event.data
    annotations = data.get("annotations") or {}
    return Spell(
        id=event.id,
        fingerprint=str(data.get("fingerprint", "")),
        name=str(data.get("alertname", "alert")),
        subject=event.subject,
        severity=str(data.get("severity", "")),
        summary=str(annotations.get("summary") or annotations.get("description") or ""),
        value=data.get("value"),
        since=since,
        until=until,
        reason=str(data.get("reason", "")) if event.kind == "alert.resolved" else "",
    )


def remembered(event: Event) -> Shown:
    """An alert that does not fire any more, as its last event tells of it."""
    data: Mapping[str, Any] = event.data
    value = data.get("value")
    return Shown(
        fingerprint=str(data.get("fingerprint", "")),
        name=str(data.get("alertname", "alert")),
        state="resolved",
        severity=str(data.get("severity", "")),
        labels=dict(data.get("labels") or {}),
        annotations=dict(data.get("annotations") or {}),
        since=event.at,
        value=float(value) if isinstance(value, int | float) else None,
        expression=str(data.get("expression", "")),
        source=str(data.get("source", "")),
        runbook=str(data.get("runbook") or ""),
    )
