"""The kinds of events that incidents write."""

from __future__ import annotations

from opsbook.journal import register

_ABOUT = {"incident": "its id"}

register(
    "incident.opened",
    "An incident began: by an alert, or because somebody declared it.",
    _ABOUT
    | {
        "title": "what it is called",
        "severity": "SEV1 to SEV4",
        "services": "what it is about",
        "alerts": "the names of the alerts that opened it",
        "started_at": "since when it hurts, epoch seconds",
        "escalation": "who is paged; empty: nobody",
    },
)
register(
    "incident.joined",
    "Another alert belongs to an incident.",
    _ABOUT
    | {
        "alert": "its name",
        "fingerprint": "which it is",
        "labels": "what it is about",
        "why": "why it belongs",
    },
)
register(
    "incident.alert_ended",
    "An alert of an incident does not fire any more.",
    _ABOUT | {"alert": "its name", "fingerprint": "which it is", "left": "how many still fire"},
)
register("incident.acknowledged", "Somebody has it.", _ABOUT | {"seconds": "since it was declared"})
register(
    "incident.noted", "Somebody wrote down what they saw, tried or decided.", _ABOUT | {"text": "their words"}
)
register(
    "incident.changed",
    "Something about an incident is different.",
    _ABOUT | {"what": "which of its fields", "before": "what it was", "after": "what it is", "reason": "why"},
)
register(
    "incident.state",
    "An incident reached another state.",
    _ABOUT | {"state": "triage, active, mitigated, resolved, postmortem, closed or merged", "before": "the one before",
              "reason": "why", "by_itself": "true when nobody asked"},
)  # fmt: skip
register("incident.reopened", "It was not over.", _ABOUT | {"reason": "why", "times": "how often by now"})
register(
    "incident.merged",
    "It is a part of another incident.",
    _ABOUT | {"into": "that one", "alerts": "how many go along"},
)
register(
    "incident.attached",
    "Something that was looked at was kept.",
    _ABOUT | {"id": "of the attachment", "name": "its name", "kind": "text, json or svg"},
)
register(
    "incident.updated",
    "People were told how it goes.",
    _ABOUT | {"text": "the words", "public": "also on the status page", "channels": "who was told"},
)
register(
    "incident.action_added",
    "Somebody promised to do something.",
    _ABOUT | {"id": "of the action", "text": "what", "owner": "who", "due": "until which day"},
)
register(
    "incident.action_done", "What was promised is done.", _ABOUT | {"id": "of the action", "text": "what"}
)
register("incident.run_added", "A run of a runbook belongs to it.", _ABOUT | {"run": "its id"})
