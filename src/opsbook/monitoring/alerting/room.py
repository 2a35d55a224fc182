"""The room put together: what those who watch hand over to, and what the faces ask."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from opsbook.book import Book
from opsbook.book.matchers import LabelMatcher
from opsbook.monitoring.alerting.causes import Place
from opsbook.monitoring.alerting.dispatch import Dispatch, Suspects
from opsbook.monitoring.alerting.ledger import Ledger, Writing
from opsbook.monitoring.alerting.model import (
    Alert,
    GroupMessage,
    Notification,
    Record,
    Silence,
    Suppression,
)  # fmt: skip
from opsbook.monitoring.alerting.responding import INCIDENTS, NOBODY, Responders
from opsbook.monitoring.alerting.routing import Destination
from opsbook.monitoring.alerting.scene import Manner
from opsbook.monitoring.alerting.silences import Wanted, added, expired, preview
from opsbook.monitoring.notifications.delivery import ChannelState, Delivery
from opsbook.monitoring.notifications.senders import SecretValues, Senders
from opsbook.world.words import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """An alert as it is shown.

    Args:
        state: ``firing``, ``suppressed`` or ``resolved``.
        suppressions: why it is not told.
        channels: where it goes.
        told: the channels that know that it fires.
    """

    alert: Alert
    state: str
    suppressions: tuple[Suppression, ...]
    channels: tuple[str, ...]
    told: tuple[str, ...]
    received_at: float
    updated_at: float


class Alerting:
    """Everything that the faces, and those who watch, may ask.

    Args:
        book: the handbook at this moment.
        journal: where all is kept.
        secrets: for channels.
        deploying: environments and services that are being deployed now.
        responders: who is on call, and who opens incidents.
        new_id: an identifier nobody can guess, as hexadecimal digits.
        url: gives the console's address, for links; may be empty.
        log: takes what went wrong in the background, a line each.
        boundary: called with the name of each place where a crash matters.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        journal: Writing,
        secrets: SecretValues,
        clock: Clock,
        *,
        deploying: Callable[[], Collection[Place]] = frozenset,
        responders: Responders = NOBODY,
        new_id: Callable[[], str],
        url: Callable[[], str] = str,
        log: Callable[[str], None],
        boundary: Callable[[str], None] = lambda place: None,
    ) -> None:
        self._book = book
        self._clock = clock
        self._new_id = new_id
        ledger = Ledger(journal)
        self.delivery = Delivery(
            book,
            ledger,
            Senders(secrets),
            secrets.mask,
            clock,
            url=url,
            log=log,
            boundary=boundary,
            inside={INCIDENTS: responders.receive} if responders.receive is not None else {},
        )
        self._dispatch = Dispatch(
            book,
            ledger,
            self.delivery,
            clock,
            deploying=deploying,
            responders=responders,
            log=log,
            boundary=boundary,
        )

    def start(self) -> None:
        """Remember what was before the restart, send what was not sent, and go on deciding.

        Raises:
            OpsbookError: the journal cannot be read.
        """
        self._dispatch.start()

    def close(self) -> None:
        """Stop deciding and sending; what is not sent yet stays in the outbox."""
        self._dispatch.close()

    # --- those who watch ---

    def receive(self, alerts: Sequence[Alert]) -> None:
        """Take what is said about alerts: those that fire, and those that have ended (`ends_at` is past).

        Saying it twice is fine. On return it is written down, and who is to be told at once is being told.
        """
        self._dispatch.receive(alerts)

    def watch(self, *suspects: Suspects) -> None:
        """Ask these which alerts may be about to fire: symptoms wait for a cause that is among them."""
        self._dispatch.watch(*suspects)

    def scraped(self, at_ms: int) -> None:
        """A round of scrapes has been committed, and rules run on it now (`telemetry.on_scraped`).

        What they find is told without waiting out a `group_wait` that ends before the next round: nothing could come.
        """
        self._dispatch.scraped()

    def wake(self) -> None:
        """Decide anew now: something outside has changed, such as a deployment that began or ended."""
        self._dispatch.wake()

    # --- silences ---

    def silence(self, wanted: Wanted, *, actor: str) -> Silence:
        """Add a silence, or change one. Raises Invalid, NotFound: see `silences.added`."""
        with self._dispatch.reading() as now:
            silence, change = added(wanted, self._dispatch.silences, now=now, new_id=self._uuid, actor=actor)
            self._dispatch.change(change, now)
            return silence

    def _uuid(self) -> str:
        """As Alertmanager's clients want the ids of silences."""
        return str(UUID(hex=self._new_id()))

    def expire(self, name: str, *, actor: str) -> None:
        """End a silence now. Raises NotFound, or Invalid for the handbook's."""
        with self._dispatch.reading() as now:
            self._dispatch.change(expired(name, self._dispatch.silences, now=now, actor=actor), now)

    def silences(self) -> tuple[Silence, ...]:
        """The handbook's, and those that people added; those that are over since days left out."""
        with self._dispatch.reading():
            return (*self._dispatch.rules.silences, *self._dispatch.silences.values())

    def hidden_by(self, matchers: Sequence[LabelMatcher]) -> tuple[AlertView, ...]:
        """What a silence with these matchers would hide now. Raises Invalid."""
        with self._dispatch.reading() as now:
            told = self._who_knows()
            found = preview(matchers, self._dispatch.records.values(), now)
            return tuple(self._view(one, now, told) for one in found)

    def maintenance(self) -> tuple[tuple[str, str, bool, float | None], ...]:
        """The handbook's maintenance windows: name, comment, whether it is open, and when that changes next."""
        now = self._clock.now()
        return tuple(
            (one.name, one.comment, one.window.active(now), one.window.next_change(now))
            for one in self._book().notifications.maintenance
        )

    # --- what is shown ---

    def alerts(self) -> tuple[AlertView, ...]:
        """Every alert that is known: those that fire, and those that ended in the last minutes."""
        with self._dispatch.reading() as now:
            told = self._who_knows()
            return tuple(self._view(record, now, told) for record in self._dispatch.records.values())

    def alert(self, fingerprint: str) -> AlertView | None:
        """One of them; None: it is not known."""
        with self._dispatch.reading() as now:
            record = self._dispatch.records.get(fingerprint)
            return None if record is None else self._view(record, now, self._who_knows())

    def suppressions(self) -> Mapping[str, tuple[Suppression, ...]]:
        """Why alerts that fire are not told, by fingerprint."""
        return self._dispatch.suppressions

    def told(self, fingerprint: str) -> dict[str, Any]:
        """Why an alert is not told, as lists of those use it that only name it: ``silenced_by``, ``inhibited_by``."""
        found = self._dispatch.suppressions.get(fingerprint, ())
        return {
            "silenced_by": [one.by for one in found if one.kind == "silence"],
            "inhibited_by": [one.by or one.why for one in found if one.kind != "silence"],
        }

    def destinations(self, alert: Alert) -> tuple[Destination, ...]:
        """Where an alert goes, and with which others."""
        with self._dispatch.reading():
            return self._dispatch.router.destinations(alert)

    def _who_knows(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for told in self._dispatch.told.values():
            for fingerprint in told.firing:
                found.setdefault(fingerprint, []).append(told.channel)
        return {fingerprint: tuple(channels) for fingerprint, channels in found.items()}

    def _view(self, record: Record, now: float, told: Mapping[str, tuple[str, ...]]) -> AlertView:
        fires, fingerprint = record.firing(now), record.fingerprint
        suppressions = self._dispatch.suppressions.get(fingerprint, ()) if fires else ()
        return AlertView(
            alert=record.alert,
            state="suppressed" if suppressions else "firing" if fires else "resolved",
            suppressions=suppressions,
            channels=tuple(one.channel for one in self._dispatch.router.destinations(record.alert)),
            told=told.get(fingerprint, ()),
            received_at=record.received_at,
            updated_at=record.updated_at,
        )

    # --- channels ---

    def channels(self) -> Mapping[str, tuple[str, ChannelState, bool]]:
        """By name: the kind of each channel, how it goes, and whether it is left alone now (quiet hours)."""
        with self._dispatch.reading() as now:
            manners = self._dispatch.manners
            return {
                name: (channel.kind, self.delivery.state(name), _is_quiet(manners.get(name), now))
                for name, channel in self._book().channels.items()
            }

    def test(self, channel: str, *, actor: str) -> str:
        """Send a test message to a channel, at once; what it answered.

        Raises:
            NotFound: there is no such channel. Unreachable, Refused: it did not take it.
        """
        now = self._clock.now()
        alert = Alert(
            labels={"alertname": "Test", "severity": "info", "channel": channel},
            annotations={
                "summary": f"A test of the channel {channel}, asked for by {actor}; nothing is wrong."
            },
            starts_at=now,
        )
        group = GroupMessage(key=f"{{}}/test:{{{self._new_id()}}}", labels=alert.labels, firing=(alert,))
        notification = Notification(id=self._new_id(), channel=channel, groups=(group,), at=now)
        return self.delivery.test(channel, notification)

    def send(self, notification: Notification) -> None:
        """Put a message of somebody else's into the outbox: no limit, no quiet hours, nothing bundled.

        Twice with one id is once, as long as it waits. It is sent even when it cannot be written down.

        Raises:
            NotFound: there is no such channel.
        """
        self.delivery.channel(notification.channel)
        self.delivery.put(notification)

    @property
    def trouble(self) -> str:
        """What keeps alerting from writing down what it does; empty: nothing."""
        return self._dispatch.trouble


def _is_quiet(manner: Manner | None, now: float) -> bool:
    return manner is not None and manner.quiet is not None and manner.quiet.window.active(now)
