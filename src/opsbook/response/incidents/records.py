"""Incidents in the journal's state: read once, written with the events that explain them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opsbook.journal import Entry, Journal
from opsbook.response.incidents.model import Incident
from opsbook.response.incidents.placing import ALERTS, Placed, placed, read, with_alerts
from opsbook.response.incidents.placing import changes as altered
from opsbook.response.incidents.plan import Changed

PREFIX: Final = "incidents/item/"
BODIES: Final = "incidents/attachment/"
NEWS: Final = "incidents/news/"
"""What is still to be told: it is written with what it is about, and goes when it was told."""


class Records:
    """See the module. The caller sees to it that nobody else writes meanwhile."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._reading = threading.Lock()
        self._known: dict[str, Incident] | None = None  # never changed, only exchanged: readers need no lock
        self._open: dict[str, Incident] = {}  # likewise
        self._placed: dict[int, Placed] = {}  # by number
        self._having: dict[str, dict[str, None]] = {}  # by alert, the incidents that have had it
        self._highest = 0

    @property
    def known(self) -> Mapping[str, Incident]:
        """All of them by their ids. Raises Failed, Unreachable."""
        if self._known is None:
            with self._reading:
                if self._known is None:
                    documents = self._journal.state.items(PREFIX)
                    apart = read(self._journal.state.items(ALERTS))
                    found = map(Incident.from_json, documents.values())
                    self._placed = dict(apart)
                    known = {one.id: with_alerts(one, apart.get(one.number, {})) for one in found}
                    self._index(known.values())
                    self._open = {one.id: one for one in known.values() if one.open}
                    self._known = known
        return self._known

    def next_number(self) -> int:
        """Of an incident that is not there yet: ids are never given twice."""
        return self._highest + 1 if self.known else 1

    def open(self) -> list[Incident]:
        """Those that are not over, as they came. There are few of them, however many there were."""
        return sorted(self._open.values(), key=lambda one: one.number) if self.known else []

    def having(self, fingerprint: str) -> Iterable[str]:
        """The ids of the incidents that have, or had, an alert."""
        return tuple(self._having.get(fingerprint, ())) if self.known else ()

    def _index(self, incidents: Iterable[Incident]) -> None:
        for one in incidents:
            self._highest = max(self._highest, one.number)
            for alert in one.alerts:
                self._having.setdefault(alert.fingerprint, {})[one.id] = None

    def write(
        self,
        changes: Sequence[Changed],
        actor: str,
        *,
        bodies: Mapping[str, str] | None = None,
        news: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """All of it in one transaction, or nothing.

        Args:
            bodies: of attachments, by `body_key`. news: documents for `news`, each with `id` and `what`.
        """
        entries = [
            Entry(
                f"incident.{note.kind}",
                one.incident.subject,
                {"incident": one.incident.id, **note.data},
                actor,
            )
            for one in changes
            for note in one.notes
        ]
        known, documents = dict(self.known), dict[str, Any]()
        places: dict[int, Placed] = {}
        for one in changes:
            number = one.incident.number
            before = self._placed.get(number, {})
            places[number] = placed(before, one.incident.alerts)
            documents |= {key_of(one.incident): one.incident.but(alerts=()).to_json()}
            documents |= altered(number, before, places[number])
        documents |= {f"{NEWS}{one['id']}": dict(one) for one in news}
        documents |= {key: {"body": body} for key, body in (bodies or {}).items()}
        self._journal.append_all(entries, put=documents)
        self._placed |= places
        now = [one.incident for one in changes]
        self._index(now)
        still = {**self._open, **{one.id: one for one in now}}
        self._open = {name: one for name, one in still.items() if one.open}
        self._known = {**known, **{one.id: one for one in now}}

    def body(self, incident: str, attachment: str) -> str | None:
        """The body of an attachment."""
        found = self._journal.state.get(body_key(incident, attachment))
        return None if found is None else str(found["body"])

    def news(self) -> list[dict[str, Any]]:
        """What is still to be told, the oldest first."""
        return sorted(self._journal.state.items(NEWS).values(), key=lambda one: (one["at"], one["id"]))

    def told(self, news: Iterable[str]) -> None:
        """These were."""
        self._journal.append_all((), put={f"{NEWS}{one}": None for one in news})


def key_of(incident: Incident) -> str:
    """Keys sort as the incidents came."""
    return f"{PREFIX}{incident.number:010d}"


def body_key(incident: str, attachment: str) -> str:
    """Where the body of an attachment is kept."""
    return f"{BODIES}{incident}/{attachment}"
