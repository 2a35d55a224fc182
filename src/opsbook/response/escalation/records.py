"""Escalations in the journal's state. What cannot be written now is written later: people are paged meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Final

from opsbook.errors import Invalid, OpsbookError
from opsbook.journal import Entry, Journal
from opsbook.response.escalation.model import Escalation

PREFIX: Final = "escalation/"


class Records:
    """See the module. `trouble` says why the last write failed; empty: it did not."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._documents: dict[str, Any] = {}
        self._entries: list[Entry] = []
        self.trouble = ""

    def read(self) -> dict[str, Escalation]:
        """Every escalation by its incident. Raises Failed, Unreachable."""
        found = self._journal.state.items(PREFIX).values()
        return {one.id: one for one in map(Escalation.from_json, found)}

    def write(self, changed: Iterable[Escalation], entries: Iterable[Entry]) -> None:
        """In one transaction with all that could not be written before, now or later."""
        with self._lock:
            self._documents |= {PREFIX + one.id: one.to_json() for one in changed}
            self._entries += entries
        self.flush()

    def forget(self, ids: Iterable[str]) -> None:
        """Escalations that are long over."""
        with self._lock:
            self._documents |= {PREFIX + one: None for one in ids}
        self.flush()

    def flush(self) -> None:
        """Try again what could not be written."""
        with self._lock:
            if not self._documents and not self._entries:
                return
            try:
                self._journal.append_all(self._entries, put=self._documents)
            except Invalid:
                # It would never be written: what was told must not stop what is to be told.
                self._documents, self._entries = {}, []
                raise
            except OpsbookError as error:
                self.trouble = str(error)
                return
            self._documents, self._entries, self.trouble = {}, [], ""
