"""Where runs are kept: documents of the journal's state.

Keys of runs sort as the runs came, and each page has keys of its own runs beside them, so that the newest are found
without reading the others. How runs of a page went is a document of its own, which stays when runs are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from opsbook.book.runbook_pages import read_runbook
from opsbook.book.runbooks import Runbook
from opsbook.errors import Failed, NotFound
from opsbook.journal import Journal
from opsbook.response.runbooks.evidence import Evidence
from opsbook.response.runbooks.model import Run, number_of

COUNTER = "runbooks/counter"
RUNS = "runbooks/run/"
EVIDENCE = "runbooks/evidence/"
TEXTS = "runbooks/page/"
OF_PAGES = "runbooks/of/"
SEARCHED = 2000  # of the newest runs, where something is looked for among them
_FEW, _MANY = 50, 400  # read at a time: first, and when those were not enough
_OLD = f"{RUNS}run-"  # keys of runs once were their ids, in no order


def run_key(name: str) -> str:
    number = number_of(name)
    return f"{RUNS}{number:010d}" if number else f"{RUNS}?{name}"[:500]


def open_key(name: str) -> str:
    return f"runbooks/open/{name}"


def page_key(digest: str) -> str:
    return f"{TEXTS}{digest}"


def output_key(name: str, number: int) -> str:
    return f"runbooks/output/{name}/{number}"


def of_page(page: str) -> str:
    """What the keys of a page's runs begin with. No name of a page has a ``#`` in it."""
    return f"{OF_PAGES}{page}#"


def of_page_key(page: str, name: str) -> str:
    return f"{of_page(page)}{number_of(name):010d}"


def evidence_key(page: str) -> str:
    return f"{EVIDENCE}{page}"


def found_by(run: Run) -> dict[str, Any]:
    """What a new run is found by."""
    return {of_page_key(run.page, run.id): {"digest": run.digest}}


def anything(run: Run) -> bool:
    del run
    return True


class Records:
    """Reads what the journal keeps of runs."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._state = journal.state
        self._pages: dict[str, Runbook] = {}

    def run(self, name: str) -> Run:
        """Raises NotFound."""
        found = self._state.get(run_key(name))
        if found is None:
            raise NotFound(f"there is no run {name}", hint="opsbook runs list", where=name)
        return Run.model_validate(found)

    def several(self, names: Iterable[str]) -> dict[str, Run]:
        """Those of these runs that are there, by their ids."""
        found = self._state.several([run_key(name) for name in names])
        return {run.id: run for run in map(Run.model_validate, found.values())}

    def runs(
        self, *, page: str | None = None, limit: int = 50, wanted: Callable[[Run], bool] = anything
    ) -> list[Run]:
        """The newest first, of those among the newest `SEARCHED` that are `wanted` (see `search`)."""
        most = max(SEARCHED, limit)
        found = (one for one in islice(self._newest(page), most) if wanted(_outline(one)))
        return [Run.model_validate(one) for one in islice(found, limit)]

    def search(
        self, wanted: Callable[[Run], bool] | None, *, page: str | None = None, limit: int = 50
    ) -> tuple[list[Run], int]:
        """The newest that are wanted, and how many more of them there are among the newest `SEARCHED`.

        Args:
            wanted: is asked with each run in outline: without its steps; None: each is, and all are counted.
        """
        if wanted is None:
            count = len(self._state.keys(RUNS if page is None else of_page(page)))
            return self.runs(page=page, limit=limit), max(0, count - limit)
        found = [one for one in islice(self._newest(page), SEARCHED) if wanted(_outline(one))]
        return [Run.model_validate(one) for one in found[:limit]], max(0, len(found) - limit)

    def previous(self, run: Run) -> Run | None:
        """The run of the same page before it that has ended."""
        for one in islice(self._newest(run.page, before=run.id), _FEW):
            if one["state"] == "ended" and one["requested_at"] < run.requested_at:
                return Run.model_validate(one)
        return None

    def _newest(self, page: str | None, before: str = "") -> Iterator[Mapping[str, Any]]:
        """The documents of runs, the newest first, read a few at a time."""
        prefix = RUNS if page is None else of_page(page)
        last = f"{prefix}{number_of(before):010d}" if before else ""
        many = _FEW
        while True:
            if page is None:
                found = self._state.items(prefix, before=last, limit=many, newest=True)
                keys = list(found)
            else:
                keys = self._state.keys(prefix, before=last, limit=many, newest=True)
                found = self._state.several([RUNS + key.removeprefix(prefix) for key in keys])
            yield from found.values()
            if len(keys) < many:
                return
            last, many = keys[-1], _MANY

    def unfinished(self) -> list[Run]:
        """Those that have not ended, the oldest first."""
        names = [key.rpartition("/")[2] for key in self._state.keys("runbooks/open/")]
        found = [run for name in names if not (run := self.run(name)).ended]
        return sorted(found, key=lambda run: run.requested_at)

    def evidence(self, page: str) -> Evidence:
        """How runs of a page went, also those that are forgotten."""
        found = self._state.get(evidence_key(page))
        return Evidence() if found is None else Evidence.model_validate(found)

    def every_evidence(self) -> dict[str, Evidence]:
        """By page: each that ever ran."""
        found = self._state.items(EVIDENCE)
        return {key.removeprefix(EVIDENCE): Evidence.model_validate(one) for key, one in found.items()}

    def page(self, run: Run) -> Runbook:
        """The page as it was when the run began."""
        known = self._pages.get(run.digest)
        if known is None:
            text = self._state.get(page_key(run.digest))
            page, _, _ = read_runbook(run.page, str(text or "").encode("utf-8", "surrogatepass"))
            if text is None or page is None:
                raise Failed(f"the text that {run.id} runs is gone", where=run.id)
            known = self._pages[run.digest] = page
            if len(self._pages) > 100:
                self._pages.pop(next(iter(self._pages)))
        return known

    def output(self, name: str, number: int) -> dict[str, Any]:
        """What a try wrote: ``text``, ``dropped``, ``sensitive``; empty when there is nothing."""
        found = self._state.get(output_key(name, number))
        return dict(found) if found else {"text": "", "dropped": 0, "sensitive": False}

    def oldest(self, after: str, limit: int) -> dict[str, Run]:
        """The first runs behind a key, by their keys."""
        found = self._state.items(RUNS, after=after, limit=limit)
        return {key: Run.model_validate(one) for key, one in found.items()}

    def texts(self) -> set[str]:
        """The keys of all texts that runs were started with."""
        return set(self._state.keys(TEXTS))

    def texts_in_use(self) -> set[str]:
        """The keys of those that some run that is kept was started with."""
        return {page_key(str(one["digest"])) for one in self._state.items(OF_PAGES).values()}

    def upgrade(self) -> int:
        """Give runs that an earlier version kept the keys by which they are found now; returns how many.

        A crash in between leaves the rest for the next time.
        """
        total = 0
        while found := self._state.items(_OLD, limit=_MANY // 2):
            put: dict[str, Any] = dict.fromkeys(found)
            pages: dict[str, Evidence] = {}
            for one in map(Run.model_validate, found.values()):
                put |= {run_key(one.id): one.to_json(), **found_by(one)}
                known = pages.get(one.page) or self.evidence(one.page)
                pages[one.page] = known.begun(one)
            put |= {evidence_key(page): one.to_json() for page, one in pages.items()}
            self._journal.append_all((), put=put)
            total += len(found)
        return total


def _outline(document: Mapping[str, Any]) -> Run:
    """A run without its steps, as it was written: for looking through thousands."""
    return Run.model_construct(**{**document, "steps": (), "approvals": (), "cancel": None})
