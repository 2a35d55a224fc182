"""Sends what was decided: each channel in a thread of its own, so that one that hangs keeps nobody waiting.

At least once: a message leaves the outbox in the transaction that says it was taken. A crash in between sends the one
that was under way again, with the same id.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from opsbook.book import Book
from opsbook.book.channels import Channel
from opsbook.errors import Invalid, NotFound, OpsbookError, Unreachable
from opsbook.journal.model import Entry
from opsbook.monitoring.alerting.ledger import OUTBOX, Documents
from opsbook.monitoring.alerting.model import Notification
from opsbook.monitoring.notifications.rendering import written
from opsbook.monitoring.notifications.schedule import Pending, after_failure, hold_of, next_of, pending_from
from opsbook.monitoring.notifications.senders import Senders
from opsbook.world.channels.words import Message, Refused, Sender
from opsbook.world.words import Clock

_LOOK_SECONDS = 5.0  # while something waits: clocks jump
_GROUPS_NAMED = 20


class Writer(Protocol):
    """The part of the ledger that deliveries are written to."""

    def write(self, documents: Documents, entries: Iterable[Entry] = ()) -> bool: ...


FAILED_LATELY: Final = 900.0
"""Seconds for which a channel counts as failing after a message to it was given up."""


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How it goes with a channel.

    Args:
        waiting: messages that it has not taken yet.
        oldest: when the first of them was decided.
        sent: messages that it took since the start.
        last_sent_at: when it took the last one.
        error: why it did not take the last one that was tried; empty: it did.
        failures: how often in a row it did not. failed_at: when it did not the last time.
    """

    waiting: int = 0
    oldest: float | None = None
    sent: int = 0
    last_sent_at: float | None = None
    error: str = ""
    failures: int = 0
    failed_at: float | None = None

    def failing(self, now: float) -> bool:
        """Whether it is better to take another one: it did not take the last message, and has one that it is tried
        with still, or failed a moment ago. What failed long ago may be well again, and only trying tells."""
        if not self.failures or self.failed_at is None:
            return False
        return self.waiting > 0 or abs(now - self.failed_at) < FAILED_LATELY


class Delivery:
    """The outbox and its workers.

    Args:
        book: the handbook at this moment.
        url: gives the console's address, for links; may be empty.
        inside: channels that are no handbook's: what takes a message returns what it did with it.
        boundary: called with the name of each place where a crash matters.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        ledger: Writer,
        senders: Senders,
        mask: Callable[[str], str],
        clock: Clock,
        *,
        url: Callable[[], str] = str,
        log: Callable[[str], None],
        boundary: Callable[[str], None] = lambda place: None,
        inside: Mapping[str, Callable[[Notification], str]] | None = None,
    ) -> None:
        self._book = book
        self._inside = dict(inside or {})
        self._ledger = ledger
        self._senders = senders
        self._mask = mask
        self._clock = clock
        self._url = url
        self._log = log
        self._boundary = boundary
        self._news = threading.Condition()
        self._lines: dict[str, list[Pending]] = {}
        self._states: dict[str, ChannelState] = {}
        self._workers: dict[str, threading.Thread] = {}
        self._order = 0
        self._stopping = False

    # --- the outbox ---

    def restore(self, documents: Mapping[str, Any]) -> None:
        """What was in the outbox when opsbook ended; before `start`. A restart may be how something was mended: all of
        it is tried at once; what was put in since then is there already."""
        found = sorted(map(pending_from, documents.values()), key=lambda one: one.order)
        with self._news:
            here = {_key(pending) for line in self._lines.values() for pending in line}
            for pending in found:
                if _key(pending) not in here:
                    line = self._lines.setdefault(pending.notification.channel, [])
                    line.append(replace(pending, next_try=0.0))
                self._order = max(self._order, pending.order)

    def documents(self, notifications: Sequence[Notification]) -> tuple[list[Pending], Documents]:
        """The entries of the outbox, to be written in the transaction of the decision; then `take` them."""
        found = []
        for notification in notifications:
            self._order += 1
            found.append(Pending(notification, self._order))
        return found, {_key(pending): pending.to_json() for pending in found}

    def take(self, found: Sequence[Pending]) -> None:
        """Send them, as soon as it goes."""
        with self._news:
            for pending in found:
                channel = pending.notification.channel
                self._lines.setdefault(channel, []).append(pending)
                self._work_on(channel)
            self._news.notify_all()

    def put(self, notification: Notification) -> None:
        """Send one that is not alerting's; one that waits already under its id is that one."""
        with self._news:
            line = self._lines.get(notification.channel, [])
            if any(one.notification.id == notification.id for one in line):
                return
            found, documents = self.documents([notification])
            self._ledger.write(documents)  # when that fails it is sent all the same
            self.take(found)

    def unsent(self) -> frozenset[str]:
        """The groups that have a message in the outbox, as `Destination.name`."""
        with self._news:
            return frozenset(
                f"{channel}\n{group.key}"
                for channel, line in self._lines.items()
                for pending in line
                for group in pending.notification.groups
            )

    def state(self, channel: str) -> ChannelState:
        """How it goes with a channel."""
        with self._news:
            line = self._lines.get(channel, [])
            known = self._states.get(channel, ChannelState())
            return replace(
                known, waiting=len(line), oldest=min((one.notification.at for one in line), default=None)
            )

    # --- the workers ---

    def start(self) -> None:
        """Send what the outbox has, and have every channel of the handbook ready."""
        known = self._book().channels
        with self._news:
            for channel in {*self._lines, *known}:
                self._work_on(channel)

    def close(self, timeout: float = 5.0) -> None:
        """Stop after what is being sent, but wait at most `timeout` seconds for it; the rest stays in the outbox."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
            workers = list(self._workers.values())
        deadline = self._clock.monotonic() + timeout
        for worker in workers:
            worker.join(max(0.0, deadline - self._clock.monotonic()))

    def _work_on(self, channel: str) -> None:
        if channel not in self._workers and not self._stopping:
            worker = threading.Thread(target=self._work, args=(channel,), name=f"to-{channel}", daemon=True)
            self._workers[channel] = worker
            worker.start()

    def _work(self, channel: str) -> None:
        kept: tuple[tuple[str, ...], Sender] | None = None
        if channel in (known := self._book().channels):
            self._senders.prepare(known[channel])
        while (pending := self._next(channel)) is not None:
            try:
                kept = self._deliver(channel, pending, kept)
            except Exception as error:  # a fault here must not end the thread that tells people
                self._failed(pending, f"{type(error).__name__}: {error}", refused=False, asked=None)
        if kept is not None:
            kept[1].close()

    def _next(self, channel: str) -> Pending | None:
        """Wait for something to send; None: opsbook ends."""
        with self._news:
            while not self._stopping:
                line = self._lines.get(channel, [])
                now = self._clock.now()
                if (pending := next_of(line, now)) is not None:
                    return pending
                wait = min((one.next_try - now for one in line), default=None)
                self._news.wait(None if wait is None else min(max(wait, 0.01), _LOOK_SECONDS))
            return None

    def _deliver(
        self, channel: str, pending: Pending, kept: tuple[tuple[str, ...], Sender] | None
    ) -> tuple[tuple[str, ...], Sender] | None:
        if (take := self._inside.get(channel)) is not None:
            self._boundary(f"channel:{channel}:send")
            self._sent(pending, take(pending.notification))
            return None
        try:
            settings = self.channel(channel)
            key = self._senders.key(settings)
            if kept is None or kept[0] != key:
                if kept is not None:
                    kept[1].close()
                kept = key, self._senders.make(settings)
            message = self._message(pending.notification, settings)
            self._boundary(f"channel:{channel}:send")
            answer = kept[1].send(message)
            self._boundary(f"channel:{channel}:sent")
        except Refused as error:
            self._failed(pending, str(error), refused=True, asked=None)
        except OpsbookError as error:
            asked = error.details.get("after") if isinstance(error, Unreachable) else None
            self._failed(pending, str(error), refused=False, asked=asked)
        else:
            self._sent(pending, answer)
        return kept

    def _message(self, notification: Notification, channel: Channel) -> Message:
        return written(notification, title=channel.title, text=channel.text, url=self._url())

    def channel(self, name: str) -> Channel:
        """The channel of the handbook. Raises NotFound."""
        known = self._book().channels
        if name not in known:
            raise NotFound(
                f"the handbook has no channel {name}",
                hint=f"there are: {', '.join(known) or 'none'}; add it under channels: of opsbook.yaml",
            )
        return known[name]

    # --- the outcome ---

    def _sent(self, pending: Pending, answer: str) -> None:
        now, notification = self._clock.now(), pending.notification
        answer = self._mask(answer)[:300]
        data = {**_about(pending), "attempts": pending.attempts + 1}
        data |= {"answer": answer, "seconds": round(max(0.0, now - notification.at), 3)}
        try:
            self._ledger.write({_key(pending): None}, [self._entry("notification.sent", notification, data)])
        except Invalid as error:  # what was answered can be anything; what was taken is not sent again for it
            self._ledger.write({_key(pending): None})
            self._log(f"channel {notification.channel}: what it answered cannot be written down: {error}")
        with self._news:
            self._lines[notification.channel].remove(pending)
            known = self._states.get(notification.channel, ChannelState())
            self._states[notification.channel] = ChannelState(sent=known.sent + 1, last_sent_at=now)

    def _failed(self, pending: Pending, error: str, *, refused: bool, asked: float | None) -> None:
        # What cannot be written down, such as half a surrogate of a file's name, must not end the thread.
        error = self._mask(error).encode("utf-8", "replace").decode()[:500]
        channel = pending.notification.channel
        later = after_failure(pending, error, self._clock.now(), refused=refused, asked=asked)
        if later is None:
            data = {**_about(pending), "attempts": pending.attempts + 1, "error": error}
            entry = self._entry("notification.failed", pending.notification, data)
            self._ledger.write({_key(pending): None}, [entry])
            self._log(f"channel {channel}: a notification is given up: {error}")
        else:
            self._ledger.write({_key(later): later.to_json()})
            if later.attempts == 1:
                self._log(f"channel {channel}: not sent, will be tried again: {error}")
        with self._news:
            line = self._lines[channel]
            place = line.index(pending)
            line[place : place + 1] = [later] if later is not None else []
            known = self._states.get(channel, ChannelState())
            self._states[channel] = known = replace(
                known, error=error, failures=known.failures + 1, failed_at=self._clock.now()
            )
            if not refused:
                self._hold_back(line, self._clock.now() + hold_of(known.failures))

    def _hold_back(self, line: list[Pending], until: float) -> None:
        """The channel itself is out of reach: the others wait too, instead of being tried in vain one by one."""
        for index, other in enumerate(line):
            if other.next_try < until:
                line[index] = replace(other, next_try=until)

    def _entry(self, kind: str, notification: Notification, data: Mapping[str, Any]) -> Entry:
        return Entry(kind, self._subject(notification), data, "opsbook")

    def _subject(self, notification: Notification) -> str:
        """The one environment and service that all of it is about; else the channel, under a word that is neither.

        Labels may come from anywhere: only names of the handbook become a subject.
        """
        book = self._book()
        places = {
            (alert.labels.get("environment", ""), alert.labels.get("service", ""))
            for alert in (*notification.firing, *notification.resolved)
        }
        if len(places) == 1:
            environment, service = places.pop()
            if environment in book.environments:
                return f"{environment}/{service}" if service in book.services else environment
        return f"channels/{notification.channel}"

    # --- by hand ---

    def test(self, name: str, notification: Notification) -> str:
        """Send `notification` to the channel at once; what it answered.

        Raises:
            NotFound: there is no such channel. Unreachable, Refused: it was not taken.
        """
        settings = self.channel(name)
        sender = self._senders.make(settings)
        try:
            return self._mask(sender.send(self._message(notification, settings)))
        except OpsbookError as error:
            kind = type(error)
            raise kind(self._mask(error.message), hint=error.hint, where=f"channel {name}") from None
        finally:
            sender.close()


def _key(pending: Pending) -> str:
    return f"{OUTBOX}{pending.order:012}-{pending.notification.id}"


def _about(pending: Pending) -> dict[str, Any]:
    notification = pending.notification
    return {
        "id": notification.id,
        "channel": notification.channel,
        "status": notification.status,
        "groups": [group.key[:300] for group in notification.groups[:_GROUPS_NAMED]],
        "firing": len(notification.firing),
        "resolved": len(notification.resolved),
    }
