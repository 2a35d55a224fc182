"""The kinds of events that objectives write."""

from __future__ import annotations

from opsbook.journal import register

_TOLD = {
    "slo": "its name",
    "environment": "where",
    "service": "whose it is",
    "target": "the share that must be good",
    "bad": "bad events in the window",
    "total": "all events in the window",
    "remaining": "what is left of the budget: 1 all of it, below 0 overdrawn",
}
register("slo.budget_spent", "More went wrong than an objective allows in its window.", _TOLD)
register("slo.budget_restored", "A budget that was spent is there again.", _TOLD)
