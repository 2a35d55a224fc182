"""What to tell whom, now, and when to look again. Pure: nothing here has a clock or sends anything.

The semantics are Alertmanager's, with these differences, each so that a person knows sooner or nothing is lost:

- `group_wait` is not waited for where it is known that nothing can come: our own rules speak after each round of
  scrapes, and are silent until the next.
- There are no ticks: a group waits `group_interval` after its last message, not until the next multiple of it.
- What was told as firing is told as resolved, also when it was silenced or inhibited in between.
- A group whose alerts have all ended keeps its `group_interval`: what flaps does not page each time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from opsbook.monitoring.alerting.bundling import Candidate, bundled
from opsbook.monitoring.alerting.model import (
    RULES,
    Alert,
    GroupMessage,
    Notification,
    Record,
    Route,
    Suppression,
    Told,
)  # fmt: skip
from opsbook.monitoring.alerting.routing import Destination
from opsbook.monitoring.alerting.scene import Manner, Plan, Scene
from opsbook.monitoring.alerting.suppression import Situation

RETENTION = 900.0
"""Seconds for which an alert that has ended is shown, and counts as a cause that was there."""


@dataclass(slots=True)
class _Group:
    """The alerts of one group that may be told to one channel."""

    destination: Destination
    firing: list[Record] = field(default_factory=list)


def decide(scene: Scene) -> Plan:
    """Which groups notify which channel with which alerts now, and when to look again."""
    return _Decision(scene).plan()


class _Decision:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._now = scene.now
        self._moments: list[float] = []  # at which something is to be decided anew
        self._suppressions: dict[str, tuple[Suppression, ...]] = {}
        self._groups: dict[str, _Group] = {}
        self._told: dict[str, Told | None] = {}
        self._quiet = {
            name: manner.quiet
            for name, manner in scene.manners.items()
            if manner.quiet is not None and manner.quiet.window.active(scene.now)
        }

    def plan(self) -> Plan:
        scene = self._scene
        self._sort_out()
        waiting: dict[str, list[Candidate]] = defaultdict(list)
        for name in dict.fromkeys((*self._groups, *scene.told)):
            if (candidate := self._candidate(name)) is not None:
                waiting[candidate.channel].append(candidate)
        notifications: list[Notification] = []
        spent: dict[str, tuple[float, ...]] = {}
        for channel, candidates in waiting.items():
            limit = scene.manners.get(channel, Manner()).limit
            found = bundled(channel, candidates, limit, scene.spent.get(channel, ()), scene.now)
            self._look_at(found.again)
            if not found.notifications:
                continue
            notifications += found.notifications
            if found.spent is not None:
                spent[channel] = found.spent
            for candidate in candidates:
                self._told[candidate.name] = candidate.told
                self._look_at(self._after(candidate))
        forgotten = tuple(self._forgotten())
        return Plan(
            notifications=tuple(notifications),
            told=self._told,
            spent=spent,
            forgotten=forgotten,
            suppressions=self._suppressions,
            wake_at=min((at for at in self._moments if at > self._now), default=None),
        )

    # --- what fires, by group ---

    def _sort_out(self) -> None:
        scene, now = self._scene, self._now
        records = scene.records.values()
        situation = Situation(
            scene.rules,
            records,
            silences=scene.silences,
            suspects=scene.suspects,
            deploying=scene.deploying,
            now=now,
        )
        for record in records:
            if not record.firing(now):
                continue
            self._look_at(record.alert.ends_at)
            if found := situation.suppressions(record):
                self._suppressions[record.fingerprint] = found
                for one in found:
                    self._look_at(one.until)
                continue
            for destination in scene.router.destinations(record.alert):
                name = destination.name
                if name not in self._groups:
                    self._groups[name] = _Group(destination)
                self._groups[name].firing.append(record)
        self._look_at(situation.next_change())
        for quiet in self._quiet.values():
            self._look_at(quiet.window.next_change(now))

    def _look_at(self, moment: float | None) -> None:
        if moment is not None:
            self._moments.append(moment)

    # --- one group and channel ---

    def _candidate(self, name: str) -> Candidate | None:
        told, group = self._scene.told.get(name), self._groups.get(name)
        if told is not None and told.channel not in self._scene.manners:
            self._told[name] = None  # the handbook has no such channel any more: there is nobody to tell
            return None
        if told is None:
            return None if group is None else self._first(name, group)
        return self._next(name, told, group)

    def _first(self, name: str, group: _Group) -> Candidate | None:
        """The group has told this channel nothing yet."""
        destination = group.destination
        firing = [record for record in group.firing if self._may_be_told(destination.channel, record.alert)]
        if not firing:
            return None
        due = min(record.received_at for record in firing) + destination.route.group_wait
        if due > self._now and not self._is_whole(firing, due):
            self._look_at(due)
            return None
        return self._message(name, destination.channel, destination.key, destination.labels, firing, None)

    def _is_whole(self, firing: Iterable[Record], due: float) -> bool:
        """Whether it is known that no other of its alerts comes before `due`: then nobody need wait for one."""
        more_at = self._scene.more_at
        return more_at is not None and more_at > due and all(one.alert.source == RULES for one in firing)

    def _next(self, name: str, told: Told, group: _Group | None) -> Candidate | None:
        channel = told.channel
        manner = self._scene.manners.get(channel, Manner())
        ended = [fingerprint for fingerprint in told.firing if not self._fires(fingerprint)]
        if ended and not manner.resolved:
            told = self._without(name, told, ended)
            ended = []
        tellable = [one for one in ended if self._ending_may_be_told(channel, one)]
        firing = [r for r in group.firing if self._may_be_told(channel, r.alert)] if group else []
        new = any(record.fingerprint not in told.firing for record in firing)
        route = self._route(name, told, group)
        # A clock that was set back must not keep anybody waiting; a correction of seconds reminds nobody.
        ahead = told.at > self._now + route.group_interval
        last = self._now - route.repeat_interval if ahead else told.at
        again = last + route.group_interval
        if new or tellable:
            if again > self._now:
                self._look_at(again)
                return None
            return self._message(name, channel, told.key, told.labels, firing, told, tellable)
        if not told.firing:
            # All of it has ended and was told: remembered as long as it keeps the group from flapping.
            if again <= self._now:
                self._told[name] = None
            else:
                self._look_at(again)
            return None
        return self._reminder(name, told, group, firing, manner, last)

    def _route(self, name: str, told: Told | None, group: _Group | None) -> Route:
        """The route of a group; of one that has nothing left to tell of, by what it told of."""
        if group is not None:
            return group.destination.route
        for fingerprint in told.firing if told else ():
            if (record := self._scene.records.get(fingerprint)) is not None:
                for destination in self._scene.router.destinations(record.alert):
                    if destination.name == name:
                        return destination.route
        return self._scene.router.root

    def _reminder(
        self,
        name: str,
        told: Told,
        group: _Group | None,
        firing: list[Record],
        manner: Manner,
        last: float,
    ) -> Candidate | None:
        if manner.acknowledges and not told.acknowledged and self._all_silenced(told):
            return self._message(name, told.channel, told.key, told.labels, [], told, acknowledged=True)
        if group is None or not firing:
            return None
        due = last + group.destination.route.repeat_interval
        if due > self._now:
            self._look_at(due)
            return None
        if name in self._scene.unsent:  # it has not even got the last one: it would get two at once
            return None
        return self._message(name, told.channel, told.key, told.labels, firing, told, reminder=True)

    def _message(
        self,
        name: str,
        channel: str,
        key: str,
        labels: Mapping[str, str],
        firing: Iterable[Record],
        told: Told | None,
        ended: Collection[str] = (),
        *,
        reminder: bool = False,
        acknowledged: bool = False,
    ) -> Candidate:
        now_firing = {record.fingerprint: record.alert.starts_at for record in firing}
        before = {} if told is None else dict(told.firing)
        left = {fingerprint: at for fingerprint, at in before.items() if fingerprint not in ended}
        message = GroupMessage(
            key=key,
            labels=labels,
            firing=tuple(self._alerts(now_firing)),
            resolved=tuple(self._alerts(ended)),
            others=sum(fingerprint not in now_firing for fingerprint in left),
            reminder=reminder,
            acknowledged=acknowledged,
        )
        after = Told(
            key=key,
            channel=channel,
            labels=labels,
            firing=left | now_firing,
            at=self._now,
            number=1 if told is None else told.number + 1,
            acknowledged=acknowledged,
        )
        return Candidate(name, channel, message, after)

    def _without(self, name: str, told: Told, ended: Collection[str]) -> Told:
        """A channel that wants no ends: they are taken as told."""
        firing = {one: at for one, at in told.firing.items() if one not in ended}
        found = Told(told.key, told.channel, told.labels, firing, told.at, told.number, told.acknowledged)
        self._told[name] = found
        return found

    def _alerts(self, fingerprints: Iterable[str]) -> Iterator[Alert]:
        for fingerprint in fingerprints:
            if fingerprint in self._scene.records:
                yield self._scene.records[fingerprint].alert

    def _fires(self, fingerprint: str) -> bool:
        record = self._scene.records.get(fingerprint)
        return record is not None and record.firing(self._now)

    def _all_silenced(self, told: Told) -> bool:
        return all(
            any(one.kind == "silence" for one in self._suppressions.get(fingerprint, ()))
            for fingerprint in told.firing
        )

    # --- the channel's own wishes ---

    def _may_be_told(self, channel: str, alert: Alert) -> bool:
        quiet = self._quiet.get(channel)
        return quiet is None or alert.severity in quiet.except_

    def _ending_may_be_told(self, channel: str, fingerprint: str) -> bool:
        record = self._scene.records.get(fingerprint)
        return record is None or self._may_be_told(channel, record.alert)

    def _after(self, candidate: Candidate) -> float:
        before = self._scene.told.get(candidate.name)
        route = self._route(candidate.name, before, self._groups.get(candidate.name))
        return self._now + (route.repeat_interval if candidate.told.firing else route.group_interval)

    # --- what need not be remembered ---

    def _forgotten(self) -> Iterator[str]:
        after = {**self._scene.told, **self._told}
        referred = {one for told in after.values() if told is not None for one in told.firing}
        for fingerprint, record in self._scene.records.items():
            ends_at = record.alert.ends_at
            if ends_at is None or record.firing(self._now) or fingerprint in referred:
                continue
            if ends_at + RETENTION <= self._now:
                yield fingerprint
            else:
                self._look_at(ends_at + RETENTION)
