"""Runs that ended long ago are forgotten, with their output, in the background and a few at a time.

What the handbook says (`runbooks: retention:`) is read at each look. One transaction forgets a run whole, and says so
in the journal, so that a crash leaves each run either there or gone. The events of runs stay for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from opsbook.errors import OpsbookError
from opsbook.response.runbooks import kinds
from opsbook.response.runbooks.model import Run
from opsbook.response.runbooks.records import Records, of_page_key, output_key, run_key
from opsbook.response.runbooks.site import Site

AT_A_TIME: Final = 50
DURABLE_SECONDS: Final = 30 * 86_400.0
"""Durable work that has ended is needed by nobody; it is kept so long to look into what was odd."""

_FIRST: Final = 60.0  # seconds after a start, which has other things to do
_EVERY: Final = 3600.0
_PAUSE: Final = 0.05  # between two batches: others write too


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is forgotten. Pure.

    Args:
        now: epoch seconds. retention: seconds after the end.
        rests: by page, the seconds after a run in which alerts start none: the run must be known until then.
        last: the newest run of each page, which its evidence names.
        incidents: the runs of each incident that is kept, by its id.
    """

    now: float
    retention: float
    rests: Mapping[str, float]
    last: Collection[str]
    incidents: Mapping[str, Collection[str]]
    _theirs: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        theirs = frozenset(run for runs in self.incidents.values() for run in runs)
        object.__setattr__(self, "_theirs", theirs)

    def forgets(self, run: Run) -> bool:
        """Whether a run is kept no longer."""
        if not run.ended or run.ended_at is None:
            return False
        if run.id in self.last or run.id in self._theirs or run.incident in self.incidents:
            return False
        return self.now - run.ended_at > max(self.retention, self.rests.get(run.page, 0.0))


class Retention:
    """See the module.

    Args:
        lock: held by whoever looks at a run and writes what follows from it.
    """

    def __init__(self, site: Site, records: Records, lock: AbstractContextManager[Any]) -> None:
        self._site = site
        self._records = records
        self._lock = lock
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """The batch under way is the last one. Twice is fine."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        pause = _FIRST
        while not self._stopping.wait(pause):
            pause = _EVERY
            try:
                self.look()
                self._site.durable.collect(DURABLE_SECONDS)
            except OpsbookError as error:
                self._site.log(f"runs that ended long ago are not forgotten yet: {error}")

    def look(self) -> int:
        """Forget what is due; returns how many runs that were. Raises Failed, Unreachable: it could not be written."""
        rule, after, total = self._rule(), "", 0
        while not self._stopping.is_set():
            found = self._records.oldest(after, AT_A_TIME)
            if over := [run.id for run in found.values() if rule.forgets(run)]:
                total += self._forget(over, rule)
            # Runs come in the order in which they were asked for: behind the first one that is too young for it, none
            # is old enough, unless the clock was set; then it is found the next time.
            if not found or all(rule.now - run.requested_at <= rule.retention for run in found.values()):
                break
            after = list(found)[-1]
            self._stopping.wait(_PAUSE)
        self._forget_texts()
        return total

    def _rule(self) -> Rule:
        book = self._site.book()
        return Rule(
            now=self._site.clock.now(),
            retention=book.runs.retention,
            rests={name: page.head.rest for name, page in book.runbooks.items()},
            last={evidence.last for evidence in self._records.every_evidence().values()},
            incidents=self._site.incident_runs(),
        )

    def _forget(self, names: list[str], rule: Rule) -> int:
        with self._lock:  # somebody may just have had one go on
            gone = [run for run in self._records.several(names).values() if rule.forgets(run)]
            if not gone:
                return 0
            put: dict[str, None] = {}
            for run in gone:
                put |= dict.fromkeys((run_key(run.id), of_page_key(run.page, run.id)))
                put |= dict.fromkeys(output_key(run.id, step.number) for step in run.steps)
            data = {
                "runs": len(gone), "first": gone[0].id, "last": gone[-1].id,
                "before": round(rule.now - rule.retention, 3),
            }  # fmt: skip
            self._site.boundary(f"retention:{gone[0].id}:before")
            self._site.journal.append(kinds.FORGOTTEN.name, "runbooks", data, actor="opsbook", put=put)
        self._site.boundary(f"retention:{gone[0].id}:after")
        return len(gone)

    def _forget_texts(self) -> None:
        """Those of pages of which no run is kept that was started with them; also what a crash left."""
        if not self._records.texts() - self._records.texts_in_use():
            return
        with self._lock:  # a run may begin with one meanwhile
            unused = self._records.texts() - self._records.texts_in_use()
            self._site.journal.append_all((), put=dict.fromkeys(sorted(unused)))
