"""The kinds of events that alerting writes; those of alerts themselves are the rules'."""

from __future__ import annotations

import opsbook.monitoring.rules.kinds as _kinds  # noqa: F401 - alert.firing and alert.resolved, also of pushed ones
from opsbook.journal import register

_NOTIFICATION = {
    "id": "the notification's, which its receiver was given too",
    "channel": "the channel of the handbook",
    "status": "firing or resolved",
    "groups": "the groups it was about, at most 20 of them",
    "firing": "how many alerts it says fire",
    "resolved": "how many it says have ended",
    "attempts": "how often it was tried",
}

register(
    "notification.sent",
    "A channel took a message about alerts.",
    _NOTIFICATION | {"answer": "what it said", "seconds": "from the decision until it was taken"},
)
register(
    "notification.failed",
    "A message about alerts was given up: its channel did not take it.",
    _NOTIFICATION | {"error": "why, the last time"},
)

_SILENCE = {
    "id": "the silence's",
    "matchers": "which alerts it is about",
    "comment": "why",
}
register(
    "silence.added",
    "Somebody silenced alerts, or changed a silence.",
    _SILENCE
    | {
        "starts_at": "when it begins, epoch seconds",
        "ends_at": "when it ends; null: not by itself",
        "recurring": "true when it holds in some hours of the week only",
        "during": "deployment or maintenance when it holds only meanwhile",
    },
)
register("silence.expired", "A silence is over.", _SILENCE | {"reason": "over, or expired by somebody"})
