"""What people do about an incident, and what becomes of it then. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from opsbook.errors import Conflict, Invalid
from opsbook.response.incidents.model import ROLES, Incident, Severity, Update, worse
from opsbook.response.incidents.plan import (
    Changed,
    Note,
    Rules,
    change_note,
    next_update,
    opening,
    refuse_unless_open,
    refuse_when_merged,
    state_note,
    touched,
)
from opsbook.response.incidents.text import line, slug_of


def declared(
    number: int, title: str, severity: Severity, environment: str, services: Sequence[str], escalation: str,
    actor: str, rules: Rules, now: float,
) -> Changed:  # fmt: skip
    """An incident by a person. Raises Invalid without a title."""
    said = line(title)
    if not said:
        raise Invalid(
            "what is the matter? An incident needs a title", hint='opsbook incidents declare "TITLE"'
        )
    incident = Incident(
        id=f"inc-{number}", title=said, slug=slug_of(said), severity=severity, state="active",
        environment=environment, services=tuple(services), started_at=now, detected_at=now, declared_at=now,
        declared_by=actor, escalation=escalation, next_update_at=next_update(severity, rules, now),
    )  # fmt: skip
    return Changed(incident, (opening(incident),))


def acknowledged(incident: Incident, actor: str, now: float) -> Changed:
    """Somebody has it; the first one counts. Raises Conflict when it is over."""
    refuse_unless_open(incident, "acknowledged")
    if incident.acknowledged_at is not None:
        return Changed(incident)
    at = max(now, incident.declared_at)
    after = incident.but(
        acknowledged_at=at,
        acknowledged_by=actor,
        answered_at=at if incident.answered_at is None else incident.answered_at,
    )
    after, notes = touched(after, "somebody has it")
    return Changed(after, (Note("acknowledged", {"seconds": round(at - incident.declared_at, 3)}), *notes))


def noted(incident: Incident, text: str, *, by_person: bool = True) -> Changed:
    """What was seen, tried or decided. A person's words keep it from ending by itself. Raises Invalid, Conflict."""
    refuse_when_merged(incident)
    if not text.strip():
        raise Invalid("a note needs words", hint='opsbook note "what you saw"', where=incident.id)
    after, notes = touched(incident, "somebody looks at it") if by_person else (incident, ())
    return Changed(after, (Note("noted", {"text": text}), *notes))


def with_role(incident: Incident, role: str, contact: str) -> Changed:
    """Give a role to a contact; empty: to nobody. Raises Invalid, Conflict."""
    refuse_when_merged(incident)
    if role == "responder":
        if not contact or contact in incident.responders:
            return Changed(incident)
        after = incident.but(responders=(*incident.responders, contact))
        before = ", ".join(incident.responders)
    elif role in ROLES:
        before = getattr(incident, role)
        if before == contact:
            return Changed(incident)
        after = incident.but(**{role: contact})
    else:
        raise Invalid(f"there is no role {role}", hint=f"one of {', '.join((*ROLES, 'responder'))}")
    after, notes = touched(after, f"{contact or 'nobody'} is {role}")
    return Changed(after, (change_note(role, before, contact, ""), *notes))


def with_severity(incident: Incident, severity: Severity, reason: str, rules: Rules, now: float) -> Changed:
    """How bad it is, as a person says. Raises Conflict."""
    refuse_when_merged(incident)
    if severity == incident.severity:
        return Changed(incident)
    is_worse = severity == worse(severity, incident.severity)
    after = incident.but(
        severity=severity,
        next_update_at=next_update(severity, rules, now) if incident.open else None,
        escalation=(rules.chain_of(severity) if is_worse else "") or incident.escalation,
    )
    after, notes = touched(after, "somebody has said how bad it is")
    return Changed(after, (change_note("severity", incident.severity, severity, reason), *notes))


def told(incident: Incident, text: str, public: bool, actor: str, rules: Rules, now: float) -> Changed:
    """What people are told. Raises Invalid, Conflict."""
    refuse_when_merged(incident)
    said = text.strip()[:4000]
    if not said:
        raise Invalid("an update needs words", where=incident.id)
    update = Update(
        at=max(now, incident.declared_at), by=actor, text=said, state=incident.state, public=public
    )
    due = next_update(incident.severity, rules, now) if incident.open else None
    after, notes = touched(
        incident.but(updates=(*incident.updates, update), next_update_at=due), "people are told"
    )
    return Changed(after, (Note("updated", {"text": said, "public": public}), *notes))


def mitigated(incident: Incident, reason: str, now: float) -> Changed:
    """It does not hurt any more. Raises Conflict."""
    if incident.state == "mitigated":
        return Changed(incident)
    refuse_unless_open(incident, "mitigated")
    after = incident.but(state="mitigated", mitigated_at=max(now, incident.declared_at))
    return Changed(after, (state_note(incident, "mitigated", reason),))


def resolved(incident: Incident, reason: str, now: float) -> Changed:
    """It is over. Raises Conflict."""
    if incident.state in ("resolved", "postmortem"):
        return Changed(incident)
    refuse_unless_open(incident, "resolved")
    at = max(now, incident.declared_at)
    after = incident.but(
        state="resolved",
        resolved_at=at,
        mitigated_at=at if incident.mitigated_at is None else min(incident.mitigated_at, at),
        next_update_at=None,
    )
    return Changed(after, (state_note(incident, "resolved", reason),))


def reopened(incident: Incident, reason: str, rules: Rules, now: float) -> Changed:
    """It was not over. Raises Conflict."""
    refuse_when_merged(incident)
    if incident.open:
        return Changed(incident)
    after = incident.but(
        state="active", reopened=incident.reopened + 1, resolved_at=None, mitigated_at=None, closed_at=None,
        acknowledged_at=None, acknowledged_by="", self_resolved=False,
        next_update_at=next_update(incident.severity, rules, now),
    )  # fmt: skip
    return Changed(
        after,
        (
            Note("reopened", {"reason": reason, "times": after.reopened}),
            state_note(incident, "active", reason),
        ),
    )


def closed(incident: Incident, reason: str, now: float) -> Changed:
    """Nothing is left to be done about it. Raises Conflict when it is not over."""
    if incident.state == "closed":
        return Changed(incident)
    refuse_when_merged(incident)
    if incident.open:
        raise Conflict(
            f"{incident.id} is not over: it is {incident.state}", hint=f"opsbook resolve {incident.id}"
        )
    after = incident.but(state="closed", closed_at=max(now, incident.resolved_at or now))
    return Changed(after, (state_note(incident, "closed", reason),))


def merged(incident: Incident, into: Incident, rules: Rules) -> tuple[Changed, Changed]:
    """Both after `incident` has become a part of `into`: its alerts, services, runs and attachments go along.

    Raises:
        Conflict: one of them is over, or merged; or both are the same.
    """
    if incident.id == into.id:
        raise Conflict(f"{incident.id} cannot become a part of itself", where=incident.id)
    for one in (incident, into):
        refuse_unless_open(one, "merged")
    known = {one.fingerprint for one in into.alerts}
    gone = tuple(one for one in incident.alerts if one.fingerprint not in known)
    severity = worse(into.severity, incident.severity)
    after = into.but(
        alerts=(*into.alerts, *gone),
        services=tuple(dict.fromkeys((*into.services, *incident.services))),
        severity=severity,
        started_at=min(into.started_at, incident.started_at),
        detected_at=min(into.detected_at, incident.detected_at),
        responders=tuple(dict.fromkeys((*into.responders, *incident.responders))),
        runs=tuple(dict.fromkeys((*into.runs, *incident.runs))),
        merged=(*into.merged, incident.id, *incident.merged),
        runbook=into.runbook or incident.runbook,
        escalation=into.escalation or incident.escalation,
    )
    notes: tuple[Note, ...] = (change_note("merged", "", incident.id, incident.title),)
    if severity != into.severity:
        notes += (change_note("severity", into.severity, severity, f"{incident.id} is worse"),)
    if after.state == "mitigated" and after.firing:
        after = after.but(state="active", mitigated_at=None)
        notes += (state_note(into, "active", f"alerts of {incident.id} fire"),)
    part = incident.but(state="merged", merged_into=into.id, next_update_at=None)
    return (
        Changed(
            part,
            (
                Note("merged", {"into": into.id, "alerts": len(gone)}),
                state_note(incident, "merged", f"into {into.id}"),
            ),
        ),
        Changed(after, notes),
    )
