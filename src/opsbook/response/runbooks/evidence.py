"""What a page is judged by: a document beside it, which changes with its runs and outlives them. Pure."""

from __future__ import annotations

import statistics
from typing import Any

from opsbook.response.runbooks.model import Document, Outcome, Run, number_of

JUDGED = 50  # runs that a page is judged by
_SAYS_NOTHING = {"cancelled", "refused"}


class Seen(Document):
    """One run, as far as it says something about its page; `outcome` None: it has not ended."""

    id: str
    at: float
    outcome: Outcome | None = None
    seconds: float | None = None

    @property
    def judges(self) -> bool:
        return self.outcome is not None and self.outcome not in _SAYS_NOTHING


class Evidence(Document):
    """How runs of a page went. `runs`: how many there were; `seen`: the newest first, no more than are needed."""

    runs: int = 0
    seen: tuple[Seen, ...] = ()

    @property
    def last(self) -> str:
        """The id of the newest run; empty: there was none."""
        return self.seen[0].id if self.seen else ""

    def begun(self, run: Run) -> Evidence:
        """With one that is new. One that only looks says nothing about the page."""
        return self if run.looking else self.model_copy(update={"runs": self.runs + 1}).changed(run)

    def changed(self, run: Run) -> Evidence:
        """With one as it is now: ended, or going on after its end."""
        if run.looking:
            return self
        took = run.ended_at - run.started_at if run.ended_at and run.started_at else None
        now = Seen(id=run.id, at=run.requested_at, outcome=run.outcome, seconds=took)
        every = [now, *(one for one in self.seen if one.id != run.id)]
        every.sort(key=lambda one: number_of(one.id), reverse=True)
        judging = [one for one in every if one.judges][:JUDGED]
        kept = [one for one in every[:1] if not one.judges] + judging
        return self.model_copy(update={"seen": tuple(kept)})

    def view(self) -> dict[str, Any]:
        """The last run, the share that succeeded, the usual duration in seconds."""
        judging = [one for one in self.seen if one.judges]
        worked = [one for one in judging if one.outcome == "succeeded"]
        seconds = [one.seconds for one in worked if one.seconds is not None]
        last = self.seen[0] if self.seen else None
        return {
            "runs": self.runs,
            "last": None if last is None else {"id": last.id, "at": last.at, "outcome": last.outcome},
            "success_rate": len(worked) / len(judging) if judging else None,
            "median_seconds": statistics.median(seconds) if seconds else None,
        }
