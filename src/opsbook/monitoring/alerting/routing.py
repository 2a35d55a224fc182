"""Which channels an alert goes to, and with which others: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from opsbook.book import Book
from opsbook.book.matchers import LabelMatcher
from opsbook.book.notifications import GROUP_BY, NotificationsFile, RouteSpec
from opsbook.monitoring.alerting.model import Alert, Route
from opsbook.monitoring.alerting.responding import INCIDENTS, NOBODY, ROUTE, Responders
from opsbook.promql.series import Matcher

EVERYTHING = "..."
"""In `group_by`: all labels, so that each alert is a group of its own."""

_REMEMBERED = 100_000  # alerts whose way is known by heart


@dataclass(frozen=True, slots=True)
class Destination:
    """A group on its way to a channel, and the route that says how."""

    key: str
    channel: str
    labels: Mapping[str, str]
    route: Route

    @property
    def name(self) -> str:
        """What tells this group and channel from all others."""
        return f"{self.channel}\n{self.key}"


def matchers_from(written: tuple[LabelMatcher, ...]) -> tuple[Matcher, ...]:
    """The handbook's matchers as the ones that labels are held against."""
    return tuple(Matcher(one.label, one.operator, one.value) for one in written)


def routes_from(said: NotificationsFile) -> Route:
    """The routes of a handbook; what one leaves out it has from the one around it."""
    root = Route(
        channels=said.channels,
        group_by=said.group_by or GROUP_BY,
        group_wait=said.group_wait,
        group_interval=said.group_interval,
        repeat_interval=said.repeat_interval,
    )
    return _with_children(root, said.routes)


def _with_children(parent: Route, specs: tuple[RouteSpec, ...]) -> Route:
    children = tuple(_with_children(_child(parent, spec), spec.routes) for spec in specs)
    return replace(parent, routes=children)


def _child(parent: Route, spec: RouteSpec) -> Route:
    return Route(
        matchers=matchers_from(spec.match),
        channels=_or(spec.channels, parent.channels),
        goes_on=spec.continue_,
        group_by=_or(spec.group_by, parent.group_by),
        group_wait=_or(spec.group_wait, parent.group_wait),
        group_interval=_or(spec.group_interval, parent.group_interval),
        repeat_interval=_or(spec.repeat_interval, parent.repeat_interval),
    )


V = TypeVar("V")

People = tuple[tuple[str, ...] | None, ...]


def _or(own: V | None, inherited: V) -> V:
    return inherited if own is None else own


class Router:
    """The ways of one handbook's alerts.

    Args:
        book: says who owns a service, and by which channel a contact is reached.
        responders: who is on call, and for which alerts an incident opens.
    """

    def __init__(self, book: Book, responders: Responders = NOBODY) -> None:
        self.root = routes_from(book.notifications)
        self._book = book
        self._responders = responders
        self._known: dict[tuple[str, int, People], tuple[Destination, ...]] = {}

    def destinations(self, alert: Alert) -> tuple[Destination, ...]:
        """The channels that are told of `alert`, each once, with the group it is in there."""
        people = tuple(self._responders.on_call(one["page"]) for one in alert.actions if "page" in one)
        remembered = alert.fingerprint, hash(tuple(tuple(one.items()) for one in alert.actions)), people
        found = self._known.get(remembered)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[remembered] = tuple(self._find(alert))
        return found

    def _find(self, alert: Alert) -> Iterator[Destination]:
        seen: set[str] = set()
        for path, route in _taken("{}", self.root, alert.labels):
            channels = self._responsible(alert.labels) if route.channels is None else route.channels
            for channel in channels:
                if channel not in seen:
                    seen.add(channel)
                    yield _destination(path, channel, route, alert.labels)
        for action in alert.actions:
            for channel in self._named(action, alert.labels):
                if channel not in seen:
                    seen.add(channel)
                    yield _destination("{}/actions", channel, self.root, alert.labels)
        if self._responders.receive is not None and self._opens(alert):
            yield _destination("{}/incidents", INCIDENTS, ROUTE, alert.labels)

    def _opens(self, alert: Alert) -> bool:
        asked = self._responders
        return asked.opens(alert) or any(
            "run" in one or asked.escalates(one.get("page", "")) for one in alert.actions
        )

    def _named(self, action: Mapping[str, str], labels: Mapping[str, str]) -> tuple[str, ...]:
        if channel := action.get("channel"):
            return (channel,)
        if (name := action.get("page")) is None:
            return ()  # a page of runbooks/ to run
        if self._responders.escalates(name):
            return ()  # the incident pages them, one after the other
        if (people := self._responders.on_call(name)) is None:
            return self._channels_of(name)
        found = tuple(dict.fromkeys(channel for one in people for channel in self._channels_of(one)))
        return found or self._responsible(labels)  # nobody is on call, or none of them can be reached

    def _responsible(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The channels of the service's owner, else of the handbook's, else all there are: better told to all of
        them than to none."""
        service = self._book.services.get(labels.get("service", ""))
        for contact in (service.owner if service else None, self._book.owner):
            if contact and (found := self._channels_of(contact)):
                return found
        return tuple(self._book.channels)

    def _channels_of(self, contact: str) -> tuple[str, ...]:
        """A contact's own channel, or those of a team's members."""
        known = self._book.contacts
        if contact in known and (own := known[contact].channel):
            return (own,)
        people = sorted(self._book.people(contact))
        return tuple(dict.fromkeys(channel for one in people if (channel := known[one].channel)))


def _taken(path: str, route: Route, labels: Mapping[str, str]) -> Iterator[tuple[str, Route]]:
    """The routes that take the alert: the deepest that fit, as in Alertmanager."""
    took = False
    for child in route.routes:
        if not child.fits(labels):
            continue
        took = True
        name = ",".join(map(str, child.matchers))
        yield from _taken(f"{path}/{{{name}}}", child, labels)
        if not child.goes_on:
            break
    if not took:
        yield path, route


def _destination(path: str, channel: str, route: Route, labels: Mapping[str, str]) -> Destination:
    names = sorted(labels) if EVERYTHING in route.group_by else route.group_by
    group = {name: labels[name] for name in names if name in labels}
    said = ", ".join(f'{name}="{_escaped(value)}"' for name, value in sorted(group.items()))
    return Destination(f"{path}:{{{said}}}", channel, group, route)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
