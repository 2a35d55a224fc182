"""What a post-mortem says, part by part: an incident's facts as words for the templates. Pure.

Everything in here that is not `Markdown` is escaped when a template puts it in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from opsbook.response.incidents.model import Incident
from opsbook.response.postmortems.lesson import failed_step
from opsbook.response.postmortems.markdown import Markdown, escaped, fenced
from opsbook.response.postmortems.model import Impact, Lesson, ServiceImpact
from opsbook.response.runbooks.model import Run
from opsbook.terminal.quantities import duration, share

ROWS = 80  # of the timeline: the first and the last of them when there are more
SUSPECTS = 5
ALERTS = 12
PATCH = 12_000  # characters of a proposed change that the page shows
DASH = "–"


class Moment(Protocol):
    """One row of the timeline. `kind`: of its event, such as ``deployment.succeeded``."""

    @property
    def at(self) -> float: ...

    @property
    def kind(self) -> str: ...

    @property
    def text(self) -> str: ...

    @property
    def actor(self) -> str: ...


def facts(
    incident: Incident,
    *,
    timeline: Sequence[Moment],
    impact: Impact,
    runs: Sequence[Run],
    lesson: Lesson | None,
    plot: str,
) -> dict[str, Any]:
    """What `templates/parts.md` puts in."""
    days = {_day(moment.at) for moment in timeline}
    many = len(days) > 1
    head, tail = timeline[: ROWS // 2], timeline[ROWS // 2 :][-ROWS // 2 :]
    return {
        "incident": Markdown(incident.id),
        "severity": incident.severity,
        "environment": incident.environment,
        "title": incident.title,
        "services": _listed(incident.services),
        "lasted": duration(impact.seconds),
        "began": when(impact.start),
        "ended": when(impact.end),
        "failed_said": _failed_said(impact.measured),
        "moments": list(_moments(incident)),
        "people": _people(incident),
        "rows": [_row(one) for one in impact.measured],
        "counted": duration(max(60.0, impact.seconds)),
        "nothing": _nothing(impact),
        "plot": Markdown(plot),
        "clock": "UTC" if many or not days else f"{min(days)}, UTC",
        "timeline": [
            {"at": _clock(one.at, day=many), "text": one.text, "actor": one.actor} for one in (*head, *tail)
        ],
        "left_out": max(0, len(timeline) - len(head) - len(tail)),
        "detection": _detection(incident),
        "alerts": [_alert(incident, number) for number in range(min(ALERTS, len(incident.alerts)))],
        "suspects": [
            {"text": one.text or one.subject, "at": when(one.at), "why": one.why}
            for one in incident.suspects[:SUSPECTS]
        ],
        "resolution": _resolution(incident),
        "runs": [_run(run) for run in runs if not run.looking],
        "lesson": None if lesson is None else _lesson(lesson),
        "actions": [_action(one) for one in incident.actions],
    }


def when(at: float) -> str:
    """``2026-11-21 10:00:05 UTC``"""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d")


def _clock(at: float, *, day: bool) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%m-%d %H:%M:%S" if day else "%H:%M:%S")


def _moments(incident: Incident) -> Iterator[Mapping[str, Any]]:
    start, found = incident.started_at, incident.detected_at
    rows: tuple[tuple[str, float | None, float | None, str], ...] = (
        ("impact began", start, None, ""),
        ("detected", found, start, "time to detect"),
        ("declared", incident.declared_at, None, ""),
        (
            _by("acknowledged", incident.acknowledged_by),
            incident.acknowledged_at,
            found,
            "time to acknowledge",
        ),
        ("mitigated", _mitigated(incident), start, "time to mitigate"),
        ("resolved", incident.resolved_at, start, "time to resolve"),
    )
    for what, at, since, name in rows:
        if at is not None:
            after = f"{name} {duration(max(0.0, at - since))}" if since is not None else ""
            yield {"what": what, "at": when(at), "after": after}


def _mitigated(incident: Incident) -> float | None:
    """When users noticed it no more, when that was before its end."""
    return None if incident.mitigated_at == incident.resolved_at else incident.mitigated_at


def _by(what: str, actor: str | None) -> str:
    return f"{what} by {actor}" if actor else what


def _people(incident: Incident) -> Markdown:
    roles = (
        ("Commander", incident.commander),
        ("scribe", incident.scribe),
        ("liaison", incident.liaison),
        ("responders", ", ".join(incident.responders)),
    )
    said = ", ".join(f"{role} {escaped(who)}" for role, who in roles if who)
    return Markdown(f"{said[:1].upper()}{said[1:]}." if said else "")


def _failed_said(services: Sequence[ServiceImpact]) -> str:
    counted = [one for one in services if one.requests is not None]
    requests, failed = sum(one.requests or 0.0 for one in counted), sum(one.failed or 0.0 for one in counted)
    if not counted:
        return ""
    if round(requests) == 0:
        return "No requests were counted meanwhile"
    return f"{failed:,.0f} of {requests:,.0f} requests failed ({share(min(1.0, failed / requests))})"


def _row(one: ServiceImpact) -> Mapping[str, Any]:
    failed = DASH
    if one.failed is not None:
        failed = f"{one.failed:,.0f}" + (f" ({share(one.share)})" if one.share is not None else "")
    return {
        "service": one.service,
        "requests": DASH if one.requests is None else f"{one.requests:,.0f}",
        "failed": failed,
        "rate": DASH if one.worst_error_rate is None else share(one.worst_error_rate),
        "p95": f"{_ms(one.usual_p95)}, {_ms(one.worst_p95)}",
        "budget": "; ".join(map(_burn, one.burns)) or DASH,
    }


def _burn(burn: Any) -> str:
    left = f"{share(burn.left)} left" if burn.left >= 0 else f"overspent by {share(-burn.left)}"
    return (
        f"{burn.slo}: {left}" if burn.burned is None else f"{burn.slo}: {share(burn.burned)} burned, {left}"
    )


def _ms(seconds: float | None) -> str:
    return DASH if seconds is None else f"{seconds * 1000:,.0f} ms"


def _nothing(impact: Impact) -> str:
    if impact.problem:
        return f"The impact could not be measured: {impact.problem}."
    return "Nothing was measured of what was affected."


def _detection(incident: Incident) -> str:
    late = incident.detected_at - incident.started_at
    said = f"{duration(late)} after the impact began" if late >= 1 else "as soon as the impact began"
    if incident.alerts:
        return f"Detected by alerts, {said}."
    return f"No alert fired: {incident.declared_by or 'a person'} declared it, {said}."


def _alert(incident: Incident, number: int) -> Mapping[str, Any]:
    alert = incident.alerts[number]
    ended = "still firing" if alert.ended_at is None else f"until {when(alert.ended_at)}"
    return {
        "name": alert.labels.get("alertname", "an alert"),
        "summary": alert.summary,
        "when": f"from {when(alert.started_at)}, {ended}",
    }


def _resolution(incident: Incident) -> str:
    parts = []
    if (mitigated := _mitigated(incident)) is not None:
        parts.append(f"Mitigated at {when(mitigated)}.")
    if incident.resolved_at is not None:
        own = " by itself, before anybody touched it" if incident.self_resolved else ""
        parts.append(f"Resolved{own} at {when(incident.resolved_at)}.")
    if incident.reopened:
        parts.append(
            "Opened again once." if incident.reopened == 1 else f"Opened again {incident.reopened} times."
        )
    return " ".join(parts) or "Not resolved yet."


def _run(run: Run) -> Mapping[str, Any]:
    step = failed_step(run)
    took = None if run.started_at is None or run.ended_at is None else run.ended_at - run.started_at
    failed = DASH
    if step is not None:
        failed = f"{step.step}: {step.reason}" if step.reason else step.step
    return {
        "id": run.id,
        "page": run.page,
        "outcome": (run.outcome or run.state).replace("_", " "),
        "took": DASH if took is None else duration(took),
        "failed": failed,
    }


def _lesson(lesson: Lesson) -> Mapping[str, Any]:
    what = f"a new page for {lesson.runbook}" if lesson.new else f"a change to the runbook {lesson.runbook}"
    if lesson.commit:
        said = f"Proposed: {what}, on the branch {lesson.place}. To take it: git merge {lesson.place}"
    elif lesson.place:
        said = (
            f"Proposed: {what}. To take it: opsbook postmortem lesson {lesson.incident} --patch | git apply"
        )
    else:
        said = f"Proposed: {what}. {lesson.problem}"
    cut = lesson.patch if len(lesson.patch) <= PATCH else lesson.patch[:PATCH] + "\n…"
    return {"said": said, "patch": fenced(cut, "diff")}


def _action(action: Any) -> Mapping[str, Any]:
    about = [
        f"{key}: {escaped(value, 60)}"
        for key, value in (("owner", action.owner), ("due", action.due))
        if value
    ]
    return {
        "box": Markdown("x" if action.done_at is not None else " "),
        "text": action.text,
        "about": Markdown(f"({', '.join(about)}) " if about else ""),
        "id": Markdown(action.id),
    }


def _listed(names: Sequence[str]) -> Markdown:
    return Markdown(", ".join(escaped(name, 60) for name in names))
