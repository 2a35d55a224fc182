"""The nouns of alerting. All times are UTC epoch seconds, all durations seconds.

An alert is what a rule, or a Prometheus that pushes, says about the world. Whether somebody is told of it is decided
here, in `plan.py`; what was told is written down, so that a resolved follows each firing that was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal

from opsbook.book.windows import Window
from opsbook.promql.series import Matcher

NONE: Final[Mapping[str, str]] = MappingProxyType({})
RULES: Final = "rules"
PUSHED: Final = "api"
Status = Literal["firing", "resolved"]

_OFFSET, _PRIME, _BITS = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "replace") + b"\xff"


@lru_cache(maxsize=65_536)
def _hashed(pairs: tuple[tuple[str, str], ...]) -> str:
    found = _OFFSET
    for octet in b"".join(_octets(name) + _octets(value) for name, value in pairs):
        found = ((found ^ octet) * _PRIME) & _BITS
    return f"{found:016x}"


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """What tells alerts apart, as Prometheus and Alertmanager compute it (FNV-1a over the sorted labels)."""
    return _hashed(tuple(sorted(labels.items())))


@dataclass(frozen=True, slots=True)
class Alert:
    """Something is wrong, or was.

    Args:
        labels: what it is about; ``alertname`` and usually ``severity``, ``service``, ``environment``. Two alerts
            with the same labels are the same.
        annotations: what is said about it: ``summary``, ``description``, ``runbook``; already expanded.
        starts_at: since when it fires.
        ends_at: when it ended, or, in the future, when it has ended unless it is heard of again. None: it fires
            until it is said that it has ended.
        value: what the rule's expression gave.
        generator_url: where its expression can be looked at.
        source: ``rules``, or ``api`` when it was pushed.
        actions: whom the rule itself names: ``{"page": "on-call"}``, ``{"channel": "ops-alerts"}``.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=lambda: NONE)
    starts_at: float = 0.0
    ends_at: float | None = None
    value: float | None = None
    generator_url: str = ""
    source: str = RULES
    actions: tuple[Mapping[str, str], ...] = ()
    fingerprint: str = field(init=False, compare=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", fingerprint_of(self.labels))

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def severity(self) -> str:
        return self.labels.get("severity", "")

    def firing(self, now: float) -> bool:
        return self.ends_at is None or now < self.ends_at

    def to_json(self) -> dict[str, Any]:
        """As the journal's state keeps it; `alert_from` reads it."""
        return {
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "starts_at": self.starts_at,
            "ends_at": self.ends_at,
            "value": None if self.value is None else repr(float(self.value)),  # also NaN and infinities
            "generator_url": self.generator_url,
            "source": self.source,
            "actions": [dict(action) for action in self.actions],
        }


def alert_from(document: Mapping[str, Any]) -> Alert:
    """An alert as `Alert.to_json` wrote it."""
    value = document.get("value")
    return Alert(
        labels=document["labels"],
        annotations=document.get("annotations", {}),
        starts_at=float(document["starts_at"]),
        ends_at=document.get("ends_at"),
        value=None if value is None else float(value),
        generator_url=document.get("generator_url", ""),
        source=document.get("source", RULES),
        actions=tuple(document.get("actions", ())),
    )


@dataclass(frozen=True, slots=True)
class Record:
    """An alert as it is kept: since when it is known, and when it was heard of last."""

    alert: Alert
    received_at: float  # by our clock: when this spell of firing was first heard of
    updated_at: float

    @property
    def fingerprint(self) -> str:
        return self.alert.fingerprint

    def firing(self, now: float) -> bool:
        return self.alert.firing(now)

    def to_json(self) -> dict[str, Any]:
        return {**self.alert.to_json(), "received_at": self.received_at, "updated_at": self.updated_at}


def record_from(document: Mapping[str, Any]) -> Record:
    """A record as `Record.to_json` wrote it."""
    return Record(alert_from(document), float(document["received_at"]), float(document["updated_at"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibition:
    """While an alert that `source` fits fires, those that `target` fits are not told, where `equal` labels agree."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What happens to the alerts that `matchers` fit, and that none of `routes` takes.

    Args:
        channels: whom to tell; None: whoever answers for the service.
        goes_on: the routes after this one see the alert too (Alertmanager's ``continue``).
        group_by: alerts that agree in these labels are told together; ``...`` alone: each by itself.
        group_wait: how long the first alert of a group waits for others.
        group_interval: the least time between two messages of a group.
        repeat_interval: after which a group that still fires is told again.
    """

    matchers: tuple[Matcher, ...] = ()
    channels: tuple[str, ...] | None = None
    goes_on: bool = False
    group_by: tuple[str, ...] = ("alertname", "environment", "service")
    group_wait: float = 0.0
    group_interval: float = 30.0
    repeat_interval: float = 4 * 3600.0
    routes: tuple[Route, ...] = ()

    def fits(self, labels: Mapping[str, str]) -> bool:
        return all(matcher.matches(labels) for matcher in self.matchers)


During = Literal["deployment", "maintenance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Alerts that are not told for a while, because somebody knows.

    Args:
        id: of the handbook's own ones ``book:NAME``.
        matchers: all must fit.
        starts_at, ends_at: between which it may hold at all; `ends_at` None: until it is expired.
        window: it holds in these hours only.
        during: it holds only while the alert's service is being deployed, or is within a maintenance window.
        created_by, comment: who, and why.
        expired: its end has been written down.
        written: it is of the handbook, where alone it can be changed.
    """

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: float
    ends_at: float | None = None
    window: Window | None = None
    during: During | None = None
    created_by: str = ""
    comment: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0
    expired: bool = False
    written: bool = False

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels are meant, at whatever time."""
        return all(matcher.matches(labels) for matcher in self.matchers)


@dataclass(frozen=True, slots=True)
class Suppression:
    """Why an alert that fires is not told.

    Args:
        kind: ``silence``, ``inhibition``, ``dependency``, or ``hold``: its cause may be about to fire.
        by: the silence's id, or the fingerprint of the alert behind it.
        why: one sentence.
        until: when it ends for certain; None when that is not known.
    """

    kind: Literal["silence", "inhibition", "dependency", "hold"]
    by: str
    why: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What one channel has been told of one group.

    Args:
        key: of the group, readable, as Alertmanager writes it.
        channel: its name.
        labels: those the group's alerts agree in.
        firing: the alerts that the channel was told fire and not yet that they ended: fingerprint to `starts_at`.
        at: when the last message was decided.
        number: how many messages there were.
        acknowledged: it was told that somebody knows (PagerDuty's acknowledge).
    """

    key: str
    channel: str
    labels: Mapping[str, str]
    firing: Mapping[str, float]
    at: float
    number: int = 1
    acknowledged: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "channel": self.channel,
            "labels": dict(self.labels),
            "firing": dict(self.firing),
            "at": self.at,
            "number": self.number,
            "acknowledged": self.acknowledged,
        }


def told_from(document: Mapping[str, Any]) -> Told:
    """As `Told.to_json` wrote it."""
    return Told(
        document["key"],
        document["channel"],
        document["labels"],
        document["firing"],
        float(document["at"]),
        int(document["number"]),
        bool(document.get("acknowledged", False)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMessage:
    """What one group has to say: the part of a notification that is about it.

    Args:
        key: of the group.
        labels: those its alerts agree in.
        firing: what fires, new or not, and is not suppressed.
        resolved: what had been told and has ended.
        others: how many more the channel was told of that fire still, suppressed by now.
        reminder: nothing is new.
        acknowledged: nothing is new but that somebody has silenced all of it.
    """

    key: str
    labels: Mapping[str, str]
    firing: tuple[Alert, ...]
    resolved: tuple[Alert, ...] = ()
    others: int = 0
    reminder: bool = False
    acknowledged: bool = False

    @property
    def status(self) -> Status:
        """Resolved as soon as nothing fires that the channel was told of."""
        return "firing" if self.firing or self.others else "resolved"

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "labels": dict(self.labels),
            "firing": [alert.to_json() for alert in self.firing],
            "resolved": [alert.to_json() for alert in self.resolved],
            "others": self.others,
            "reminder": self.reminder,
            "acknowledged": self.acknowledged,
        }


@dataclass(frozen=True, slots=True)
class Words:
    """What a message says that others than alerting have written.

    Args:
        title: one line. text: plain. url: where one can do something about it; may be empty.
    """

    title: str
    text: str
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message to one channel; of several groups where a limit had them bundled.

    `id` stays the same however often it is tried: receivers tell by it that they have seen it. `words`, where there
    are any, are said instead of what alerting would.
    """

    id: str
    channel: str
    groups: tuple[GroupMessage, ...]
    at: float
    words: Words | None = None

    @property
    def status(self) -> Status:
        return "firing" if any(group.status == "firing" for group in self.groups) else "resolved"

    @property
    def firing(self) -> tuple[Alert, ...]:
        return tuple(alert for group in self.groups for alert in group.firing)

    @property
    def resolved(self) -> tuple[Alert, ...]:
        return tuple(alert for group in self.groups for alert in group.resolved)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "channel": self.channel,
            "at": self.at,
            "groups": [group.to_json() for group in self.groups],
            "words": None if self.words is None else asdict(self.words),
        }


def notification_from(document: Mapping[str, Any]) -> Notification:
    """As `Notification.to_json` wrote it."""
    return Notification(
        id=document["id"],
        channel=document["channel"],
        at=float(document["at"]),
        groups=tuple(
            GroupMessage(
                key=group["key"],
                labels=group["labels"],
                firing=tuple(alert_from(alert) for alert in group["firing"]),
                resolved=tuple(alert_from(alert) for alert in group["resolved"]),
                others=int(group.get("others", 0)),
                reminder=bool(group.get("reminder", False)),
                acknowledged=bool(group.get("acknowledged", False)),
            )
            for group in document["groups"]
        ),
        words=Words(**document["words"]) if document.get("words") else None,
    )
