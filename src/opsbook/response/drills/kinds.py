"""What the journal is told of drills."""

from __future__ import annotations

from opsbook.journal import register

ENDED = register(
    "drill.ended",
    "A runbook was tried on the real fault, in a scratch environment.",
    {
        "page": "the runbook",
        "state": "passed, failed or skipped",
        "fault": "what was broken",
        "detect_seconds": "until the alert fired",
        "fix_seconds": "until the page was done and the alert over",
        "stage": "what was being done when it failed",
        "reason": "why it failed or was skipped",
        "digest": "SHA-256 of the page's text",
    },
)
