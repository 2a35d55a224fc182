"""What alerting asks of those who respond: they are a channel of their own, so that what holds for channels holds here.

Silences, inhibition and dependencies have their say before an incident opens; what is handed over is in the outbox
until it was taken; and the end of an alert is told to whom its beginning was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from opsbook.monitoring.alerting.model import Alert, Notification, Route

INCIDENTS: Final = "@incidents"
"""The name of that channel; no name of the handbook begins so."""

ROUTE: Final = Route(
    channels=(INCIDENTS,),
    group_by=("...",),
    group_wait=0.0,
    group_interval=1.0,
    repeat_interval=10 * 366 * 86400.0,
)
"""Each alert by itself, at once, and never again: an incident needs no reminder."""


def _nobody(name: str) -> tuple[str, ...] | None:
    del name
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Responders:
    """Those who respond. The default: there are none.

    Args:
        on_call: who is on call by a schedule now; None: there is no such schedule.
        opens: whether an alert is one that an incident is opened for.
        escalates: whether a name that `page:` gives is an escalation, whose people the incident pages.
        receive: takes a notification for incidents; returns what it did, in words. Whatever it raises, it is asked
            again.
    """

    on_call: Callable[[str], tuple[str, ...] | None] = _nobody
    opens: Callable[[Alert], bool] = lambda alert: False
    escalates: Callable[[str], bool] = lambda name: False
    receive: Callable[[Notification], str] | None = None


NOBODY: Final = Responders()
