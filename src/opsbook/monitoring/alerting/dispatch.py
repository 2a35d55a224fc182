"""Alerts come in, are decided upon, and what follows is written down and sent.

One lock is over all that is known; every decision, whoever causes it, is made under it and written in one transaction
with what it rests on and the messages that follow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import opsbook.monitoring.alerting.kinds as _kinds  # noqa: F401 - registers the kinds of events
from opsbook.book import Book
from opsbook.book.notifications import Delivery as Wishes
from opsbook.book.notifications import RateLimit
from opsbook.journal.model import Entry
from opsbook.monitoring.alerting.causes import Place
from opsbook.monitoring.alerting.ledger import (
    Ledger,
    record_document,
    spent_document,
    told_document,
)  # fmt: skip
from opsbook.monitoring.alerting.merging import kept_alive, merged
from opsbook.monitoring.alerting.model import PUSHED, Alert, Record, Silence, Suppression, Told
from opsbook.monitoring.alerting.plan import decide
from opsbook.monitoring.alerting.pushed import entries_of
from opsbook.monitoring.alerting.pushed import run_out as pushed_run_out
from opsbook.monitoring.alerting.responding import INCIDENTS, Responders
from opsbook.monitoring.alerting.rounds import Rounds
from opsbook.monitoring.alerting.routing import Router
from opsbook.monitoring.alerting.scene import Manner, Plan, Scene
from opsbook.monitoring.alerting.silences import Change, run_out
from opsbook.monitoring.alerting.suppression import Rules, rules_from
from opsbook.monitoring.notifications.delivery import Delivery
from opsbook.world.words import Clock

Suspects = Callable[[], Iterable[Mapping[str, str]]]
"""The labels of alerts that may be about to fire: those that are pending."""

_LOOK_SECONDS = 5.0  # at the latest: the handbook may have changed, and clocks jump
_GRACE = 90.0  # seconds after a start in which who pushes alerts may say again that they fire
_LIMITED = frozenset({"url", "email"})  # channels that people read, and that refuse who sends too much
_USUAL_LIMIT = RateLimit.model_construct(messages=30, per=60.0)


class Dispatch:
    """What is known and what follows from it. Its attributes are read under `reading` only.

    Args:
        book: the handbook at this moment.
        deploying: environments and services that are being deployed now.
        responders: who is on call, and who opens incidents.
        log: takes what went wrong in the background, a line each.
        boundary: called with the name of each place where a crash matters.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        ledger: Ledger,
        delivery: Delivery,
        clock: Clock,
        *,
        deploying: Callable[[], Collection[Place]],
        responders: Responders,
        log: Callable[[str], None],
        boundary: Callable[[str], None],
    ) -> None:
        self._book = book
        self._ledger = ledger
        self._delivery = delivery
        self._clock = clock
        self._deploying = deploying
        self._responders = responders
        self._suspects: tuple[Suspects, ...] = ()
        self._rounds = Rounds(clock)
        self._log = log
        self._boundary = boundary
        self._lock = threading.RLock()  # over everything below
        self._news = threading.Condition(self._lock)
        self.records: dict[str, Record] = {}
        self.told: dict[str, Told] = {}
        self.silences: dict[str, Silence] = {}
        self.suppressions: Mapping[str, tuple[Suppression, ...]] = {}
        self.router: Router
        self.rules: Rules
        self.manners: dict[str, Manner] = {}
        self.trouble = ""
        self._spent: dict[str, tuple[float, ...]] = {}
        self._wake_at: float | None = 0.0
        self._looked_at = 0.0
        self._read_from: Book | None = None
        self._stopping = False
        self._loop: threading.Thread | None = None

    @contextmanager
    def reading(self) -> Iterator[float]:
        """All of it as it is at one moment, which is given: epoch seconds."""
        with self._lock:
            self._read_book()
            yield self._clock.now()

    # --- beginning and end ---

    def start(self) -> None:
        """Remember what was before the restart, send what was not sent, and go on deciding.

        Raises:
            OpsbookError: the journal cannot be read.
        """
        found, now = self._ledger.read(), self._clock.now()
        with self._lock:
            self.records = {key: kept_alive(one, now, _GRACE) for key, one in found.records.items()}
            self._looked_at = now
            self.told, self._spent, self.silences = found.told, found.spent, found.silences
            self._delivery.restore(found.outbox)
        self._delivery.start()
        self._loop = threading.Thread(target=self._run, name="alerting", daemon=True)
        self._loop.start()

    def close(self) -> None:
        """Stop deciding and sending; what is not sent yet stays in the outbox."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        if self._loop is not None:
            self._loop.join(5.0)
        self._delivery.close()

    def watch(self, *suspects: Suspects) -> None:
        """These know what may be about to fire. They are asked under the lock, and must not wait for anybody."""
        self._suspects = suspects

    def scraped(self) -> None:
        """A round of scrapes is over: rules run now."""
        self._rounds.seen()

    # --- what comes in ---

    def receive(self, alerts: Sequence[Alert]) -> None:
        """See `Alerting.receive`."""
        with self._lock:
            now = self._clock.now()
            timeout = self._book().notifications.resolve_timeout
            entries: list[Entry] = []
            changed: dict[str, Record] = {}
            for alert in alerts:
                old = changed.get(alert.fingerprint) or self.records.get(alert.fingerprint)
                new = merged(old, alert, now, resolve_timeout=timeout)
                if new is not None and new is not old:
                    changed[alert.fingerprint] = new
                    if alert.source == PUSHED:
                        entries += entries_of(old, new, now, self._book())
            documents = dict(record_document(name, record) for name, record in changed.items())
            before = self.records
            if changed:
                self.records = {**before, **changed}
            try:
                self._decide(now, documents, entries)
            except Exception:
                self.records = before  # who hands them over hears of it, and will do so again
                raise

    def change(self, change: Change, now: float) -> None:
        """Write down what was done to silences, and decide anew."""
        with self._lock:
            self._ledger.write(change.documents(), change.entries)
            self._adopt(change)
            self._decide(now, {}, [])

    def wake(self) -> None:
        """Decide anew now."""
        with self._news:
            self._wake_at = 0.0
            self._news.notify_all()

    # --- deciding ---

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._stopping and (wait := self._wait()) > 0:
                    if not self._news.wait(wait) and wait >= _LOOK_SECONDS:
                        break  # nothing happened for so long: look all the same
                if self._stopping:
                    return
                try:
                    self._decide(self._clock.now(), {}, [])
                except Exception as error:  # the loop that tells people goes on
                    self._say(f"{type(error).__name__}: {error}")
                    self._wake_at = self._clock.now() + 1.0

    def _wait(self) -> float:
        if self._wake_at is None:
            return _LOOK_SECONDS
        return min(self._wake_at - self._clock.now(), _LOOK_SECONDS)

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            self._log(f"alerting: {trouble}")
        self.trouble = trouble

    def _decide(self, now: float, documents: dict[str, object], entries: list[Entry]) -> None:
        """Decide; write what came in, the decision and the messages in one transaction; then send them."""
        self._read_book()
        over = run_out(self.silences.values(), now)
        entries = [*entries, *pushed_run_out(self.records.values(), self._looked_at, now, self._book())]
        plan = decide(self._scene(now, over.silences))
        pending, outbox = self._delivery.documents(plan.notifications)
        documents |= {**over.documents(), **outbox, **_written(plan)}
        written = self._ledger.write(documents, [*entries, *over.entries])
        self._boundary("alerting:decided")
        trouble = self._ledger.trouble
        self._say(trouble and f"cannot write down what is done: {trouble}")
        self._apply(plan, over, now)
        self._delivery.take(pending)
        if not written:
            self._wake_at = min(self._wake_at or now + 1.0, now + 1.0)

    def _apply(self, plan: Plan, over: Change, now: float) -> None:
        self._adopt(over)
        for fingerprint in plan.forgotten:
            self.records.pop(fingerprint, None)
        for name, told in plan.told.items():
            if told is None:
                self.told.pop(name, None)
            else:
                self.told[name] = told
        self._spent |= plan.spent
        self.suppressions = plan.suppressions
        self._looked_at = now
        self._wake_at = plan.wake_at
        self._news.notify_all()

    def _adopt(self, change: Change) -> None:
        for name, silence in change.silences.items():
            if silence is None:
                self.silences.pop(name, None)
            else:
                self.silences[name] = silence

    def _scene(self, now: float, changed: Mapping[str, Silence | None]) -> Scene:
        silences = [one for one in {**self.silences, **changed}.values() if one and not one.expired]
        # Asking what is deployed costs a look into the journal: only where a silence wants to know.
        meanwhile = any(one.during == "deployment" for one in (*self.rules.silences, *silences))
        return Scene(
            now=now,
            records=self.records,
            told=self.told,
            router=self.router,
            rules=self.rules,
            manners=self.manners,
            silences=silences,
            suspects=self._suspected() if self.records and self.rules.causes else (),
            deploying=self._deploying() if meanwhile else (),
            unsent=self._delivery.unsent(),
            more_at=self._rounds.next_at(now),
            spent=self._spent,
        )

    def _suspected(self) -> tuple[Mapping[str, str], ...]:
        return tuple(labels for ask in self._suspects for labels in ask())

    def _read_book(self) -> None:
        book = self._book()
        if book is self._read_from:
            return
        wishes = book.notifications.delivery
        self.router, self.rules = Router(book, self._responders), rules_from(book)
        self.manners = {
            name: _manner(wishes.get(name), channel.kind) for name, channel in book.channels.items()
        }
        if self._responders.receive is not None:
            self.manners[INCIDENTS] = Manner()
        self._read_from = book


def _written(plan: Plan) -> dict[str, object]:
    """The documents of a decision."""
    return dict(
        (
            *(record_document(fingerprint, None) for fingerprint in plan.forgotten),
            *(told_document(name, told) for name, told in plan.told.items()),
            *(spent_document(channel, spent) for channel, spent in plan.spent.items()),
        )
    )


def _manner(wishes: Wishes | None, kind: str) -> Manner:
    limit = wishes.rate_limit if wishes else None
    return Manner(
        quiet=wishes.quiet if wishes else None,
        limit=limit or (_USUAL_LIMIT if kind in _LIMITED else None),
        resolved=wishes.resolved if wishes else True,
        acknowledges=kind == "pagerduty",
    )
