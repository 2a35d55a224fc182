"""Incidents in the journal's state: read once, written with the events that explain them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opsbook.journal import Entry, Journal
from opsbook.response.incidents.model import Incident
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

    @property
    def known(self) -> Mapping[str, Incident]:
        """All of them by their ids. Raises Failed, Unreachable."""
        if self._known is None:
            with self._reading:
                if self._known is None:
                    found = map(Incident.from_json, self._journal.state.items(PREFIX).values())
                    self._known = {one.id: one for one in found}
        return self._known

    def next_number(self) -> int:
        """Of an incident that is not there yet: ids are never given twice."""
        return max((one.number for one in self.known.values()), default=0) + 1

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
        documents: dict[str, Any] = {key_of(one.incident): one.incident.to_json() for one in changes}
        documents |= {f"{NEWS}{one['id']}": dict(one) for one in news}
        documents |= {key: {"body": body} for key, body in (bodies or {}).items()}
        known = dict(self.known)
        self._journal.append_all(entries, put=documents)
        self._known = {**known, **{one.incident.id: one.incident for one in changes}}

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
