"""Messages within what a channel takes: what exceeds its limit comes together, in one, instead of being lost. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from opsbook.book.notifications import RateLimit
from opsbook.monitoring.alerting.model import GroupMessage, Notification, Told

_RANK = {"critical": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a group has to say to a channel, and what the channel will have been told by it.

    `name` is the group's and channel's, as `Destination.name`.
    """

    name: str
    channel: str
    message: GroupMessage
    told: Told

    @property
    def urgency(self) -> tuple[int, str]:
        """The gravest come first."""
        alerts = (*self.message.firing, *self.message.resolved)
        return min((_RANK.get(alert.severity, 1) for alert in alerts), default=3), self.name


@dataclass(frozen=True, slots=True)
class Bundles:
    """What one channel gets now.

    Args:
        notifications: with all of the candidates, or none.
        spent: when its last messages were, these included; None: nobody counts them.
        again: when it may get some, if now it may not.
    """

    notifications: tuple[Notification, ...]
    spent: tuple[float, ...] | None = None
    again: float | None = None


def bundled(
    channel: str,
    candidates: Collection[Candidate],
    limit: RateLimit | None,
    spent: Collection[float],
    now: float,
) -> Bundles:
    """A message for each group while the channel's limit allows; the rest together, in the last one.

    Args:
        spent: when earlier messages were decided, oldest first.
    """
    urgent = sorted(candidates, key=lambda candidate: candidate.urgency)
    bundles = [[candidate] for candidate in urgent]
    if limit is None:
        return Bundles(tuple(_notification(channel, bundle, now) for bundle in bundles))
    recent = tuple(at for at in spent if now - limit.per < at <= now)
    free = limit.messages - len(recent)
    if free <= 0:
        return Bundles((), None, recent[0] + limit.per)
    rest = urgent[free - 1 :]
    bundles = [*bundles[: free - 1], *([rest] if rest else [])]
    notifications = tuple(_notification(channel, bundle, now) for bundle in bundles)
    return Bundles(notifications, (*recent, *(now for _ in notifications)))


def _notification(channel: str, bundle: list[Candidate], now: float) -> Notification:
    said = "\n".join(f"{one.name}\n{one.told.number}" for one in bundle)
    digest = hashlib.sha256(f"{said}\n{now!r}".encode("utf-8", "replace")).hexdigest()
    return Notification(id=digest[:32], channel=channel, groups=tuple(one.message for one in bundle), at=now)
