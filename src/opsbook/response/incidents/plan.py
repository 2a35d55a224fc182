"""What becomes of an incident, and why. Pure: from what is known and what came in to what is so now.

Alerts may come from anywhere, twice, late or in another order; clocks jump. So an alert is known by its fingerprint,
no time is before the one that it follows, and whatever is said twice changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from opsbook.errors import Conflict
from opsbook.response.incidents.model import Incident, IncidentAlert, Severity, worse
from opsbook.response.incidents.text import line, place_of, slug_of

_LABELS, _VALUE = 60, 300
_MOST_ALERTS = 500
_BELIEVED = 30 * 86_400.0  # an alert that says to be older does not know


class Heard(Protocol):
    """An alert as it comes in; `opsbook.monitoring.alerting.model.Alert` is one."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def annotations(self) -> Mapping[str, str]: ...
    @property
    def starts_at(self) -> float: ...
    @property
    def ends_at(self) -> float | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the handbook says; times in seconds.

    Args:
        severity_of: how bad an incident of this alert is.
        escalation_of: who is paged about it; empty: nobody.
        chain_of: who is paged about incidents so bad; empty: those who are paged about any.
        page_of: the page of the handbook that an alert means by what it says; empty: there is none.
        related: whether one service depends on the other, directly or not.
        update_every: how often people are told, by severity.
    """

    join_within: float
    settle: float
    severity_of: Callable[[Heard], Severity]
    escalation_of: Callable[[Heard, Severity], str]
    related: Callable[[str, str], bool]
    chain_of: Callable[[Severity], str] = lambda severity: ""
    page_of: Callable[[str], str] = lambda said: ""
    update_every: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Note:
    """An event to be written: its kind, and what it says beside the incident's id."""

    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changed:
    """An incident as it is now, and what happened to it; no notes: nothing."""

    incident: Incident
    notes: tuple[Note, ...] = ()


# --- alerts


def alert_of(heard: Heard, now: float = math.inf) -> IncidentAlert:
    """An alert as an incident keeps it: bounded, printable, and begun by now."""
    labels = {line(name, 60): line(value, _VALUE) for name, value in list(heard.labels.items())[:_LABELS]}
    said = heard.annotations
    return IncidentAlert(
        fingerprint=heard.fingerprint,
        labels=labels,
        summary=line(said.get("summary") or said.get("description") or "", _VALUE),
        runbook=line(said.get("runbook", ""), 120),
        started_at=min(heard.starts_at, now),
    )


def joins(incident: Incident, alert: IncidentAlert, rules: Rules, now: float) -> str:
    """Why an alert belongs to an open incident; empty: it does not."""
    if any(one.fingerprint == alert.fingerprint for one in incident.alerts):
        return "it is one of its alerts"
    if len(incident.alerts) >= _MOST_ALERTS:
        return ""  # rather another incident than an alert that nobody hears of
    if not incident.alerts and not incident.services:
        return ""  # somebody declared it without saying what it is about: nobody can tell
    if (
        now - max((one.started_at for one in incident.alerts), default=incident.declared_at)
        > rules.join_within
    ):
        return ""
    environment, service = (
        place_of(alert.labels.get("environment", "")),
        place_of(alert.labels.get("service", "")),
    )
    if environment != incident.environment:
        return ""
    if not service:
        host = alert.labels.get("host") or alert.labels.get("instance")
        same = any(
            host and host in (one.labels.get("host"), one.labels.get("instance")) for one in incident.alerts
        )
        if same:
            return f"it is about {host} too"
        # A switch goes and forty hosts fall silent: that is one trouble, and one person to be woken.
        alike = alert.name and any(
            one.name == alert.name and not one.labels.get("service") for one in incident.alerts
        )
        return f"{alert.name} fires in several places" if alike else ""
    for other in incident.services:
        if service == other:
            return f"it is about {service} too"
        if rules.related(service, other):
            return f"{service} and {other} are of one tree"
    return ""


def opened(number: int, alert: IncidentAlert, heard: Heard, rules: Rules, now: float) -> Changed:
    """An incident by an alert."""
    severity = rules.severity_of(heard)
    service = place_of(alert.labels.get("service", ""))
    started = alert.started_at if now - _BELIEVED <= alert.started_at <= now else now
    title = line(
        alert.summary or " ".join(one for one in (alert.name, service) if one) or "an alert without a name"
    )
    incident = Incident(
        id=f"inc-{number}",
        title=title,
        slug=slug_of(f"{service} {alert.name}" if alert.name else title),
        severity=severity,
        state="triage",
        environment=place_of(alert.labels.get("environment", "")),
        services=(service,) if service else (),
        runbook=rules.page_of(alert.runbook),
        started_at=started,
        detected_at=started,
        declared_at=now,
        declared_by="opsbook",
        alerts=(alert,),
        escalation=rules.escalation_of(heard, severity),
        next_update_at=next_update(severity, rules, now),
    )
    return Changed(incident, (opening(incident),))


def joined(
    incident: Incident, alert: IncidentAlert, heard: Heard, why: str, rules: Rules, now: float
) -> Changed:
    """An alert that belongs to it: a new one, or one that fires again."""
    known = next((one for one in incident.alerts if one.fingerprint == alert.fingerprint), None)
    if known is not None and known.ended_at is None:
        return Changed(incident)  # heard before
    others = tuple(one for one in incident.alerts if one.fingerprint != alert.fingerprint)
    service = place_of(alert.labels.get("service", ""))
    services = incident.services + ((service,) if service and service not in incident.services else ())
    severity = worse(incident.severity, rules.severity_of(heard))
    notes = [
        Note(
            "joined",
            {
                "alert": alert.name, "fingerprint": alert.fingerprint, "labels": dict(alert.labels),
                "why": "it fires again" if known is not None else why,
            },
        )
    ]  # fmt: skip
    if severity != incident.severity:
        notes.append(change_note("severity", incident.severity, severity, f"{alert.name} is worse"))
    started = (
        min(incident.started_at, max(alert.started_at, now - rules.join_within))
        if known is None
        else incident.started_at
    )
    after = incident.but(
        alerts=(*others, alert),
        services=services,
        severity=severity,
        started_at=started,
        runbook=incident.runbook or rules.page_of(alert.runbook),
        escalation=_chain(incident, heard, severity, rules),
    )
    if incident.state == "mitigated":
        after = after.but(state="active", mitigated_at=None)
        notes.append(
            state_note(incident, "active", f"{alert.name} fires again" if known else f"{alert.name} fires")
        )
    return Changed(after, tuple(notes))


def _chain(incident: Incident, heard: Heard, severity: Severity, rules: Rules) -> str:
    """Who is paged about it from now on: what is worse may be others' business."""
    if incident.escalation and severity == incident.severity:
        return incident.escalation
    return rules.escalation_of(heard, severity) or incident.escalation


def ended(incident: Incident, fingerprint: str, at: float, now: float) -> Changed:
    """One of its alerts is over."""
    known = next((one for one in incident.alerts if one.fingerprint == fingerprint), None)
    if known is None or known.ended_at is not None:
        return Changed(incident)
    over = IncidentAlert(
        known.fingerprint, known.labels, known.summary, known.runbook, known.started_at,
        min(max(at, known.started_at), max(now, known.started_at)),
    )  # fmt: skip
    alerts = tuple(over if one is known else one for one in incident.alerts)
    after = incident.but(alerts=alerts)
    notes = [
        Note("alert_ended", {"alert": known.name, "fingerprint": fingerprint, "left": len(after.firing)})
    ]
    if not after.firing and after.state == "active":
        last = max(one.ended_at or now for one in alerts)
        after = after.but(state="mitigated", mitigated_at=max(last, after.declared_at))
        notes.append(state_note(incident, "mitigated", "none of its alerts fires any more", by_itself=True))
    return Changed(after, tuple(notes))


def settles_at(incident: Incident, rules: Rules) -> float | None:
    """When an incident that nobody has touched ends by itself; None: it does not."""
    if incident.state != "triage" or not incident.alerts or incident.firing:
        return None
    return max(one.ended_at or 0.0 for one in incident.alerts) + rules.settle


def settled(incident: Incident, now: float) -> Changed:
    """It is over, and nobody has touched it."""
    last = max(*(one.ended_at or 0.0 for one in incident.alerts), incident.declared_at)
    after = incident.but(
        state="resolved",
        mitigated_at=last,
        resolved_at=max(now, last),
        self_resolved=True,
        next_update_at=None,
    )
    return Changed(
        after,
        (state_note(incident, "resolved", "its alerts ended before anybody did anything", by_itself=True),),
    )


def began(changed: Changed, at: float) -> Changed:
    """It is known now that it hurt since then; never later than was known before."""
    incident = changed.incident
    if not incident.declared_at - _BELIEVED <= at < incident.started_at:
        return changed
    notes = tuple(
        Note(one.kind, {**one.data, "started_at": at}) if one.kind == "opened" else one
        for one in changed.notes
    )
    return Changed(incident.but(started_at=at), notes)


# --- what several have in common


def opening(incident: Incident) -> Note:
    return Note(
        "opened",
        {
            "title": incident.title, "severity": incident.severity, "services": list(incident.services),
            "alerts": [one.name for one in incident.alerts], "started_at": incident.started_at,
            "escalation": incident.escalation,
        },
    )  # fmt: skip


def touched(incident: Incident, reason: str) -> tuple[Incident, tuple[Note, ...]]:
    """Somebody cares: it does not end by itself any more."""
    if incident.state != "triage":
        return incident, ()
    state: Any = "active" if incident.firing or not incident.alerts else "mitigated"
    at = max((one.ended_at or 0.0 for one in incident.alerts), default=0.0) if state == "mitigated" else None
    after = incident.but(state=state, mitigated_at=None if at is None else max(at, incident.declared_at))
    return after, (state_note(incident, state, reason),)


def refuse_unless_open(incident: Incident, verb: str) -> None:
    if not incident.open:
        where = f" into {incident.merged_into}" if incident.merged_into else ""
        raise Conflict(
            f"{incident.id} cannot be {verb}: it is {incident.state}{where}",
            hint=f"opsbook incidents show {incident.merged_into or incident.id}",
            where=incident.id,
        )


def refuse_when_merged(incident: Incident) -> None:
    """Raises Conflict: what is a part of another is changed there."""
    if incident.state == "merged":
        raise Conflict(
            f"{incident.id} is a part of {incident.merged_into}",
            hint=f"opsbook incidents show {incident.merged_into}",
            where=incident.id,
        )


def next_update(severity: str, rules: Rules, now: float) -> float | None:
    every = rules.update_every.get(severity)
    return None if not every else now + every


def state_note(before: Incident, state: str, reason: str, *, by_itself: bool = False) -> Note:
    return Note(
        "state",
        {"state": state, "before": before.state, "reason": line(reason, 2000), "by_itself": by_itself},
    )


def change_note(what: str, before: str, after: str, reason: str) -> Note:
    return Note("changed", {"what": what, "before": before, "after": after, "reason": line(reason, 2000)})


def newest_first(incidents: Iterable[Incident]) -> list[Incident]:
    """By their numbers: times may be wrong."""
    return sorted(incidents, key=lambda one: -int(one.id.removeprefix("inc-")))
