"""The kinds of events that the gates write, registered when the room is opened."""

from __future__ import annotations

from opsbook.journal import register

_ID = {"id": "the deployment's id"}

register(
    "deployment.approved",
    "Somebody approved exactly one plan of a deployment.",
    _ID
    | {
        "version": "the version it brings",
        "plan": "the plan's SHA-256",
        "comment": "why, or what was looked at",
    },
)
register(
    "deployment.approval_withdrawn", "Somebody took their approval back.", _ID | {"version": "its version"}
)
register(
    "deployment.hook",
    "A command around a deployment has ended.",
    _ID
    | {
        "stage": "before or after",
        "command": "program and arguments",
        "passed": "whether it ended with 0 in time",
        "detail": "how it ended",
        "output": "the end of what it wrote, secrets masked",
        "seconds": "how long it took",
    },
)
register(
    "freeze.added",
    "Somebody forbade deployments for a while.",
    {
        "name": "what it is called",
        "reason": "why",
        "environments": "where; null: everywhere",
        "services": "what; null: all services",
        "until": "when it ends",
        "under_way": "deployments that had passed their gates before: they go on to their end",
    },
)
register("freeze.lifted", "Somebody ended a freeze before its time.", {"name": "what it was called"})
register(
    "checklist.signed",
    "Somebody signed an item of a deployment's checklist.",
    _ID | {"item": "the item's id", "text": "what was signed", "note": "what they wrote beside it"},
)
register(
    "checklist.checked",
    "A machine checked items of a deployment's checklist.",
    _ID
    | {
        "stage": "pre, during or post",
        "results": "status (passed, failed, unknown) and detail by item id",
    },
)
register(
    "hold.released",
    "Somebody said that a release which was taken back may be deployed again.",
    {"release": "its id", "version": "its label", "reason": "why it had been held"},
)
