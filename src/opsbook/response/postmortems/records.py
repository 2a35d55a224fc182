"""Where the room keeps what it knows of its pages, and how a page is found again."""

from __future__ import annotations

from opsbook.book.postmortems import PostmortemPage, is_postmortem, read_postmortem
from opsbook.journal import Journal
from opsbook.response.postmortems.model import Record
from opsbook.response.postmortems.site import Pages

PREFIX = "postmortems/record/"


def key_of(incident: str) -> str:
    return f"{PREFIX}{incident}"


class Records:
    """Reads what the journal's state and the handbook's folder have."""

    def __init__(self, journal: Journal, pages: Pages) -> None:
        self._journal = journal
        self._pages = pages

    def get(self, incident: str) -> Record | None:
        found = self._journal.state.get(key_of(incident))
        return None if found is None else Record.model_validate(found)

    def every(self) -> dict[str, Record]:
        """By incident."""
        found = (Record.model_validate(one) for one in self._journal.state.items(PREFIX).values())
        return {record.incident: record for record in found}

    def page(self, path: str) -> PostmortemPage | None:
        """The page as it lies in the folder now; None when there is none."""
        text = self._pages.read(path)
        return None if text is None else read_postmortem(path, text.encode("utf-8", "surrogatepass"))[0]

    def find(self, incident: str, known: str) -> str:
        """The path of the page about an incident, also when somebody gave it another name; empty: none.

        Args:
            known: where it was written last; may be empty.
        """
        if known and self._is_about(known, incident):
            return known
        paths = reversed([path for path in self._pages.names("incidents") if is_postmortem(path)])
        return next((path for path in paths if self._is_about(path, incident)), "")

    def _is_about(self, path: str, incident: str) -> bool:
        page = self.page(path)
        return page is not None and page.head.incident == incident
