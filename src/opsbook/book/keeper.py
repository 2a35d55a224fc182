"""The last good book: what runs is never steered by a file that somebody is in the middle of editing."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

from opsbook.book.files import Files
from opsbook.book.loading import load_or_problems
from opsbook.book.model import Book
from opsbook.book.problems import HandbookError, Problem
from opsbook.errors import OpsbookError


@dataclass(frozen=True, slots=True)
class Change:
    """What became different between two books.

    `placements` are the (environment, service) pairs that came, went, or have other effective values.
    """

    before: Book | None
    after: Book
    placements: tuple[tuple[str, str], ...]

    @property
    def services(self) -> tuple[str, ...]:
        """The names of the services in `placements`, sorted."""
        return tuple(sorted({service for _, service in self.placements}))


class BookKeeper:
    """Reads again when asked, and keeps the last book that had no errors.

    Args:
        read: gives the files as they are now; called at each refresh.
    """

    def __init__(self, read: Callable[[], Files]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._book: Book | None = None
        self._problems: tuple[Problem, ...] = ()
        self._fingerprint = ""

    def current(self) -> Book:
        """The last good book; reads the files when there is none yet.

        Raises:
            HandbookError: no good book was ever read.
        """
        if self._book is None:
            self.refresh()
        book = self._book
        if book is None:
            raise HandbookError(p for p in self._problems if p.severity == "error")
        return book

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Errors and warnings of the files as last read; with errors, `current` is an older book."""
        return self._problems

    def refresh(self) -> Change | None:
        """Read the files again. None when they say the same, or cannot be used (then `problems` says why)."""
        with self._lock:
            try:
                files = self._read()
                fingerprint = _fingerprint(files)
                if fingerprint == self._fingerprint:
                    return None
                book, problems = load_or_problems(files)
            except OpsbookError as error:  # the place itself is gone: the book in hand stays
                self._problems = (Problem(error.where or ".", 0, "", error.message, error.hint),)
                self._fingerprint = ""
                return None
            self._problems = problems
            self._fingerprint = fingerprint
            before = self._book
            if book is None:
                return None
            self._book = book
            same = before is not None and (before.digest, before.commit) == (book.digest, book.commit)
            return None if same else Change(before, book, changed_placements(before, book))


def changed_placements(before: Book | None, after: Book) -> tuple[tuple[str, str], ...]:
    """The (environment, service) pairs whose effective values differ, sorted."""
    old, new = (_placements(book) for book in (before, after))
    return tuple(sorted(pair for pair in old.keys() | new.keys() if old.get(pair) != new.get(pair)))


def _placements(book: Book | None) -> dict[tuple[str, str], object]:
    placed = book.placed if book else {}
    return {(env, name): service for env, services in placed.items() for name, service in services.items()}


def _fingerprint(files: Files) -> str:
    """Changes when any byte of what a book is read from does; cheap beside reading the YAML."""
    digest = hashlib.sha256(files.commit.encode())
    for path in files.paths():
        digest.update(path.encode("utf-8", "surrogateescape") + b"\0")
        if path.endswith((".yaml", ".yml", ".md")):
            digest.update(hashlib.sha256(files.read(path)).digest())
    return digest.hexdigest()
