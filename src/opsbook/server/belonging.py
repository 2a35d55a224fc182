"""Runs that were started for an incident become a part of it, in a thread of its own.

The journal tells its subscribers in whatever thread appends, and that one may hold the locks of alerting's outbox or of
escalation, which an incident that changes asks for in turn.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable

from opsbook.journal import Event, Journal
from opsbook.response.runbooks.model import Run


class Belonging:
    """See the module.

    Args:
        run: a run by its id. unfinished: those that have not ended.
        add: has an incident know of a run: the incident, the run, who started it.
        log: takes what went wrong, a line each.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        run: Callable[[str], Run],
        unfinished: Callable[[], Iterable[Run]],
        add: Callable[[str, str, str], object],
        log: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._run = run
        self._unfinished = unfinished
        self._add = add
        self._log = log
        self._news: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """From now on; and those that a crash left untold."""
        self._unsubscribe = self._journal.subscribe(self._happened)
        for run in self._unfinished():
            self._news.put((run.id, run.requested_by))
        self._thread = threading.Thread(target=self._follow, name="belonging", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell what is known already, and end. Twice is fine."""
        self._unsubscribe()
        self._news.put(None)
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _happened(self, event: Event) -> None:
        if event.kind == "runbook.started":
            self._news.put((str(event.data["id"]), event.actor))

    def _follow(self) -> None:
        while (known := self._news.get()) is not None:
            name, actor = known
            try:
                run = self._run(name)
                if run.incident:
                    self._add(run.incident, name, actor)
            except Exception as error:  # whatever it is, the next run is another one
                self._log(f"{name} could not become a part of its incident: {error}")
