"""What the journal is told of runs."""

from __future__ import annotations

from opsbook.journal import register

_ID = {"id": "the run", "page": "its runbook"}
_STEP = {**_ID, "step": "the block's id", "role": "its role", "attempt": "which try of it"}

STARTED = register(
    "runbook.started",
    "A runbook was started.",
    {**_ID, "digest": "of the page's text", "commit": "of the handbook", "params": "without the sensitive ones",
     "automatic": "true when an alert started it", "alert": "which one"},
)  # fmt: skip
ATTACHED = register(
    "runbook.attached",
    "Somebody started a runbook that is under way, and got that run.",
    {**_ID, "alert": "which one"},
)
STEP_STARTED = register(
    "runbook.step.started", "A step of a run is about to begin.", {**_STEP, "digest": "of the block"}
)
STEP_ENDED = register(
    "runbook.step.ended",
    "A step of a run has ended.",
    {**_STEP, "state": "ok, failed, unknown or skipped", "reason": "why", "seconds": "how long it took"},
)
WAITING = register(
    "runbook.waiting", "A run waits for a person.", {**_ID, "step": "where", "for": "in words"}
)
APPROVED = register(
    "runbook.approved",
    "Somebody approved a step of a run.",
    {**_ID, "step": "which", "binding": "what it is for", "comment": "theirs"},
)
DECIDED = register(
    "runbook.decided", "Somebody let a run go on.",
    {**_ID, "verb": "done, go, retry, skip or resume", "step": "where", "reason": "why"},
)  # fmt: skip
CANCELLED = register("runbook.cancel_requested", "Somebody wants a run to end.", {**_ID, "reason": "why"})
UNDOING = register("runbook.undoing", "A run begins to undo its steps.", {**_ID, "reason": "why"})
ENDED = register(
    "runbook.ended",
    "A run has ended.",
    {**_ID, "outcome": "succeeded, failed, refused, rolled_back, rollback_failed or cancelled", "reason": "why",
     "seconds": "how long it took"},
)  # fmt: skip
FORGOTTEN = register(
    "runbook.forgotten",
    "Runs that ended long ago are kept no longer; their events are.",
    {"runs": "how many", "first": "the oldest", "last": "the newest", "before": "they ended before that"},
)
