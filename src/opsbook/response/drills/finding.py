"""Which drill tries which page: the handbook's own ones go before those of the standard set."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from glob import glob

from opsbook.book import Book
from opsbook.book.drills import FOLDER, Drill, read_drill
from opsbook.book.problems import HandbookError, did_you_mean
from opsbook.book.runbook_pages import read_runbook
from opsbook.book.runbooks import Runbook
from opsbook.errors import NotFound
from opsbook.response.standard import standard_pages

_PLACES = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")


@dataclass(frozen=True, slots=True)
class Found:
    """A page with its drill."""

    page: Runbook
    drill: Drill
    standard: bool


def names(drills: Mapping[str, Drill]) -> tuple[str, ...]:
    """Every page that can be tried. `drills`: the handbook's own, by their names."""
    return tuple(sorted({*(drill.head.runbook for drill in drills.values()), *standard_pages()}))


def find(name: str, book: Book | None, drills: Mapping[str, Drill]) -> Found:
    """The page `name` and its drill.

    Raises:
        NotFound: there is no such drill. HandbookError: the shipped page cannot be read.
    """
    own = next((drill for drill in drills.values() if drill.head.runbook == name), None)
    if own is not None and book is not None and name in book.runbooks:
        return Found(book.runbooks[name], own, standard=False)
    standard = standard_pages().get(name)
    if standard is None:
        hint = did_you_mean(name, names(drills)) or f"write {FOLDER}{name}.md: docs/drills.md"
        raise NotFound(f"there is no drill for {name}", hint=hint)
    page, _, problems = read_runbook(name, standard.runbook.encode())
    drill, _, more = read_drill(f"{FOLDER}{name}.md", standard.drill.encode())
    if page is None or drill is None:
        raise HandbookError((one for one in (*problems, *more) if one.severity == "error"), where=name)
    if book is not None and name in book.runbooks:
        return Found(book.runbooks[name], drill, standard=False)
    return Found(page, drill, standard=True)


def has_program(name: str) -> bool:
    """Whether the program is there, in PATH or where Debian puts those of administrators and of PostgreSQL."""
    folders = [place for pattern in _PLACES for place in sorted(glob(pattern))]  # noqa: PTH207 - patterns with a root
    own = os.path.dirname(sys.executable)  # noqa: PTH120 - not resolved: a venv links to its Python
    path = os.pathsep.join([own, os.environ.get("PATH", os.defpath), *folders])
    return shutil.which(name, path=path) is not None
