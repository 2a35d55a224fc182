"""What the room works with, handed in by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from opsbook.book import Book
from opsbook.journal import Journal
from opsbook.response.incidents.model import Incident
from opsbook.response.postmortems.facts import Moment
from opsbook.response.postmortems.impact import Queries
from opsbook.response.runbooks.model import Run


class Pages(Protocol):
    """The handbook's files; `opsbook.world.hosts.pages.FolderPages` is one."""

    def read(self, path: str) -> str | None:
        """The text as it lies in the folder; None when there is none."""

    def names(self, folder: str) -> tuple[str, ...]:
        """The files directly in a folder, as paths."""

    def write(self, files: Mapping[str, str], message: str, actor: str) -> str:
        """Write them in one commit. Returns it; empty without git. Raises Conflict, Failed."""

    def propose(self, name: str, files: Mapping[str, str], message: str, actor: str) -> tuple[str, str]:
        """Put a change up as a branch, or a patch. Returns commit and place. Raises Conflict, Failed."""


class Incidents(Protocol):
    """The incidents of this opsbook; `opsbook.response.incidents.room.Incidents` is one."""

    def get(self, name: str) -> Incident:
        """Raises NotFound."""

    def every(self) -> Sequence[Incident]:
        """All of them, the newest first."""

    def timeline(self, name: str) -> Sequence[Moment]:
        """What happened, the oldest first."""

    def has_postmortem(self, name: str, path: str, impact: Any) -> object:
        """Let the incident know where its post-mortem is, and its impact."""

    def on_changed(self, callback: Callable[[Incident], object]) -> None:
        """Call it after every change of an incident."""


Publish = Callable[[Path, Mapping[str, str], str], None]
"""As `opsbook.world.hosts.publishing.publish`."""


def _same(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One opsbook, as post-mortems see it.

    Args:
        book: as the files are now. folder: the handbook's.
        now: epoch seconds. queries: None: nothing is measured.
        run: a run by its id; raises NotFound.
        mask: takes secret values out of a text.
        publish: writes the status page's files into a folder.
        log: a sentence for people.
    """

    book: Callable[[], Book]
    folder: Path
    journal: Journal
    incidents: Incidents
    pages: Pages
    now: Callable[[], float]
    publish: Publish
    queries: Queries | None = None
    run: Callable[[str], Run] | None = None
    mask: Callable[[str], str] = _same
    log: Callable[[str], object] = _same
