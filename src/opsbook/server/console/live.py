"""Notify, then fetch: pages are told that something changed, and fetch it themselves.

A topic (``deployment/d-7``) has a version, the number of its last change. What is sent over a page's one stream is
topic and version only, at most once a second for each; a slow reader therefore costs no memory. What does not show in
the journal (a health, a wait) is found by looking once a second, once for all who watch.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from opsbook.errors import OpsbookError
from opsbook.journal import Event, Journal
from opsbook.security.model import Identity

LOOK_SECONDS = 1.0
LOOK_SHARE = 25.0  # a look that takes t is repeated after this many t at the earliest: at most 4 % of a core
COALESCE_SECONDS = 1.0
FIGURES_SECONDS = 2.0  # no figure in a text need run faster; what the journal says is told at once
BEAT_SECONDS = 10.0  # shorter than the idle timeout of every common proxy
KEPT_TOPICS = 4096
KEPT_POINTS = 120


class Watch(Protocol):
    """A room's part in live pages."""

    def topics(self, event: Event) -> Iterable[str]:
        """What is different because of `event`."""

    def may_follow(self, identity: Identity, topic: str) -> bool | None:
        """Whether `identity` may be told of it; None when the topic is none of this room's."""

    def fingerprint(self, topic: str) -> str | None:
        """Something that differs when the page of `topic` does; None when the topic is none of this room's."""

    def points(self, topic: str) -> Sequence[Mapping[str, Any]]:
        """The points of the topic's chart so far, each with its time `at`."""


@dataclass(slots=True)
class _Watched:
    """A topic that somebody looks at now."""

    followers: int = 0
    fingerprint: str = ""
    due: float = 0.0  # monotonic
    told: float = float("-inf")  # monotonic: when a look last told of a change
    points: deque[tuple[int, Mapping[str, Any]]] = field(default_factory=lambda: deque(maxlen=KEPT_POINTS))
    newest: float | None = None  # `at` of the last point


@dataclass(slots=True, eq=False)
class _Follower:
    topics: frozenset[str]
    woken: asyncio.Event
    loop: asyncio.AbstractEventLoop

    def wake(self) -> None:
        # A loop that has just been closed has nobody left to wake.
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.woken.set)


class Live:
    """The versions of all topics, and who is told of them."""

    def __init__(self, journal: Journal, watches: Sequence[Watch], stopping: threading.Event) -> None:
        self._journal = journal
        self._watches = watches
        self._stopping = stopping
        self._guard = threading.Lock()
        self._sequence = 0
        self._changed: OrderedDict[str, int] = OrderedDict()
        self._forgotten = 0  # the newest change among the topics that are no longer remembered
        self._watched: dict[str, _Watched] = {}
        self._followers: set[_Follower] = set()
        self._looking: threading.Thread | None = None
        self._ended = False
        self._start = secrets.token_hex(4)  # numbers of another start mean nothing
        self._head = journal.head().id
        self._unsubscribe = journal.subscribe(self._happened)

    def close(self) -> None:
        """End every stream; may be called from any thread, and twice."""
        self._ended = True
        self._unsubscribe()
        for follower in tuple(self._followers):
            follower.wake()

    def version(self, topics: Iterable[str]) -> int:
        """The number of the last change of any of them."""
        with self._guard:
            return max((self._changed.get(topic, self._forgotten) for topic in topics), default=0)

    def may_follow(self, identity: Identity, topic: str) -> bool:
        """Whether any room lets `identity` be told of it."""
        return any(watch.may_follow(identity, topic) for watch in self._watches)

    def touch(self, topics: Iterable[str]) -> None:
        """They are different from now on."""
        with self._guard:
            for topic in topics:
                self._sequence += 1
                self._changed[topic] = self._sequence
                self._changed.move_to_end(topic)
            while len(self._changed) > KEPT_TOPICS:
                self._forgotten = max(self._forgotten, self._changed.popitem(last=False)[1])
            concerned = [follower for follower in self._followers if not follower.topics.isdisjoint(topics)]
        for follower in concerned:
            follower.wake()

    async def follow(
        self, topics: frozenset[str], last: str | None, admitted: Callable[[], bool]
    ) -> AsyncIterator[str]:
        """Server-sent events for one page until it leaves.

        Args:
            last: the id of the last event it got, before it lost its connection.
            admitted: asked now and then; the stream ends when the answer is no.
        """
        follower = _Follower(topics, asyncio.Event(), asyncio.get_running_loop())
        self._join(follower)
        try:
            start, _, number = (last or "").partition(".")
            known = start == self._start and number.isdigit()
            seen = int(number) if known else self._sequence
            first = "beat" if known or not last else "resync"
            yield f"retry: 1000\nid: {self._start}.{seen}\nevent: {first}\ndata: {{}}\n\n"
            while not self._ended:
                follower.woken.clear()
                messages, seen = self._news(topics, seen)
                if messages:
                    yield "".join(messages)
                    await asyncio.sleep(COALESCE_SECONDS)
                elif not await _woken(follower.woken, BEAT_SECONDS):
                    if not await asyncio.to_thread(admitted):
                        return
                    yield "event: beat\ndata: {}\n\n"
        finally:
            self._leave(follower)

    def _news(self, topics: frozenset[str], seen: int) -> tuple[list[str], int]:
        with self._guard:
            now = self._sequence
            changed = {t: v for t in topics if (v := self._changed.get(t, self._forgotten)) > seen}
            fresh = {
                topic: [point for number, point in self._watched[topic].points if number > seen]
                for topic in topics
                if topic in self._watched
            }
        label = f"id: {self._start}.{now}"
        messages = [
            _message(label, "changed", {"topic": topic, "version": version})
            for topic, version in changed.items()
        ]
        messages += [
            _message(label, "points", {"topic": topic, "points": points})
            for topic, points in fresh.items()
            if points
        ]
        return messages, now

    # --- looking

    def _happened(self, event: Event) -> None:
        self._head = max(self._head, event.id)
        self.touch({topic for watch in self._watches for topic in watch.topics(event)})

    def _join(self, follower: _Follower) -> None:
        with self._guard:
            self._followers.add(follower)
            for topic in follower.topics:
                self._watched.setdefault(topic, _Watched()).followers += 1
            if self._looking is None:
                self._looking = threading.Thread(target=self._look_on, name="live", daemon=True)
                self._looking.start()

    def _leave(self, follower: _Follower) -> None:
        with self._guard:
            self._followers.discard(follower)
            for topic in follower.topics:
                watched = self._watched[topic]
                watched.followers -= 1
                if not watched.followers:
                    del self._watched[topic]

    def _look_on(self) -> None:
        try:
            while not self._stopping.wait(LOOK_SECONDS):
                with self._guard:
                    if not self._watched or self._ended:
                        self._looking = None
                        return
                    topics = tuple(self._watched.items())
                self._look_for_others()
                for topic, watched in topics:
                    if time.monotonic() >= watched.due:
                        self._look(topic, watched)
        except BaseException:
            self._looking = None  # the next page that is opened begins anew
            raise

    def _look_for_others(self) -> None:
        """What other processes appended to the same journal is told by nobody."""
        try:
            found = self._journal.events(after=self._head, limit=500)
        except OpsbookError:
            return  # the database is away; the next look comes in a second
        for event in found:
            self._happened(event)

    def _look(self, topic: str, watched: _Watched) -> None:
        began = time.monotonic()
        found, points = self._seen(topic)
        took = time.monotonic() - began
        watched.due = began + max(LOOK_SECONDS * 0.9, took * LOOK_SHARE)
        fresh = [point for point in points if watched.newest is None or point["at"] > watched.newest]
        # The first look counts as a change: there may have been one since the page was made. What shows in the journal
        # alone has an empty fingerprint, and was told.
        changed = found != watched.fingerprint and began - watched.told >= FIGURES_SECONDS
        if changed:
            watched.fingerprint, watched.told = found, began
        if fresh:
            with self._guard:
                # At the first look also what was there before: a page may have fetched just before the last of it.
                for point in fresh:
                    self._sequence += 1
                    watched.points.append((self._sequence, point))
                watched.newest = fresh[-1]["at"]
        if changed:
            self.touch((topic,))
        elif fresh:
            for follower in tuple(self._followers):
                if topic in follower.topics:
                    follower.wake()

    def _seen(self, topic: str) -> tuple[str, Sequence[Mapping[str, Any]]]:
        try:
            for watch in self._watches:
                if (found := watch.fingerprint(topic)) is not None:
                    return found, watch.points(topic)
        except OpsbookError as error:  # the page says it too, once it is told to fetch
            return f"{type(error).__name__}: {error}", ()
        return "", ()


async def _woken(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _message(label: str, name: str, data: Mapping[str, Any]) -> str:
    return f"{label}\nevent: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
