"""What events of the journal say in the timeline of an incident, each in a sentence. Pure.

What is not here says nothing to people. Events may be of another version: a key that is not there is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from opsbook.terminal import duration

Data = Mapping[str, Any]


def _alert(data: Data) -> str:
    labels = data.get("labels") or {}
    name = data.get("alert") or labels.get("alertname") or "an alert"
    about = " in ".join(one for one in (labels.get("service", ""), labels.get("environment", "")) if one)
    return f"{name}" + (f" ({about})" if about else "")


def _firing(data: Data, _: str) -> str:
    summary = data.get("summary") or (data.get("annotations") or {}).get("summary") or ""
    return f"{_alert(data)} fires" + (f": {summary}" if summary else "")


def _phase(data: Data, service: str) -> str:
    phase = str(data["phase"])
    if phase not in ("shifting", "analysing", "aborting"):
        return ""  # said by the events of its beginning and end, or nobody's concern
    return (
        f"{service} {data.get('version', '')}: {phase.replace('_', ' ')}, {data.get('message') or 'goes on'}"
    )


def _serving(data: Data, service: str) -> str:
    weights = data.get("weights") or {}
    shares = ", ".join(f"{str(name)[:24]} {share} %" for name, share in weights.items() if share)
    return f"{service}: requests go to {shares}" if len(weights) > 1 and shares else ""


def _ended(verb: str) -> Callable[[Data, str], str]:
    def words(data: Data, service: str) -> str:
        why = f": {data['reason']}" if data.get("reason") else ""
        return f"{data.get('kind', 'deploy')} of {service} {data.get('version', '')} {verb}{why}"

    return words


def _requested(data: Data, service: str) -> str:
    verbs = {
        "deploy": "is to be deployed",
        "rollback": "is to be rolled back",
        "scale": "is to be scaled",
        "restart": "is to be restarted",
    }
    version = f" {data['version']}" if data.get("version") and data.get("kind") == "deploy" else ""
    why = f": {data['reason']}" if data.get("reason") else ""
    return f"{service}{version} {verbs.get(str(data.get('kind')), 'is to be changed')}{why}"


def _state(data: Data, _: str) -> str:
    why = f": {data['reason']}" if data.get("reason") else ""
    return f"the incident is {str(data['state']).replace('postmortem', 'written up')}{why}"


def _changed(data: Data, _: str) -> str:
    if data.get("what") == "merged":
        return f"{data['after']} became a part of this: {data.get('reason', '')}"
    why = f": {data['reason']}" if data.get("reason") else ""
    return (
        f"{data['what']} is {data['after'] or 'nobody'}"
        + (f", was {data['before']}" if data.get("before") else "")
        + why
    )


def _instance(data: Data, service: str) -> str:
    if not data.get("exit") and data["state"] not in ("failed", "backoff"):
        return ""  # opsbook itself wanted it
    return f"an instance of {service} is {data['state']}" + (f": {data['exit']}" if data.get("exit") else "")


def _then(text: str, what: object, join: str = ": ") -> str:
    """`text`, and what is known beside it."""
    return f"{text}{join}{what}" if what else text


def _resolved(data: Data, _: str) -> str:
    took = f" after {duration(float(data['seconds']))}" if data.get("seconds") else ""
    return f"{_alert(data)} is over{took}"


def _book(data: Data, _: str) -> str:
    return (
        f"the handbook changed for {', '.join(map(str, data.get('services') or ())) or 'nothing that runs'}"
    )


def _probe(verb: str) -> Callable[[Data, str], str]:
    return lambda data, subject: f"{data.get('probe') or subject} {verb}"


def _budget(verb: str) -> Callable[[Data, str], str]:
    return lambda data, subject: f"the error budget of {data.get('slo') or subject} is {verb}"


def _action(data: Data, _: str) -> str:
    said = _then(f"promised: {data['text']}", data.get("owner"), ", by ")
    return _then(said, data.get("due"), ", until ")


def _paged(data: Data, _: str) -> str:
    return _then(f"{data.get('person') or data.get('name')} is paged", data.get("channel"), " by ")


def _run_started(data: Data, _: str) -> str:
    verb = "looks around" if data.get("looking") else "is run"
    return f"{data['page']} {verb}{' by the alert' if data.get('automatic') else ''}"


def _run_ended(data: Data, _: str) -> str:
    return _then(
        f"{data['page']} {str(data.get('outcome') or 'ended').replace('_', ' ')}", data.get("reason")
    )


def _run_step(data: Data, _: str) -> str:
    if data.get("state") in {"ok", "skipped"} or data.get("role") == "diagnose":
        return ""
    return _then(f"{data['page']}: {data['step']} {data.get('state', 'ended')}", data.get("reason"))


WORDS: Final[Mapping[str, Callable[[Data, str], str]]] = {
    "alert.firing": _firing,
    "alert.resolved": _resolved,
    "deployment.requested": _requested,
    "deployment.phase": _phase,
    "deployment.succeeded": _ended("succeeded"),
    "deployment.rolled_back": _ended("was taken back"),
    "deployment.failed": _ended("failed"),
    "deployment.aborted": _ended("was aborted"),
    "deployment.superseded": _ended("was overtaken by a newer one"),
    "deployment.reverted": lambda data, service: _then(
        f"the release of {service} is taken back", data.get("reason")
    ),
    "traffic.serving": _serving,
    "traffic.refused": lambda data, _: _then("the proxy refused new routes", data.get("reason")),
    "traffic.proxy": lambda data, _: _then("the proxy", data.get("message")),
    "instance.changed": _instance,
    "book.changed": _book,
    "book.version_written": lambda data, service: f"the handbook says that {service} is {data['version']}",
    "probe.down": _probe("does not answer its probe"),
    "probe.up": _probe("answers its probe again"),
    "silence.added": lambda data, _: _then("alerts are silenced", data.get("comment")),
    "silence.expired": lambda data, _: "a silence is over",
    "slo.budget_spent": _budget("spent"),
    "slo.budget_restored": _budget("there again"),
    "server.started": lambda data, _: "opsbook starts",
    "server.stopped": lambda data, _: "opsbook is stopped",
    "incident.opened": lambda data, _: f"the incident is opened as {data['severity']}: {data['title']}",
    "incident.joined": lambda data, _: _then(f"{data['alert'] or 'an alert'} belongs to it", data.get("why")),
    "incident.acknowledged": lambda data, _: f"acknowledged after {duration(float(data['seconds']))}",
    "incident.noted": lambda data, _: str(data["text"]),
    "incident.changed": _changed,
    "incident.state": _state,
    "incident.reopened": lambda data, _: _then("reopened", data.get("reason")),
    "incident.merged": lambda data, _: f"it became a part of {data['into']}",
    "incident.attached": lambda data, _: f"kept: {data['name']}",
    "incident.updated": lambda data, _: (
        f"{'customers' if data.get('public') else 'people'} are told: {data['text']}"
    ),
    "incident.action_added": _action,
    "incident.action_done": lambda data, _: f"done: {data['text']}",
    "escalation.paged": _paged,
    "escalation.hurried": lambda data, _: "the next step of the escalation is to be paged now",
    "escalation.exhausted": lambda data, _: "nobody has answered a page: the escalation has come to its end",
    "escalation.overdue": lambda data, _: "the watchdog: a page is overdue",
    "escalation.retriggered": lambda data, _: _then("the escalation begins anew", data.get("why")),
    "escalation.skipped": lambda data, _: _then("a step of the escalation reaches nobody", data.get("step")),
    "notification.failed": lambda data, _: _then(
        f"{data['channel']} did not take a message", data.get("error")
    ),
    "runbook.started": _run_started,
    "runbook.step.ended": _run_step,
    "runbook.ended": _run_ended,
    "runbook.undoing": lambda data, _: _then(f"{data['page']} undoes its steps", data.get("reason")),
    "runbook.waiting": lambda data, _: f"{data['page']} waits for {data.get('for') or 'a person'}",
    "runbook.approved": lambda data, _: f"{data['step']} of {data['page']} is approved",
    "diagnosis.made": lambda data, _: _then("diagnosis", data.get("symptom")),
    "postmortem.written": lambda data, _: _then("the post-mortem is written", data.get("path")),
    "postmortem.edited": lambda data, _: "the post-mortem is edited",
    "postmortem.finished": lambda data, _: "the post-mortem is complete",
    "postmortem.lesson_proposed": lambda data, _: _then(
        "a change to a runbook is proposed", data.get("place")
    ),
    "freeze.added": lambda data, _: _then("deployments are frozen", data.get("reason")),
    "freeze.lifted": lambda data, _: "deployments are thawed",
}
