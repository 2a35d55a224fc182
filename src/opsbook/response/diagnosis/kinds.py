"""What the journal is told of diagnoses."""

from __future__ import annotations

from opsbook.journal import register

MADE = register(
    "diagnosis.made",
    "Every look that applies was had at a service, and what may be the cause was ranked.",
    {
        "id": "the diagnosis",
        "incident": "for which incident, if for one",
        "alert": "for which alert, if for one",
        "state": "ok, warning, failed or unknown",
        "symptom": "what is wrong, in a sentence",
        "since": "when that began, epoch seconds",
        "suspects": "the likeliest causes, the first one first",
        "runbook": "the page to follow",
        "next": "the command to type next",
        "checks": "each look and how it ended",
        "seconds": "how long it took",
    },
)
