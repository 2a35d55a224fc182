"""The room put together: alerts come in, are decided upon, and what follows is written down and sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import opsbook.monitoring.alerting.kinds as _kinds  # noqa: F401 - registers the kinds of events
from opsbook.book import Book
from opsbook.book.matchers import LabelMatcher
from opsbook.book.notifications import Delivery as Wishes
from opsbook.book.notifications import RateLimit
from opsbook.errors import OpsbookError
from opsbook.journal.model import Entry
from opsbook.monitoring.alerting.ledger import (
    Ledger,
    Writing,
    record_document,
    spent_document,
    told_document,
)  # fmt: skip
from opsbook.monitoring.alerting.merging import kept_alive, merged
from opsbook.monitoring.alerting.model import (
    PUSHED,
    Alert,
    GroupMessage,
    Notification,
    Record,
    Silence,
    Suppression,
    Told,
)  # fmt: skip
from opsbook.monitoring.alerting.plan import Manner, Plan, Scene, decide
from opsbook.monitoring.alerting.pushed import entries_of
from opsbook.monitoring.alerting.pushed import run_out as pushed_run_out
from opsbook.monitoring.alerting.routing import Destination, Router
from opsbook.monitoring.alerting.silences import Change, Wanted, added, expired, preview, run_out
from opsbook.monitoring.alerting.suppression import Place, Rules, rules_from
from opsbook.monitoring.notifications.delivery import ChannelState, Delivery
from opsbook.monitoring.notifications.senders import SecretValues, Senders
from opsbook.world.words import Clock

_LOOK_SECONDS = 5.0  # at the latest: the handbook may have changed, and clocks jump
_GRACE = 90.0  # seconds after a start in which who pushes alerts may say again that they fire
_LIMITED = frozenset({"url", "email"})  # channels that people read, and that refuse who sends too much
_USUAL_LIMIT = RateLimit.model_construct(messages=30, per=60.0)


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
        new_id: an identifier nobody can guess, as hexadecimal digits.
        url: of the console, for links; may be empty.
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
        new_id: Callable[[], str],
        url: str = "",
        log: Callable[[str], None],
        boundary: Callable[[str], None] = lambda place: None,
    ) -> None:
        self._book = book
        self._clock = clock
        self._deploying = deploying
        self._new_id = new_id
        self._log = log
        self._boundary = boundary
        self._ledger = Ledger(journal)
        self.url = url
        self.delivery = Delivery(
            book, self._ledger, Senders(secrets), secrets.mask, clock, url=url, log=log, boundary=boundary
        )
        self._lock = threading.RLock()  # over everything below
        self._news = threading.Condition(self._lock)
        self._records: dict[str, Record] = {}
        self._told: dict[str, Told] = {}
        self._spent: dict[str, tuple[float, ...]] = {}
        self._silences: dict[str, Silence] = {}
        self._suppressions: Mapping[str, tuple[Suppression, ...]] = {}
        self._wake_at: float | None = 0.0
        self._looked_at = 0.0
        self._read_from: Book | None = None
        self._router: Router
        self._rules: Rules
        self._manners: dict[str, Manner] = {}
        self._stopping = False
        self._loop: threading.Thread | None = None
        self._trouble = ""

    # --- beginning and end ---

    def start(self) -> None:
        """Remember what was before the restart, send what was not sent, and go on deciding.

        Raises:
            OpsbookError: the journal cannot be read.
        """
        found, now = self._ledger.read(), self._clock.now()
        with self._lock:
            self._records = {key: kept_alive(one, now, _GRACE) for key, one in found.records.items()}
            self._looked_at = now
            self._told, self._spent, self._silences = found.told, found.spent, found.silences
            self.delivery.restore(found.outbox)
        self.delivery.start()
        self._loop = threading.Thread(target=self._run, name="alerting", daemon=True)
        self._loop.start()

    def close(self) -> None:
        """Stop deciding and sending; what is not sent yet stays in the outbox."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        if self._loop is not None:
            self._loop.join(5.0)
        self.delivery.close()

    # --- alerts come in ---

    def receive(self, alerts: Sequence[Alert]) -> None:
        """Take what is said about alerts: those that fire, and those that have ended (`ends_at` is past).

        Saying it twice is fine. On return it is written down, and who is to be told at once is being told.
        """
        with self._lock:
            now = self._clock.now()
            timeout = self._book().notifications.resolve_timeout
            documents: dict[str, object] = {}
            entries: list[Entry] = []
            changed: dict[str, Record] = {}
            for alert in alerts:
                old = changed.get(alert.fingerprint) or self._records.get(alert.fingerprint)
                new = merged(old, alert, now, resolve_timeout=timeout)
                if new is not None and new is not old:
                    changed[alert.fingerprint] = new
                    if alert.source == PUSHED:
                        entries += entries_of(old, new, now, self._book())
            for fingerprint, record in changed.items():
                key, document = record_document(fingerprint, record)
                documents[key] = document
            before = dict(self._records) if changed else self._records
            self._records |= changed
            try:
                self._decide(now, documents, entries)
            except OpsbookError:
                self._records = before
                raise

    def wake(self) -> None:
        """Decide anew now: something outside has changed, such as a deployment that began or ended."""
        with self._news:
            self._wake_at = 0.0
            self._news.notify_all()

    # --- deciding ---

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._stopping and (wait := self._wait()) > 0:
                    self._news.wait(wait)
                    if wait >= _LOOK_SECONDS:
                        break
                if self._stopping:
                    return
                try:
                    self._decide(self._clock.now(), {}, [])
                except Exception as error:  # the loop that tells people goes on
                    self._trouble = f"{type(error).__name__}: {error}"
                    self._log(f"alerting: {self._trouble}")
                    self._wake_at = self._clock.now() + 1.0

    def _wait(self) -> float:
        if self._wake_at is None:
            return _LOOK_SECONDS
        return min(self._wake_at - self._clock.now(), _LOOK_SECONDS)

    def _decide(self, now: float, documents: dict[str, object], entries: list[Entry]) -> None:
        """Decide; write what came in, the decision and the messages in one transaction; then send them."""
        self._read_book()
        over = run_out(self._silences.values(), now)
        entries = [*entries, *pushed_run_out(self._records.values(), self._looked_at, now, self._book())]
        plan = decide(self._scene(now, over.silences))
        pending, outbox = self.delivery.documents(plan.notifications)
        documents |= {**over.documents(), **outbox}
        for fingerprint in plan.forgotten:
            key, document = record_document(fingerprint, None)
            documents[key] = document
        for name, told in plan.told.items():
            key, document = told_document(name, told)
            documents[key] = document
        for channel, spent in plan.spent.items():
            key, document = spent_document(channel, spent)
            documents[key] = document
        written = self._ledger.write(documents, [*entries, *over.entries])
        self._boundary("alerting:decided")
        if not written and self._ledger.trouble != self._trouble:
            self._log(f"alerting cannot write down what it does: {self._ledger.trouble}")
        self._trouble = self._ledger.trouble
        self._apply(plan, over, now)
        self.delivery.take(pending)
        if not written:
            self._wake_at = min(self._wake_at or now + 1.0, now + 1.0)

    def _apply(self, plan: Plan, over: Change, now: float) -> None:
        self._adopt(over)
        for fingerprint in plan.forgotten:
            self._records.pop(fingerprint, None)
        for name, told in plan.told.items():
            if told is None:
                self._told.pop(name, None)
            else:
                self._told[name] = told
        self._spent |= plan.spent
        self._suppressions = plan.suppressions
        self._looked_at = now
        self._wake_at = plan.wake_at
        self._news.notify_all()

    def _adopt(self, change: Change) -> None:
        for name, silence in change.silences.items():
            if silence is None:
                self._silences.pop(name, None)
            else:
                self._silences[name] = silence

    def _scene(self, now: float, changed: Mapping[str, Silence | None]) -> Scene:
        silences = [one for one in {**self._silences, **changed}.values() if one and not one.expired]
        # Asking what is deployed costs a look into the journal: only where a silence wants to know.
        meanwhile = any(one.during == "deployment" for one in (*self._rules.silences, *silences))
        return Scene(
            now=now,
            records=self._records,
            told=self._told,
            router=self._router,
            rules=self._rules,
            manners=self._manners,
            silences=silences,
            deploying=self._deploying() if meanwhile else (),
            unsent=self.delivery.unsent(),
            spent=self._spent,
        )

    def _read_book(self) -> None:
        book = self._book()
        if book is self._read_from:
            return
        wishes = book.notifications.delivery
        self._router, self._rules = Router(book), rules_from(book)
        self._manners = {
            name: _manner(wishes.get(name), channel.kind) for name, channel in book.channels.items()
        }
        self._read_from = book

    # --- silences ---

    def silence(self, wanted: Wanted, *, actor: str) -> Silence:
        """Add a silence, or change one. Raises Invalid, NotFound: see `silences.added`."""
        with self._lock:
            now = self._clock.now()
            silence, change = added(wanted, self._silences, now=now, new_id=self._uuid, actor=actor)
            self._change(change, now)
            return silence

    def _uuid(self) -> str:
        """As Alertmanager's clients want the ids of silences."""
        return str(UUID(hex=self._new_id()))

    def expire(self, name: str, *, actor: str) -> None:
        """End a silence now. Raises NotFound, or Invalid for the handbook's."""
        with self._lock:
            now = self._clock.now()
            self._change(expired(name, self._silences, now=now, actor=actor), now)

    def _change(self, change: Change, now: float) -> None:
        self._ledger.write(change.documents(), change.entries)
        self._adopt(change)
        self._decide(now, {}, [])

    def silences(self) -> tuple[Silence, ...]:
        """The handbook's, and those that people added; those that are over since days left out."""
        with self._lock:
            self._read_book()
            return (*self._rules.silences, *self._silences.values())

    def hidden_by(self, matchers: Sequence[LabelMatcher]) -> tuple[AlertView, ...]:
        """What a silence with these matchers would hide now. Raises Invalid."""
        with self._lock:
            now = self._clock.now()
            return tuple(self._view(one, now) for one in preview(matchers, self._records.values(), now))

    def maintenance(self) -> tuple[tuple[str, str, bool, float | None], ...]:
        """The handbook's maintenance windows: name, comment, whether it is open, and when that changes next."""
        with self._lock:
            now = self._clock.now()
            return tuple(
                (one.name, one.comment, one.window.active(now), one.window.next_change(now))
                for one in self._book().notifications.maintenance
            )

    # --- what is shown ---

    def alerts(self) -> tuple[AlertView, ...]:
        """Every alert that is known: those that fire, and those that ended in the last minutes."""
        with self._lock:
            self._read_book()
            now = self._clock.now()
            told = self._who_knows()
            return tuple(self._view(record, now, told) for record in self._records.values())

    def alert(self, fingerprint: str) -> AlertView | None:
        """One of them; None: it is not known."""
        with self._lock:
            self._read_book()
            record = self._records.get(fingerprint)
            return None if record is None else self._view(record, self._clock.now())

    def suppressions(self) -> Mapping[str, tuple[Suppression, ...]]:
        """Why alerts that fire are not told, by fingerprint."""
        return self._suppressions

    def told(self, fingerprint: str) -> dict[str, Any]:
        """Why an alert is not told, as lists of those use it that only name it: ``silenced_by``, ``inhibited_by``."""
        found = self._suppressions.get(fingerprint, ())
        return {
            "silenced_by": [one.by for one in found if one.kind == "silence"],
            "inhibited_by": [one.by or one.why for one in found if one.kind != "silence"],
        }

    def destinations(self, alert: Alert) -> tuple[Destination, ...]:
        """Where an alert goes, and with which others."""
        with self._lock:
            self._read_book()
            return self._router.destinations(alert)

    def _who_knows(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for told in self._told.values():
            for fingerprint in told.firing:
                found.setdefault(fingerprint, []).append(told.channel)
        return {fingerprint: tuple(channels) for fingerprint, channels in found.items()}

    def _view(
        self, record: Record, now: float, told: Mapping[str, tuple[str, ...]] | None = None
    ) -> AlertView:
        knows = self._who_knows() if told is None else told
        suppressions = self._suppressions.get(record.fingerprint, ()) if record.firing(now) else ()
        state = "suppressed" if suppressions else "firing" if record.firing(now) else "resolved"
        return AlertView(
            alert=record.alert,
            state=state,
            suppressions=suppressions,
            channels=tuple(one.channel for one in self._router.destinations(record.alert)),
            told=knows.get(record.fingerprint, ()),
            received_at=record.received_at,
            updated_at=record.updated_at,
        )

    # --- channels ---

    def channels(self) -> Mapping[str, tuple[str, ChannelState, bool]]:
        """By name: the kind of each channel, how it goes, and whether it is left alone now (quiet hours)."""
        with self._lock:
            self._read_book()
            now = self._clock.now()
            return {
                name: (channel.kind, self.delivery.state(name), _is_quiet(self._manners[name], now))
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

    @property
    def trouble(self) -> str:
        """What keeps alerting from writing down what it does; empty: nothing."""
        return self._trouble


def _manner(wishes: Wishes | None, kind: str) -> Manner:
    limit = wishes.rate_limit if wishes else None
    return Manner(
        quiet=wishes.quiet if wishes else None,
        limit=limit or (_USUAL_LIMIT if kind in _LIMITED else None),
        resolved=wishes.resolved if wishes else True,
        acknowledges=kind == "pagerduty",
    )


def _is_quiet(manner: Manner, now: float) -> bool:
    return manner.quiet is not None and manner.quiet.window.active(now)
