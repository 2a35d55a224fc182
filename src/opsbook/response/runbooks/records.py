"""Where runs are kept: documents of the journal's state."""

from __future__ import annotations

from typing import Any

from opsbook.book.runbook_pages import read_runbook
from opsbook.book.runbooks import Runbook
from opsbook.errors import Failed, NotFound
from opsbook.journal import Journal
from opsbook.response.runbooks.model import Run

COUNTER = "runbooks/counter"


def run_key(name: str) -> str:
    return f"runbooks/run/{name}"


def open_key(name: str) -> str:
    return f"runbooks/open/{name}"


def page_key(digest: str) -> str:
    return f"runbooks/page/{digest}"


def output_key(name: str, number: int) -> str:
    return f"runbooks/output/{name}/{number}"


class Records:
    """Reads what the journal keeps of runs."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._pages: dict[str, Runbook] = {}

    def run(self, name: str) -> Run:
        """Raises NotFound."""
        found = self._journal.state.get(run_key(name))
        if found is None:
            raise NotFound(f"there is no run {name}", hint="opsbook runs list", where=name)
        return Run.model_validate(found)

    def runs(self, *, page: str | None = None, limit: int = 50) -> list[Run]:
        """The newest first."""
        every = [Run.model_validate(one) for one in self._journal.state.items("runbooks/run/").values()]
        chosen = [run for run in every if page is None or run.page == page]
        return sorted(chosen, key=lambda run: int(run.id.rpartition("-")[2]), reverse=True)[:limit]

    def unfinished(self) -> list[Run]:
        """Those that have not ended, the oldest first."""
        names = [key.rpartition("/")[2] for key in self._journal.state.items("runbooks/open/")]
        found = [run for name in names if not (run := self.run(name)).ended]
        return sorted(found, key=lambda run: run.requested_at)

    def page(self, run: Run) -> Runbook:
        """The page as it was when the run began."""
        known = self._pages.get(run.digest)
        if known is None:
            text = self._journal.state.get(page_key(run.digest))
            page, _, _ = read_runbook(run.page, str(text or "").encode("utf-8", "surrogatepass"))
            if text is None or page is None:
                raise Failed(f"the text that {run.id} runs is gone", where=run.id)
            known = self._pages[run.digest] = page
            if len(self._pages) > 100:
                self._pages.pop(next(iter(self._pages)))
        return known

    def output(self, name: str, number: int) -> dict[str, Any]:
        """What a try wrote: ``text``, ``dropped``, ``sensitive``; empty when there is nothing."""
        found = self._journal.state.get(output_key(name, number))
        return dict(found) if found else {"text": "", "dropped": 0, "sensitive": False}
