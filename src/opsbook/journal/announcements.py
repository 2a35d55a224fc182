"""Telling those who wait in this process what was just committed, in order, without hurting the writer."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable

from opsbook.journal.model import Event

_log = logging.getLogger(__name__)


class Announcements:
    """The subscribers of a journal in this process, and the threads that wait for its next event."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._newest = 0
        self._closed = False
        self._subscribers: list[Callable[[Event], None]] = []
        self._queue: deque[Event] = deque()
        self._delivering = False

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call `callback` for each event from now on. Returns a function that ends it; twice is fine."""
        with self._news:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._news:
                # By identity: an equal callback may be subscribed twice.
                self._subscribers = [known for known in self._subscribers if known is not callback]

        return unsubscribe

    def queue(self, events: Iterable[Event]) -> None:
        """Line up committed events. The caller still has the writers' turn: the order is that of the ids."""
        with self._news:
            for event in events:
                self._queue.append(event)
                self._newest = max(self._newest, event.id)
            self._news.notify_all()

    def deliver(self) -> None:
        """Hand the queued events to the subscribers.

        One thread delivers at a time and takes what others queue meanwhile; a callback may append, its event
        comes next in line.
        """
        while True:
            with self._news:
                if self._delivering or not self._queue:
                    return
                self._delivering = True
                event = self._queue.popleft()
                subscribers = tuple(self._subscribers)
            try:
                for callback in subscribers:
                    _call(callback, event)
            finally:
                with self._news:
                    self._delivering = False

    def wait(self, after: int, timeout: float) -> None:
        """Sleep until this process has appended an event newer than `after`, at most `timeout` seconds."""
        with self._news:
            self._news.wait_for(lambda: self._newest > after or self._closed, timeout)

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Wake everybody who waits; nobody is called any more."""
        with self._news:
            self._closed = True
            self._subscribers = []
            self._news.notify_all()


def _call(callback: Callable[[Event], None], event: Event) -> None:
    try:
        callback(event)
    except Exception:
        # The event is committed and its writer has not asked for this callback: there is nobody to raise to.
        _log.exception("a subscriber failed on event %d (%s)", event.id, event.kind)
