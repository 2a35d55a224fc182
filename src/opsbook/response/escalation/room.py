"""The room of escalation: what is being paged, and the thread that goes on with it.

Pages are handed over before it is written down that they were: a crash in between sends them again, with the same
ids. What is known is in memory, so that people are paged also while the journal cannot be written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import opsbook.response.escalation.kinds  # noqa: F401 - registers them
from opsbook.book import Book
from opsbook.errors import Conflict, NotAllowed, NotFound, OpsbookError
from opsbook.journal import Entry, Journal
from opsbook.response.escalation.chains import OnCall, chain_for, reaching
from opsbook.response.escalation.links import Claim, Links
from opsbook.response.escalation.model import Escalation, Incident, Page, Subject, legible
from opsbook.response.escalation.paging import Pager
from opsbook.response.escalation.plan import (
    acknowledged,
    begun_again,
    decide,
    due_at,
    ended,
    grew_worse,
    hurried,
    newly_acknowledged,
)
from opsbook.response.escalation.ports import Incidents
from opsbook.response.escalation.records import Records
from opsbook.response.escalation.wheel import Wheel
from opsbook.response.escalation.wording import next_in_words, place_of, said_of

_LOOK: Final = 1.0  # seconds: channels fail, clocks jump, schedules change
_IDLE: Final = 10.0
_KEPT: Final = 90 * 86_400.0
_DIAGNOSIS: Final = 8192  # characters


class Escalations:
    """See the module.

    Args:
        on_call: who is on call by a schedule now; None: there is no such schedule.
        send: puts a page into the outbox of a channel; the page's id makes it once. Whatever it raises counts as a
            channel that fails.
        failing: whether a channel did not take the last message.
        links: makes the links of pages. address: of the console, as it is at that moment; may be empty.
        log: takes what went wrong in the background, a line each.
        boundary: called with the name of each place where a crash matters.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        journal: Journal,
        *,
        on_call: OnCall,
        incidents: Incidents,
        send: Callable[[str, Page], None],
        links: Links,
        now: Callable[[], float],
        failing: Callable[[str], bool] = lambda channel: False,
        address: Callable[[], str] = str,
        log: Callable[[str], None] = lambda line: None,
        boundary: Callable[[str], None] = lambda place: None,
    ) -> None:
        self._book = book
        self._records = Records(journal)
        self._on_call = on_call
        self._incidents = incidents
        self._links = links
        self._pager = Pager(
            book, send, links, now=now, failing=failing, address=address, log=log, boundary=boundary
        )
        self._now = now
        self._log = log
        self._boundary = boundary
        self._lock = threading.RLock()
        self._wheel = Wheel("escalation", self._turn, log)
        self._known: dict[str, Escalation] = {}
        self._unsaid: dict[str, str] = {}  # acknowledged, and the incident does not know it yet
        self._stale: set[str] = set()  # whose incidents may have changed while we were not there
        self._read = False
        self.looked_at = now()  # when the thread last went round; the watchdog asks

    # --- life

    def start(self) -> None:
        """Read what a crash left, and go on with it."""
        self._load()
        self.looked_at = self._now()
        self._wheel.start()

    def close(self) -> None:
        """End the thread; what is to be paged is paged after the next start."""
        self._wheel.close()

    def _load(self) -> None:
        """What is known already goes before what was written: it is newer."""
        with self._lock:
            if self._read:
                return
            try:
                found = self._records.read()
            except OpsbookError as error:
                self._log(f"escalations cannot be read: {error}")
                return
            self._known = found | self._known
            self._read = True
            for one in found.values():
                if one.state == "acknowledged" and one.subject.acknowledged_at is None:
                    self._unsaid.setdefault(one.id, one.acknowledged_by)
            self._stale = {one.id for one in found.values() if one.open}

    def _turn(self) -> float:
        due = self.tick()
        active = any(one.state == "paging" for one in tuple(self._known.values())) or self._unsaid
        wait = _LOOK if active or not self._read else _IDLE
        return wait if due is None else min(wait, due - self._now())

    def tick(self) -> float | None:
        """Page whoever is due, and write down what could not be. Returns when something is due next."""
        self._load()
        self._ask_incidents()
        self._tell_incidents()
        due = None
        for name in [one.id for one in self.listed() if one.open]:
            try:
                at = self._go_on(name)
            except Exception as error:  # whatever it is, the others are paged all the same
                self._log(f"{name} cannot be gone on with: {type(error).__name__}: {error}")
                at = self._now() + _LOOK
            due = at if due is None or (at is not None and at < due) else due
        self._forget()
        self._records.flush()
        self.looked_at = self._now()
        return due

    # --- what incidents say

    def begin(
        self, incident: Incident | Subject, *, not_before: float | None = None, diagnosis: str = ""
    ) -> None:
        """Page about an incident. One that is being paged about already goes on as it is.

        Args:
            not_before: epoch seconds; until then, or `release`, nobody is paged, so that the diagnosis can go along.
        """
        subject = _subject(incident)
        with self._lock:
            self._load()
            now, known = self._now(), self._known.get(subject.id)
            if subject.over or (known is not None and known.open):
                return
            subject = replace(subject, diagnosis=legible(diagnosis or subject.diagnosis, _DIAGNOSIS))
            hold = max(0.0, (not_before or 0.0) - now)
            if known is None:
                begun = Escalation(subject, chain_for(self._book(), subject), now, now, hold=hold)
                kind = "begun"
                data = {"title": subject.title, "severity": subject.severity, "chain": begun.chain.name}
            else:
                begun = replace(begun_again(known, subject, now, "opened again"), hold=hold)
                kind, data = "retriggered", {"why": begun.why}
            if subject.acknowledged_at is not None:
                begun = acknowledged(begun, subject.acknowledged_by, now)
            self._keep(begun, [self._entry(kind, begun, data)])
            self._boundary(f"{subject.id}:begun")
            self._wheel.wake()

    def release(self, incident_id: str, *, diagnosis: str = "") -> None:
        """The diagnosis is there, or there will be none: page now."""
        with self._lock:
            known = self._known.get(incident_id)
            if known is None or not known.open:
                return
            subject = replace(
                known.subject, diagnosis=legible(diagnosis, _DIAGNOSIS) or known.subject.diagnosis
            )
            self._keep(replace(known, subject=subject, hold=0.0), [])
            self._wheel.wake()

    def follow(self, incident: Incident | Subject) -> None:
        """An incident changed: it may have been acknowledged, solved, reopened."""
        subject = _subject(incident)
        with self._lock:
            known = self._known.get(subject.id)
            if known is None:
                return
            now, before = self._now(), known.subject
            subject = replace(subject, diagnosis=before.diagnosis)
            current, entries = replace(known, subject=subject), []
            if subject.over:
                current = ended(current, subject.state, now)
                if known.open:
                    entries = [self._entry("ended", current, {"why": current.why, "pages": current.paged})]
            elif not known.open and subject.reopened > before.reopened:
                current = begun_again(current, subject, now, "opened again")
                entries = [self._entry("retriggered", current, {"why": current.why})]
            elif known.open and (why := grew_worse(before, subject)):
                chain = (
                    known.chain
                    if subject.escalation == before.escalation
                    else chain_for(self._book(), subject)
                )
                current = replace(begun_again(current, subject, now, why), chain=chain)
                entries = [self._entry("retriggered", current, {"why": why})]
            elif known.open and newly_acknowledged(before, subject) and subject.id not in self._unsaid:
                current, entries = self._answered(current, subject.acknowledged_by, now)
            if current != known:
                self._keep(current, entries)
                self._wheel.wake()

    # --- what people say

    def acknowledge(self, incident_id: str, actor: str) -> Escalation:
        """Somebody has it. It counts even while it cannot be written down.

        Raises:
            NotFound: there is no such escalation. Conflict: it is over.
        """
        with self._lock:
            known = self._open(incident_id)
            current, entries = self._answered(known, actor, self._now())
            self._unsaid[incident_id] = actor
            self._keep(current, entries)
            self._wheel.wake()
        self._boundary(f"{incident_id}:answered")
        self._tell_incidents()
        return self.get(incident_id)

    def escalate(self, incident_id: str, actor: str) -> Escalation:
        """Page the next step now.

        Raises:
            NotFound: there is no such escalation. Conflict: it is over.
        """
        with self._lock:
            known = self._open(incident_id)
            current = hurried(known, self._now())
            self._keep(current, [self._entry("hurried", current, {"by": actor}, actor)])
            self._go_on(incident_id)
            self._wheel.wake()
        return self.get(incident_id)

    def _open(self, incident_id: str) -> Escalation:
        known = self.get(incident_id)
        if not known.open:
            hint = f"opsbook incidents show {incident_id}"
            raise Conflict(f"{incident_id} is over: {known.why}", hint=hint)
        return known

    def claim(self, token: str) -> tuple[Claim, Escalation]:
        """Whose link this is, and what it is about.

        Raises:
            NotAllowed: it is none of ours, too old, or its person is not in the handbook any more.
            NotFound: the incident has been forgotten.
        """
        found = self._links.read(token)
        if found.person and found.person not in self._book().contacts:
            raise NotAllowed(f"{found.person} is not in the handbook any more", hint="opsbook ack")
        return found, self.get(found.incident)

    # --- what is asked

    def get(self, incident_id: str) -> Escalation:
        """Raises NotFound."""
        with self._lock:
            found = self._known.get(incident_id)
        if found is None:
            raise NotFound(f"nobody was paged about {incident_id}", hint="opsbook escalations")
        return found

    def listed(self) -> tuple[Escalation, ...]:
        """All of them, those that are open first, the newest before the others."""
        known = list(
            self._known.values()
        )  # without the lock, which whatever hangs may hold: the watchdog asks too
        return tuple(sorted(known, key=lambda one: (not one.open, -one.begun_at)))

    def due(self, escalation: Escalation) -> float | None:
        """When something is due next (epoch seconds)."""
        return due_at(escalation, self._pager.failing)

    def next_in_words(self, escalation: Escalation) -> str:
        """``team-lead in 3m 10s``; empty when nobody comes next."""
        return next_in_words(escalation, self.due(escalation), self._now())

    @property
    def trouble(self) -> str:
        """What keeps it from writing down what it does; empty: nothing."""
        return self._records.trouble

    # --- the work

    def _go_on(self, name: str) -> float | None:
        with self._lock:
            known = self._known.get(name)
            if known is None:
                return None
            book = self._book()
            found = decide(known, self._now(), reaching(book, self._who), self._pager.failing)
            if found.pages or found.notes:
                self._boundary(f"{name}:{found.escalation.position}:decided")
                for sent in found.pages:
                    self._pager.hand_over(found, sent)
                entries = [self._entry(note.kind, found.escalation, note.data) for note in found.notes]
                entries += [self._entry("paged", found.escalation, said_of(sent)) for sent in found.pages]
                self._keep(found.escalation, entries)
                self._boundary(f"{name}:{found.escalation.position}:recorded")
            else:
                self._known[name] = found.escalation
            return found.next_at

    def _who(self, schedule: str) -> tuple[str, ...] | None:
        try:
            return self._on_call(schedule)
        except Exception as error:  # then it is a step that reaches nobody, and the next one is due
            self._log(f"who is on call by {schedule} cannot be told: {type(error).__name__}: {error}")
            return ()

    def _ask_incidents(self) -> None:
        """After a start: an incident that was solved in between pages nobody."""
        for name in tuple(self._stale):
            try:
                self.follow(self._incidents.get(name))
            except NotFound:
                pass
            except Exception as error:  # whatever it is, people are paged
                self._log(f"whether {name} is still open cannot be read: {error}")
                continue
            self._stale.discard(name)

    def _tell_incidents(self) -> None:
        """The incident is acknowledged too; what cannot be written now is said again."""
        with self._lock:
            unsaid = dict(self._unsaid)
        for name, actor in unsaid.items():
            try:
                self._incidents.acknowledge(name, actor)
            except (NotFound, Conflict):
                pass  # it knows better: acknowledged before, or over
            except Exception as error:  # it is said again
                self._log(f"{name} is acknowledged by {actor}, which cannot be written down yet: {error}")
                continue
            with self._lock:
                self._unsaid.pop(name, None)

    def _answered(self, known: Escalation, actor: str, now: float) -> tuple[Escalation, list[Entry]]:
        current = acknowledged(known, actor, now)
        data = {
            "by": actor,
            "seconds": round(max(0.0, now - known.begun_at), 3),
            "title": known.subject.title,
        }
        return current, [self._entry("acknowledged", current, data, actor)]

    def _keep(self, current: Escalation, entries: list[Entry]) -> None:
        """With the lock held."""
        self._known[current.id] = current
        try:
            self._records.write([current], entries)
        except OpsbookError as error:
            self._log(f"what happened about {current.id} cannot be written down: {error}")

    def _forget(self) -> None:
        """What is long over."""
        with self._lock:
            before = self._now() - _KEPT
            over = [
                one.id for one in self._known.values() if one.ended_at is not None and one.ended_at < before
            ]
            over = [name for name in over if not self._known[name].open]
            for name in over:
                del self._known[name]
        if over:
            self._records.forget(over)

    def _entry(self, kind: str, about: Escalation, data: dict[str, Any], actor: str = "opsbook") -> Entry:
        return Entry(
            f"escalation.{kind}",
            place_of(self._book(), about.subject),
            {"incident": about.id, "turn": about.turn, **data},
            actor,
        )


def _subject(incident: Incident | Subject) -> Subject:
    return incident if isinstance(incident, Subject) else Subject.of(incident)
