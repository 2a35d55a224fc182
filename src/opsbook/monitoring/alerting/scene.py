"""What a decision rests on, and what it is: the nouns of `plan.py`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from opsbook.book.notifications import Quiet, RateLimit
from opsbook.monitoring.alerting.causes import Place
from opsbook.monitoring.alerting.model import Notification, Record, Silence, Suppression, Told
from opsbook.monitoring.alerting.routing import Router
from opsbook.monitoring.alerting.suppression import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How one channel is treated; see `opsbook.book.notifications.Delivery`.

    Args:
        acknowledges: it is told when somebody has silenced all that it was told of.
    """

    quiet: Quiet | None = None
    limit: RateLimit | None = None
    resolved: bool = True
    acknowledges: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that a decision rests on.

    Args:
        records: every known alert by fingerprint.
        told: what each channel was told, by `Destination.name`.
        unsent: the names of groups whose last message has not reached its channel yet.
        spent: when messages to a channel were decided, by channel, oldest first.
        manners: of each channel of the handbook, by name.
        suspects: the labels of alerts that are pending.
        more_at: before which our own rules have nothing more to say; None: they may at any time.
    """

    now: float
    records: Mapping[str, Record]
    told: Mapping[str, Told]
    router: Router
    rules: Rules
    manners: Mapping[str, Manner]
    silences: Sequence[Silence] = ()
    suspects: Sequence[Mapping[str, str]] = ()
    deploying: Collection[Place] = ()
    unsent: Collection[str] = ()
    more_at: float | None = None
    spent: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What follows.

    Args:
        notifications: to be sent.
        told: what each channel will have been told; None: nothing is left to remember. Only what changes.
        spent: what changes of the same in `Scene`.
        forgotten: fingerprints of alerts that need not be kept any more.
        suppressions: of what fires and is not told, by fingerprint.
        wake_at: when to decide again; None: not before something happens.
    """

    notifications: tuple[Notification, ...]
    told: Mapping[str, Told | None]
    spent: Mapping[str, tuple[float, ...]]
    forgotten: tuple[str, ...]
    suppressions: Mapping[str, tuple[Suppression, ...]]
    wake_at: float | None
