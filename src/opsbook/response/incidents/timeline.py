"""What happened, in the order in which it did: the journal, asked about one incident. Pure but for the question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from opsbook.response.incidents.model import Incident
from opsbook.response.incidents.plan import line
from opsbook.response.incidents.suspects import Happened
from opsbook.terminal import count, duration

BEFORE: Final = 1800.0
"""Seconds before the start that belong to it."""
AFTER: Final = 300.0
LATE: Final = 60.0
KINDS: Final = (
    "alert.*", "deployment.*", "instance.changed", "book.changed", "book.version_written", "incident.*",
    "escalation.*", "notification.failed", "runbook.*", "probe.*", "silence.*", "slo.*", "diagnosis.made",
    "postmortem.*", "traffic.serving", "traffic.refused", "traffic.proxy", "server.started", "server.stopped",
    "status_page.published", "oncall.*", "freeze.*",
)  # fmt: skip
_PLACELESS: Final = frozenset({"server.started", "server.stopped", "traffic.proxy"})


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened.

    Args:
        id: of the event in the journal. at: when it happened. recorded_at: when that was written down.
        kind: ``note`` for people's words, else the event's.
        late: it was written down long after it happened.
    """

    id: int
    at: float
    recorded_at: float
    kind: str
    text: str
    actor: str
    subject: str
    late: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def belongs(event: Happened, incident: Incident, related: Callable[[str, str], bool]) -> bool:
    """Whether an event of the stretch of an incident is about it."""
    named = event.data.get("incident")
    if named is not None and named != "":
        return named == incident.id or named in incident.merged
    if event.kind.startswith(("incident.", "escalation.", "postmortem.")):
        return False
    if event.kind in _PLACELESS:
        return True
    if event.kind.startswith("runbook.") and event.data.get("id") in incident.runs:
        return True
    if event.kind == "book.changed":
        changed = [str(one).rpartition("/")[2] for one in event.data.get("services", ())]
        return not incident.services or any(one in incident.services for one in changed)
    environment, _, service = event.subject.partition("/")
    if environment != incident.environment or not environment:
        return False
    return not service or any(service == one or related(service, one) for one in incident.services)


def moments(
    incident: Incident, events: Iterable[Happened], *, related: Callable[[str, str], bool]
) -> tuple[Moment, ...]:
    """The timeline, the oldest first; what repeats itself at once is said once."""
    found: list[Moment] = []
    for event in events:
        if not belongs(event, incident, related):
            continue
        text = said(event)
        if not text:
            continue
        at = _occurred(event)
        moment = Moment(
            id=event.id,
            at=at,
            recorded_at=event.at,
            kind="note" if event.kind == "incident.noted" else event.kind,
            text=text,
            actor="" if event.actor == "opsbook" else line(event.actor, 60),
            subject=event.subject,
            late=event.at - at > LATE,
        )
        if found and (found[-1].text, found[-1].kind) == (moment.text, moment.kind):
            continue
        found.append(moment)
    return tuple(sorted(found, key=lambda one: (one.at, one.id)))


def _occurred(event: Happened) -> float:
    """When it was so: an alert's beginning lies before the moment at which it was written down."""
    data = event.data
    if event.kind == "alert.firing":
        for key in ("active_at", "starts_at", "since"):
            if isinstance(data.get(key), int | float):
                return min(float(data[key]), event.at)
    return event.at


def said(event: Happened) -> str:
    """An event in a sentence; empty: it says nothing to people."""
    data: Mapping[str, Any] = event.data
    words = _WORDS.get(event.kind)
    if words is None:
        return ""
    try:
        return line(words(data, event.subject.rpartition("/")[2] or event.subject), 400)
    except (KeyError, TypeError, ValueError, AttributeError):
        return line(
            event.kind.replace(".", " ").replace("_", " "), 400
        )  # of another version, or pushed by somebody


def _alert(data: Mapping[str, Any]) -> str:
    labels = data.get("labels") or {}
    name = data.get("alert") or labels.get("alertname") or "an alert"
    about = " in ".join(one for one in (labels.get("service", ""), labels.get("environment", "")) if one)
    return f"{name}" + (f" ({about})" if about else "")


def _firing(data: Mapping[str, Any], _: str) -> str:
    summary = data.get("summary") or (data.get("annotations") or {}).get("summary") or ""
    return f"{_alert(data)} fires" + (f": {summary}" if summary else "")


def _phase(data: Mapping[str, Any], service: str) -> str:
    phase = str(data["phase"])
    if phase in ("done", "failed", "rolled_back", "pending", "gated", "draining", "ready"):
        return ""  # said by the events of its beginning and end
    return (
        f"{service} {data.get('version', '')}: {phase.replace('_', ' ')}, {data.get('message') or 'goes on'}"
    )


def _serving(data: Mapping[str, Any], service: str) -> str:
    weights = data.get("weights") or {}
    shares = ", ".join(f"{str(name)[:24]} {share} %" for name, share in weights.items() if share)
    return f"{service}: requests go to {shares}" if len(weights) > 1 and shares else ""


def _ended(verb: str) -> Callable[[Mapping[str, Any], str], str]:
    def words(data: Mapping[str, Any], service: str) -> str:
        why = f": {data['reason']}" if data.get("reason") else ""
        return f"{data.get('kind', 'deploy')} of {service} {data.get('version', '')} {verb}{why}"

    return words


def _requested(data: Mapping[str, Any], service: str) -> str:
    verbs = {
        "deploy": "is to be deployed",
        "rollback": "is to be rolled back",
        "scale": "is to be scaled",
        "restart": "is to be restarted",
    }
    version = f" {data['version']}" if data.get("version") and data.get("kind") == "deploy" else ""
    why = f": {data['reason']}" if data.get("reason") else ""
    return f"{service}{version} {verbs.get(str(data.get('kind')), 'is to be changed')}{why}"


def _state(data: Mapping[str, Any], _: str) -> str:
    why = f": {data['reason']}" if data.get("reason") else ""
    return f"the incident is {str(data['state']).replace('postmortem', 'written up')}{why}"


def _changed(data: Mapping[str, Any], _: str) -> str:
    if data.get("what") == "merged":
        return f"{data['after']} became a part of this: {data.get('reason', '')}"
    why = f": {data['reason']}" if data.get("reason") else ""
    return (
        f"{data['what']} is {data['after'] or 'nobody'}"
        + (f", was {data['before']}" if data.get("before") else "")
        + why
    )


def _instance(data: Mapping[str, Any], service: str) -> str:
    return f"an instance of {service} is {data['state']}" + (f": {data['exit']}" if data.get("exit") else "")


_WORDS: Final[Mapping[str, Callable[[Mapping[str, Any], str], str]]] = {
    "alert.firing": _firing,
    "alert.resolved": lambda data, _: f"{_alert(data)} is over" + (f" after {duration(float(data['seconds']))}" if data.get("seconds") else ""),
    "deployment.requested": _requested,
    "deployment.phase": _phase,
    "deployment.succeeded": _ended("succeeded"),
    "deployment.rolled_back": _ended("was taken back"),
    "deployment.failed": _ended("failed"),
    "deployment.aborted": _ended("was aborted"),
    "deployment.superseded": _ended("was overtaken by a newer one"),
    "deployment.reverted": lambda data, service: f"the release of {service} is taken back: {data.get('reason', '')}",
    "traffic.serving": _serving,
    "traffic.refused": lambda data, _: f"the proxy refused new routes: {data.get('reason', '')}",
    "traffic.proxy": lambda data, _: f"the proxy: {data.get('message', '')}",
    "instance.changed": _instance,
    "book.changed": lambda data, _: f"the handbook changed for {', '.join(map(str, data.get('services', ()))) or 'nothing that runs'}",
    "book.version_written": lambda data, service: f"the handbook says that {service} is {data['version']}",
    "probe.down": lambda data, subject: f"{data.get('probe') or data.get('name') or subject} does not answer its probe",
    "probe.up": lambda data, subject: f"{data.get('probe') or data.get('name') or subject} answers its probe again",
    "silence.added": lambda data, _: f"alerts are silenced: {data.get('comment', '')}",
    "silence.expired": lambda data, _: "a silence is over",
    "slo.budget_spent": lambda data, subject: f"the error budget of {data.get('slo') or data.get('name') or subject} is spent",
    "slo.budget_restored": lambda data, subject: f"the error budget of {data.get('slo') or data.get('name') or subject} is there again",
    "server.started": lambda data, _: "opsbook starts",
    "server.stopped": lambda data, _: "opsbook is stopped",
    "incident.opened": lambda data, _: f"the incident is opened as {data['severity']}: {data['title']}",
    "incident.joined": lambda data, _: f"{data['alert'] or 'an alert'} belongs to it: {data.get('why', '')}",
    "incident.acknowledged": lambda data, _: f"acknowledged after {duration(float(data['seconds']))}",
    "incident.noted": lambda data, _: str(data["text"]),
    "incident.changed": _changed,
    "incident.state": _state,
    "incident.reopened": lambda data, _: f"reopened: {data.get('reason', '')}",
    "incident.merged": lambda data, _: f"it became a part of {data['into']}",
    "incident.attached": lambda data, _: f"kept: {data['name']}",
    "incident.updated": lambda data, _: f"{'customers' if data.get('public') else 'people'} are told: {data['text']}",
    "incident.action_added": lambda data, _: f"{data.get('owner') or 'nobody yet'} is to {data['text']}" + (f" by {data['due']}" if data.get("due") else ""),
    "incident.action_done": lambda data, _: f"done: {data['text']}",
    "incident.run_added": lambda data, _: "",
    "escalation.paged": lambda data, _: f"{data.get('name') or data.get('person')} is paged by {data.get('channel')}",
    "escalation.exhausted": lambda data, _: "nobody has answered a page: the escalation has come to its end",
    "escalation.overdue": lambda data, _: "the watchdog: a page is overdue",
    "escalation.retriggered": lambda data, _: f"the escalation begins anew: {data.get('why', '')}",
    "escalation.skipped": lambda data, _: f"a step of the escalation reaches nobody: {data.get('why') or data.get('page') or ''}",
    "notification.failed": lambda data, _: f"{data['channel']} did not take a message: {data.get('error', '')}",
    "runbook.started": lambda data, _: f"{data.get('page')} is run" + (" by the alert" if data.get("automatic") else ""),
    "runbook.ended": lambda data, _: f"{data.get('page')}: {str(data.get('state', 'ended')).replace('_', ' ')}" + (f", {data['reason']}" if data.get("reason") else ""),
    "runbook.waiting": lambda data, _: f"{data.get('page') or 'a run'} waits for {data.get('what') or 'a person'}",
    "runbook.approved": lambda data, _: f"{data.get('step')} of {data.get('page')} is approved",
    "diagnosis.made": lambda data, _: f"diagnosis: {data.get('symptom', '')}",
    "postmortem.written": lambda data, _: "the post-mortem is written" + (f": {data['path']}" if data.get("path") else ""),
    "postmortem.finished": lambda data, _: "the post-mortem is complete",
    "status_page.published": lambda data, _: "",
    "freeze.added": lambda data, _: f"deployments are frozen: {data.get('reason', '')}",
    "freeze.lifted": lambda data, _: "deployments are thawed",
}  # fmt: skip


def many(names: Sequence[str]) -> str:
    """``3 alerts`` or the one's name."""
    return names[0] if len(names) == 1 else count(len(names), "alert")
