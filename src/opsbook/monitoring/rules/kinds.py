"""The kinds of events that alerts write, registered when the room is opened."""

from __future__ import annotations

from opsbook.journal import register

_ALERT = {
    "alertname": "what the alert is called",
    "fingerprint": "short for its labels",
    "labels": "what it is about",
    "annotations": "what is said about it; long ones are cut",
    "value": "what the expression gave",
    "expression": "the condition, in PromQL",
    "severity": "critical, warning or info",
    "runbook": "the page that says what to do, if there is one",
    "source": "the file of the rule",
    "since": "when the condition began to hold, epoch seconds",
}

register("alert.firing", "An alert fires: its condition has held for as long as its rule says.", _ALERT)
register(
    "alert.resolved",
    "An alert that fired does not any more.",
    _ALERT | {"fired_at": "when it began to fire", "seconds": "how long it fired", "reason": "why it ended"},
)
