"""The room put together: what the server starts, asks and stops.

Rules follow the handbook: whenever it is read anew and has changed, they are compiled again; alerts of rules that stay
keep their state.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from opsbook.book import Book
from opsbook.errors import OpsbookError
from opsbook.journal import Journal
from opsbook.monitoring.querying.ports import Queries
from opsbook.monitoring.rules.compiling import groups_of
from opsbook.monitoring.rules.model import RuleGroup
from opsbook.monitoring.rules.ports import Receiver, Series
from opsbook.monitoring.rules.room import Rules
from opsbook.monitoring.rules.views import RulesView, Told

LOOK_SECONDS = 1.0


class Generator(Protocol):
    """Who makes rules out of other parts of the handbook: SLOs, probes."""

    def __call__(self, book: Book) -> Sequence[RuleGroup]: ...


class Monitoring:
    """Everything that watches.

    Args:
        queries: PromQL over `series`, or another server's.
        series: the storage that rules write to; None with an external server.
        journal: alert state and events.
        book: the handbook as it was last read, cheap to ask.
        moment: the time samples are stamped with, epoch seconds.
        receiver: who decides whom to tell. told: what became of an alert there, by fingerprint.
        generators: who else makes rules.
        log: a sentence for people, once each time something begins to fail.
    """

    def __init__(
        self,
        queries: Queries,
        series: Series | None,
        journal: Journal,
        *,
        book: Callable[[], Book],
        moment: Callable[[], float],
        receiver: Receiver | None = None,
        told: Told | None = None,
        generators: Sequence[Generator] = (),
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.queries = queries
        self.rules = Rules(queries, series, journal, receiver, moment=moment, log=log)
        self.view = RulesView(self.rules) if told is None else RulesView(self.rules, told)
        self._book = book
        self._generators = tuple(generators)
        self._log = log
        self._digest = ""
        self._problem = ""

    def start(self) -> None:
        """Load the rules and begin their rounds."""
        self.look()
        self.rules.start()

    def keep(self, stopping: threading.Event) -> None:
        """Follow the handbook until the end."""
        while not stopping.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Compile the rules again when the handbook has changed; when they cannot be, the old ones go on."""
        book = self._book()
        if book.digest == self._digest:
            return
        try:
            generated = tuple(group for make in self._generators for group in make(book))
            self.rules.load(groups_of(book, generated))
        except OpsbookError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._log(f"rules: the handbook's are not taken over: {error}")
            return
        self._digest, self._problem = book.digest, ""

    def close(self) -> None:
        """End the rounds; the one under way is finished."""
        self.rules.close()
