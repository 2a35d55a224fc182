"""When a message that was not taken is tried again, and when it is given up. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from opsbook.monitoring.alerting.model import Notification, notification_from

WAITS = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds after each try; the last one from then on: within a minute it is seen that a channel is back."""

LONGEST_WAIT = 3600.0
"""Of what a receiver asks for."""

GIVE_UP_SECONDS = 24 * 3600.0
GIVE_UP_REFUSALS = 8
"""A receiver that does not want a message gets it so often, a matter of minutes: a fault of its own may pass."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A notification in the outbox.

    Args:
        order: later ones are greater; those of a group are sent in order.
        attempts: how often it was tried.
        refusals: how often it was not wanted.
        next_try: not before, epoch seconds.
        error: why it was not taken, the last time.
    """

    notification: Notification
    order: int
    attempts: int = 0
    refusals: int = 0
    next_try: float = 0.0
    error: str = ""

    def due(self, now: float) -> bool:
        # A clock that was set back must not keep a message for longer than its wait ever was.
        return self.next_try <= now or self.next_try > now + LONGEST_WAIT

    def to_json(self) -> dict[str, Any]:
        return {
            "notification": self.notification.to_json(),
            "order": self.order,
            "attempts": self.attempts,
            "refusals": self.refusals,
            "next_try": self.next_try,
            "error": self.error,
        }


def pending_from(document: Any) -> Pending:
    """As `Pending.to_json` wrote it."""
    return Pending(
        notification=notification_from(document["notification"]),
        order=int(document["order"]),
        attempts=int(document["attempts"]),
        refusals=int(document["refusals"]),
        next_try=float(document["next_try"]),
        error=str(document["error"]),
    )


def after_failure(
    pending: Pending, error: str, now: float, *, refused: bool = False, asked: float | None = None
) -> Pending | None:
    """When it is tried again; None: it is given up.

    Args:
        refused: the receiver does not want it.
        asked: seconds that the receiver wants to be left alone.
    """
    attempts, refusals = pending.attempts + 1, pending.refusals + refused
    if refusals >= GIVE_UP_REFUSALS or now - pending.notification.at >= GIVE_UP_SECONDS:
        return None
    wait = WAITS[min(attempts, len(WAITS)) - 1]
    if asked is not None:
        wait = min(max(wait, asked), LONGEST_WAIT)
    return replace(pending, attempts=attempts, refusals=refusals, next_try=now + wait, error=error)


def hold_of(failures: int) -> float:
    """Seconds for which a channel is left alone after so many failures in a row."""
    return WAITS[min(max(failures, 1), len(WAITS)) - 1]


def next_of(line: list[Pending], now: float) -> Pending | None:
    """Which of a channel's messages to send: the one that is due and was tried least, so that one which is never
    taken keeps no other; but none overtakes an earlier one of its own group."""
    held: set[str] = set()
    found: Pending | None = None
    for pending in line:
        keys = {group.key for group in pending.notification.groups}
        if pending.due(now) and not keys & held and (found is None or pending.attempts < found.attempts):
            if pending.attempts == 0:
                return pending
            found = pending
        held |= keys
    return found
