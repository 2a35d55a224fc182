"""Looks whether escalations go on, in a thread of its own: whatever holds the room must not hold this."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Final

from opsbook.book import Book
from opsbook.errors import OpsbookError
from opsbook.journal import Journal
from opsbook.response.escalation.chains import reaching
from opsbook.response.escalation.model import Escalation, Page
from opsbook.response.escalation.plan import AGAIN, LATE, overdue
from opsbook.response.escalation.ports import Incidents
from opsbook.response.escalation.room import Escalations
from opsbook.response.escalation.wording import place_of
from opsbook.terminal import duration

LOOK: Final = 10.0  # seconds


class Watchdog:
    """See the module.

    Args:
        send: see `Escalations`.
        log: takes what went wrong, a line each.
    """

    def __init__(
        self,
        escalations: Escalations,
        incidents: Incidents,
        book: Callable[[], Book],
        journal: Journal,
        *,
        send: Callable[[str, Page], None],
        now: Callable[[], float],
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._escalations = escalations
        self._incidents = incidents
        self._book = book
        self._journal = journal
        self._send = send
        self._now = now
        self._log = log
        self._told: dict[str, float] = {}
        self._lost: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread = threading.Thread(target=self._run, name="escalation-watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK):
            try:
                self.look()
            except Exception as error:  # a watchdog that can be killed by what it watches is none
                self._log(f"watchdog of escalations: {type(error).__name__}: {error}")

    def look(self) -> tuple[str, ...]:
        """Begin what was lost, and page the owner about what is late. Returns what was found, in words."""
        now = self._now()
        found = []
        late = list(overdue(self._escalations.listed(), now))
        for escalation, seconds in late:
            said = f"{escalation.id} is {duration(seconds)} late: nobody has been paged when it was due"
            found.append(said)
            self._bark(escalation, said, seconds, now)
        found += self._begin_lost(now)
        return tuple(found)

    @property
    def trouble(self) -> str:
        """Why escalation cannot be relied on now; empty: it can."""
        silent = self._now() - self._escalations.looked_at
        if silent > LATE:
            return f"escalation has not gone round for {duration(silent)}"
        return self._escalations.trouble

    def _begin_lost(self, now: float) -> list[str]:
        """An incident that is open, and that nobody was ever paged about: something was lost in between."""
        known = {one.id for one in self._escalations.listed() if one.open}
        waiting = {one.id: one for one in self._incidents.waiting() if one.id not in known}
        # Given the time of one look: it may be opening at this moment.
        lost = {name: self._lost.get(name, now) for name in waiting}
        self._lost = lost
        found = []
        for name, since in lost.items():
            if now - since >= LOOK:
                self._escalations.begin(waiting[name])
                found.append(f"{name} is open, and nobody was paged about it")
                self._log(found[-1])
        return found

    def _bark(self, about: Escalation, said: str, seconds: float, now: float) -> None:
        told = self._told.get(about.id)
        if told is not None and 0 <= now - told < AGAIN:
            return
        self._told[about.id] = now
        self._log(said)
        title = f"{about.subject.severity} {about.subject.title}".strip()
        text = (
            f"opsbook's escalation does not go on: {said}.\nWake whoever is on call. opsbook ack {about.id}"
        )
        for target in reaching(self._book(), lambda name: None)(""):
            # Its channels all at once: this is the last one who can help.
            for channel in target.ways:
                name = hashlib.sha256(f"watchdog\n{about.id}\n{now}\n{channel}".encode()).hexdigest()[:32]
                page = Page(
                    id=name,
                    incident=about.id,
                    person=target.person,
                    name=target.name,
                    channel=channel,
                    at=now,
                    severity=about.subject.severity,
                    title=f"not escalated: {title}",
                    text=text,
                    labels={"incident": about.id, "severity": about.subject.severity},
                )
                try:
                    self._send(channel, page)
                except Exception as error:  # the other channels are tried all the same
                    self._log(f"channel {channel} does not take the watchdog's page: {error}")
        data = {"incident": about.id, "seconds": round(seconds, 3), "said": said}
        try:
            self._journal.append(
                "escalation.overdue", place_of(self._book(), about.subject), data, actor="opsbook"
            )
        except OpsbookError as error:
            self._log(f"the watchdog's page cannot be written down: {error}")
