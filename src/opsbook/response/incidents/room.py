"""The room of incidents: alerts open and end them, people do the rest, and the journal keeps it all.

What is decided is in `plan.py`; here it is written, event and state in one transaction, and then told.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import opsbook.response.incidents.kinds as _kinds  # noqa: F401 - registers them
from opsbook.book import Book
from opsbook.book.problems import did_you_mean
from opsbook.errors import NotFound
from opsbook.journal import Journal
from opsbook.response.incidents import adding, people, plan
from opsbook.response.incidents.asking import looked_into, told_of
from opsbook.response.incidents.figures import figures
from opsbook.response.incidents.hearing import Masked, Overlay
from opsbook.response.incidents.model import (
    Attachment,
    Incident,
    Suspect,
    severity_of,
)
from opsbook.response.incidents.news import News, news_of
from opsbook.response.incidents.plan import Changed, Heard
from opsbook.response.incidents.policy import depending, escalation_for, opens, rules_of
from opsbook.response.incidents.records import Records, body_key
from opsbook.response.incidents.telling import Telling
from opsbook.response.incidents.text import line
from opsbook.response.incidents.timeline import Moment

ACTOR: Final = "opsbook"
_AGAIN = 5.0  # seconds after which somebody who could not be told is told again

_log = logging.getLogger(__name__)


def _no_changes(incident: Incident) -> Iterable[Suspect]:
    del incident
    return ()


class Incidents:
    """See the module.

    Args:
        book: the handbook as last read. journal: events, state and news.
        now: epoch seconds.
        changes: suspects that the journal does not know of.
        tell: puts words into the outbox of a channel; told again with the same id after a failure.
        mask: takes secret values out of a text.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        journal: Journal,
        *,
        now: Callable[[], float],
        changes: Callable[[Incident], Iterable[Suspect]] = _no_changes,
        tell: Callable[[Telling], object] | None = None,
        mask: Callable[[str], str] = str,
    ) -> None:
        self._book = book
        self._journal = journal
        self._now = now
        self._changes = changes
        self._tell = tell
        self._mask = mask
        self._records = Records(journal)
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._news = News(self._records)
        self._opened = self._news.opened
        self._changed: list[Callable[[Incident], object]] = []

    # --- by itself

    def start(self) -> None:
        """Tell what a crash left untold, and from now on end what has settled."""
        self._thread = threading.Thread(target=self._run, name="incidents", daemon=True)
        self._wake.set()
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end. Twice is fine."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10.0)

    def _run(self) -> None:
        pause: float | None = 0.0
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            if self._closing:
                return
            try:
                due = self.look()
            except Exception as error:  # whatever it is, the next round looks again: who is paged hangs on it
                _log.warning("incidents: %s: %s", type(error).__name__, error)
                pause = _AGAIN
                continue
            pause = None if due is None else min(max(0.05, due - self._now()), 60.0)

    def look(self) -> float | None:
        """End what has settled, and tell what is to be told. Returns when to look again; None: when something comes."""
        due = self._settle()
        untold = self._news.tell(self.get, self._tell, lambda: self._closing)
        again = self._now() + _AGAIN if untold else None
        return min((at for at in (due, again) if at is not None), default=None)

    def _settle(self) -> float | None:
        changes: list[Changed] = []
        with self._lock:
            now, rules, later = self._now(), rules_of(self._book()), None
            for incident in self._records.open():
                at = plan.settles_at(incident, rules)
                if at is None:
                    continue
                if at <= now or at - rules.settle > now:  # or the clock was set back: nobody waits for hours
                    changes.append(plan.settled(incident, now))
                else:
                    later = at if later is None else min(later, at)
            if changes:
                self._write(changes, ACTOR)
        self._say(changes)
        return later

    # --- alerts

    def opens(self, heard: Heard) -> bool:
        """Whether an alert is one that an incident is opened for."""
        return opens(self._book(), heard)

    def receive(self, firing: Iterable[Heard], resolved: Iterable[Heard]) -> tuple[Incident, ...]:
        """Take alerts that fire, and such that do so no more; the same ones again change nothing.

        Returns:
            The incidents that changed, as they are now.
        """
        with self._lock:
            overlay = Overlay(
                self._records.known,
                rules_of(self._book()),
                self._now(),
                self._records.next_number(),
                open_=self._records.open(),
                having=self._records.having,
            )
            for heard in sorted(firing, key=lambda one: one.starts_at):
                overlay.fires(Masked.of(heard, self._mask))
            for heard in resolved:
                overlay.ends(heard)
            changes = [self._with_suspects(one) if overlay.moved(one) else one for one in overlay.changes()]
            if changes:
                self._write(changes, ACTOR)
        self._say(changes)
        return tuple(one.incident for one in changes)

    def _with_suspects(self, changed: Changed) -> Changed:
        return looked_into(changed, self._journal, depending(self._book()), self._changes)

    # --- people

    def declare(
        self,
        title: str,
        severity: str,
        environment: str,
        services: Sequence[str],
        actor: str,
        *,
        escalation: str = "",
    ) -> Incident:
        """Say that something is wrong.

        Args:
            environment: where; empty: everywhere. services: what is affected.
            escalation: who is paged; empty: as the severity says, else the usual one.

        Raises:
            Invalid: without a title, or no such severity. NotFound: the handbook knows no such place.
        """
        book = self._book()
        bad = severity_of(severity)
        if environment:
            book.environment(environment)
        names = tuple(dict.fromkeys(book.service(one).name for one in services))
        chain = escalation or escalation_for(book, bad)
        with self._lock:
            changed = people.declared(
                self._records.next_number(), self._mask(title), bad, environment, names, chain, actor,
                rules_of(book), self._now(),
            )  # fmt: skip
            changed = self._with_suspects(changed)
            self._write([changed], actor)
        self._say([changed])
        return changed.incident

    def acknowledge(self, name: str, actor: str) -> Incident:
        """Somebody has it; the first one counts. Raises NotFound; Conflict when it is over."""
        return self._do(name, actor, lambda one: people.acknowledged(one, actor, self._now()))

    def note(self, name: str, text: str, actor: str) -> Incident:
        """What somebody saw, tried or decided. Raises NotFound, Invalid, Conflict (it was merged)."""
        said = self._mask(text).strip()[:8000]
        return self._do(name, actor, lambda one: people.noted(one, said, by_person=actor != ACTOR))

    def set_role(self, name: str, role: str, person: str, actor: str) -> Incident:
        """Give a role to a contact; empty: to nobody. Raises NotFound, Invalid, Conflict."""
        self._person(person)
        return self._do(name, actor, lambda one: people.with_role(one, role, person))

    def set_severity(self, name: str, severity: str, actor: str, *, reason: str = "") -> Incident:
        """How bad it is. Raises NotFound, Invalid, Conflict."""
        bad, rules = severity_of(severity), rules_of(self._book())
        said = self._mask(reason)
        return self._do(name, actor, lambda one: people.with_severity(one, bad, said, rules, self._now()))

    def mitigate(self, name: str, actor: str, *, reason: str = "") -> Incident:
        """Users notice it no more. Raises NotFound, Conflict."""
        said = self._mask(reason)
        return self._do(name, actor, lambda one: people.mitigated(one, said, self._now()))

    def resolve(self, name: str, actor: str, *, reason: str = "") -> Incident:
        """It is over. Raises NotFound, Conflict."""
        said = self._mask(reason)
        return self._do(name, actor, lambda one: people.resolved(one, said, self._now()))

    def reopen(self, name: str, reason: str, actor: str = ACTOR) -> Incident:
        """It was not over. Raises NotFound, Conflict."""
        said, rules = self._mask(reason), rules_of(self._book())
        return self._do(name, actor, lambda one: people.reopened(one, said, rules, self._now()))

    def close(self, name: str, actor: str, *, reason: str = "") -> Incident:
        """Nothing is left to be done about it. Raises NotFound, Conflict when it is not over."""
        said = self._mask(reason)
        return self._do(name, actor, lambda one: people.closed(one, said, self._now()))

    def merge(self, name: str, into: str, actor: str) -> Incident:
        """Make one a part of another. Returns that one. Raises NotFound, Conflict."""
        with self._lock:
            part, whole = people.merged(self.get(name), self.get(into), rules_of(self._book()))
            whole = self._with_suspects(whole)
            self._write([part, whole], actor)
        self._say([part, whole])
        return whole.incident

    def update(self, name: str, text: str, public: bool, actor: str) -> Incident:
        """Tell others how it goes: the channels of the policy, and customers when it is public.

        Raises NotFound, Invalid, Conflict (it was merged).
        """
        said, rules = self._mask(text), rules_of(self._book())
        return self._do(name, actor, lambda one: people.told(one, said, public, actor, rules, self._now()))

    def add_action(self, name: str, text: str, owner: str, due: str, actor: str) -> Incident:
        """Promise to do something. `due`: a day. Raises NotFound, Invalid, Conflict (it was merged)."""
        self._person(owner)
        said = self._mask(text)
        return self._do(name, actor, lambda one: adding.action_added(one, said, owner, due, actor))

    def done_action(self, name: str, action: str, actor: str) -> Incident:
        """What was promised is done. Raises NotFound."""
        return self._do(name, actor, lambda one: adding.action_done(one, action, self._now()))

    def _person(self, person: str) -> None:
        contacts = self._book().contacts
        if person and person not in contacts:
            hint = did_you_mean(person, contacts) or f"there are: {', '.join(sorted(contacts))}"
            raise NotFound(f"there is no contact {line(person, 60)}", hint=hint)

    # --- what other rooms add

    def attach(self, name: str, title: str, kind: str, body: str, actor: str = ACTOR) -> Attachment:
        """Keep something with it, such as a diagnosis; the same again is the one that is there.

        Args:
            kind: ``text``, ``json`` or ``svg``. body: at most 256 KiB.

        Raises:
            NotFound; Invalid: too large, or of no such kind. Conflict: there are too many.
        """
        text, label = self._mask(body), line(self._mask(title), 120) or "attachment"
        adding.sound(kind, text, name)
        with self._lock:
            incident = self.get(name)
            for known in incident.attachments:
                same = (known.name, known.kind) == (label, kind)
                if same and self._records.body(name, known.id) == text:
                    return known
            changed = adding.attached(incident, label, kind, actor, self._now())
            made = changed.incident.attachments[-1]
            self._write([changed], actor, bodies={body_key(name, made.id): text})
        self._say([changed])
        return made

    def attachment(self, name: str, attachment: str) -> str:
        """The body of an attachment. Raises NotFound."""
        self.get(name)
        body = self._records.body(name, attachment)
        if body is None:
            raise NotFound(f"{name} has no attachment {line(attachment, 40)}", where=name)
        return body

    def add_run(self, name: str, run: str, actor: str = ACTOR) -> Incident:
        """A run of a runbook belongs to it. Raises NotFound."""
        return self._do(name, actor, lambda one: adding.run_added(one, run))

    def has_postmortem(self, name: str, path: str, impact: Any) -> Incident:
        """Where its post-mortem is, and its impact: JSON, or what `to_json` makes JSON of. Raises NotFound."""
        numbers = impact.to_json() if hasattr(impact, "to_json") else impact
        return self._do(name, ACTOR, lambda one: adding.written_up(one, path, numbers))

    # --- what is asked

    def get(self, name: str) -> Incident:
        """Raises NotFound."""
        found = self._records.known.get(name)
        if found is None:
            raise NotFound(f"there is no incident {line(name, 40)}", hint="opsbook incidents list --all")
        return found

    def every(self) -> list[Incident]:
        """All of them, the newest first."""
        return plan.newest_first(self._records.known.values())

    def listed(self, state: str | None = None, limit: int | None = None) -> list[Incident]:
        """The newest first. `state`: one of them, or ``open`` for all that are not over."""
        if state == "open":
            found = plan.newest_first(self._records.open())
        else:
            found = [one for one in self.every() if not state or state == one.state]
        return found if limit is None else found[:limit]

    def waiting(self) -> list[Incident]:
        """Those that nobody has acknowledged and that are not over."""
        found = (one for one in self._records.open() if one.acknowledged_at is None)
        return plan.newest_first(found)

    def timeline(self, name: str) -> tuple[Moment, ...]:
        """What happened, the oldest first. Raises NotFound."""
        return told_of(self.get(name), self._journal, depending(self._book()))

    def figures(self, since: float = 0.0) -> dict[str, Any]:
        """How long it took to detect, to acknowledge and to resolve; see `figures`."""
        return figures(self.every(), since)

    # --- telling

    def on_opened(self, callback: Callable[[Incident], object]) -> None:
        """Call it for each incident that opens, in the room's thread, until it has returned once: also after a crash.

        It may so be called twice for the same one. Others wait meanwhile, so it should be quick.
        """
        self._opened.append(callback)

    def on_changed(self, callback: Callable[[Incident], object]) -> None:
        """Call it after each change, in the thread that made it, without any lock."""
        self._changed.append(callback)

    def _do(self, name: str, actor: str, change: Callable[[Incident], Changed]) -> Incident:
        with self._lock:
            before = self.get(name)
            changed = change(before)
            if changed.incident == before and not changed.notes:
                return before
            self._write([changed], actor)
        self._say([changed])
        return changed.incident

    def _write(self, changes: Sequence[Changed], actor: str, *, bodies: dict[str, str] | None = None) -> None:
        channels, now = self._book().incidents.channels if self._tell else (), self._now()
        found = [one for changed in changes for one in news_of(changed, channels, now)]
        self._records.write(changes, actor, bodies=bodies, news=found)

    def _say(self, changes: Sequence[Changed]) -> None:
        """After the commit: to those who wait in this process, and to the thread that tells the rest."""
        if not changes:
            return
        self._wake.set()
        for one in changes:
            for callback in tuple(self._changed):
                try:
                    # As it is by now: of two changes at once, the one that is told last may be the first.
                    callback(self._records.known[one.incident.id])
                except Exception:
                    # It is written: its writer has not asked for this callback, so there is nobody to raise to.
                    _log.exception("a subscriber failed on %s", one.incident.id)
