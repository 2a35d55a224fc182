"""The results of drills, kept as evidence beside each page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opsbook.book import Book
from opsbook.journal import Journal
from opsbook.response.drills.kinds import ENDED
from opsbook.response.drills.model import Result

PREFIX: Final = "drill/"
KEPT = 20
"""Results that are kept of each page; the journal has all."""


class Drills:
    """See the module.

    Args:
        book: as it is now. now: UTC epoch seconds. mask: takes secrets out of a text.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        journal: Journal,
        *,
        now: Callable[[], float],
        mask: Callable[[str], str] = str,
    ) -> None:
        self._book, self._journal, self._now, self._mask = book, journal, now, mask

    def record(self, result: Result, actor: str) -> Result:
        """Write down how a drill went; its time is this opsbook's.

        Raises:
            NotFound: the handbook has no such page. Failed, Unreachable: it could not be written.
        """
        self._book().runbook(result.page)
        kept = result.model_copy(update={"at": self._now(), "reason": self._mask(result.reason)})
        data = kept.model_dump(
            mode="json",
            include={"page", "state", "fault", "detect_seconds", "fix_seconds", "stage", "reason", "digest"},
        )
        documents = [kept.to_json(), *(one.to_json() for one in self.of(result.page))][:KEPT]
        self._journal.append(
            ENDED.name,
            f"runbook/{result.page}",
            data,
            actor=actor,
            put={PREFIX + result.page: {"results": documents}},
        )
        return kept

    def of(self, page: str) -> tuple[Result, ...]:
        """The results of a page, the newest first."""
        found = self._journal.state.items(PREFIX + page).get(PREFIX + page)
        return tuple(Result.from_json(one) for one in found["results"]) if found else ()

    def evidence(self) -> dict[str, dict[str, Any]]:
        """The last result of each page, and whether the page has been changed since.

        A drill that was skipped says nothing of the page: one before it that was not goes before it.
        """
        pages = self._book().runbooks
        found: dict[str, dict[str, Any]] = {}
        for name, page in pages.items():
            if results := self.of(name):
                last = next((one for one in results if one.state != "skipped"), results[0])
                found[name] = last.to_json() | {"changed_since": last.digest != page.digest}
        return found
