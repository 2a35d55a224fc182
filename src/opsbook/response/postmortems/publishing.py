"""The status page, kept where customers see it: written whenever it says something new, and now and then besides."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from opsbook.book import Book
from opsbook.book.postmortems import StatusPageSpec
from opsbook.errors import NotFound, OpsbookError
from opsbook.response.incidents.model import Incident
from opsbook.response.postmortems.site import Site
from opsbook.response.postmortems.status_files import files
from opsbook.response.postmortems.status_page import StatusPage, status_page

MARK = "opsbook status page"
EVERY = 600.0  # seconds after which it is written although it says the same: customers see as of when it is
_STATE = "postmortems/status-page"


class Publishing:
    """See the module."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._written: tuple[str, str] = ("", "")  # folder, and what was said there
        self._written_at = 0.0
        self.problem = ""

    def page(self) -> StatusPage:
        """The page as it would be now. Raises NotFound when the policy has none."""
        return self._made(self._spec(), self._site.incidents.every())

    def files(self) -> dict[str, str]:
        """Its files, by name. Raises NotFound."""
        return files(self.page())

    def folder(self) -> Path | None:
        """Where it is kept; None when the policy does not say."""
        spec = self._site.book().status_page
        if spec is None or spec.to is None:
            return None
        return (self._site.folder / Path(spec.to).expanduser()).resolve()

    def look(self, incidents: Sequence[Incident]) -> bool:
        """Write it when it is due; returns whether it was. What cannot be written is tried in the next round."""
        spec, folder = self._site.book().status_page, self.folder()
        if spec is None or folder is None:
            return False
        page = self._made(spec, incidents)
        said, at = (str(folder), _digest(page)), self._site.now()
        if said == self._written and 0 <= at - self._written_at < EVERY:
            return False
        try:
            self.build(page, folder)
        except OpsbookError as error:
            if str(error) != self.problem:
                self._site.log(f"status page: {error}")
            self.problem = str(error)
            return False
        return True

    def build(self, page: StatusPage | None = None, folder: Path | None = None) -> Path:
        """Write it now, into the policy's folder if no other is given.

        Raises:
            NotFound: the policy has no status page, or no folder for it. Conflict: there is something else.
        """
        page = page or self.page()
        folder = folder or self.folder()
        if folder is None:
            hint = "status_page: {to: ../public/status} in incidents/policy.yaml, or --to DIR"
            raise NotFound("the policy names no folder for the status page", hint=hint)
        with self._lock:
            self._site.publish(folder, files(page), MARK)
            said = _digest(page)
            self._written, self._written_at, self.problem = (str(folder), said), self._site.now(), ""
            known = self._site.journal.state.get(_STATE)
            if known != {"to": str(folder), "said": said}:
                self._site.journal.append(
                    "status_page.published",
                    "status-page",
                    {"to": str(folder), "status": page.tone, "open": [one.id for one in page.open]},
                    actor="opsbook",
                    put={_STATE: {"to": str(folder), "said": said}},
                )
        return folder

    def to_json(self) -> dict[str, Any]:
        """Where it is, and whether it could be written."""
        folder = self.folder()
        return {
            "to": str(folder) if folder else "",
            "written_at": self._written_at or None,
            "problem": self.problem,
        }

    def _spec(self) -> StatusPageSpec:
        spec = self._site.book().status_page
        if spec is None:
            hint = "status_page: {services: {web: Web shop}} in incidents/policy.yaml"
            raise NotFound("the handbook has no status page", hint=hint)
        return spec

    def _made(self, spec: StatusPageSpec, incidents: Sequence[Incident]) -> StatusPage:
        book = self._site.book()
        return status_page(
            incidents, spec, book.name, self._site.now(), self._site.mask, places=_places(spec, book)
        )


def _places(spec: StatusPageSpec, book: Book) -> Collection[str] | None:
    """Where customers are: a test that fails in staging is no outage."""
    production = [name for name, one in book.environments.items() if one.is_production]
    return spec.environments or production or None


def _digest(page: StatusPage) -> str:
    """Of all that it says but the time, and what only time changes."""
    said = page.to_json()
    said.pop("at")
    for one in said["components"]:
        one.pop("share_without_outage")
    return hashlib.sha256(json.dumps(said).encode("utf-8", "surrogatepass")).hexdigest()
