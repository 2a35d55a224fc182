"""A source folder as a list of entries with one digest, and its copy.

Left out are version control folders, ``__pycache__``, opsbook's own state, virtual environments (they hold
the path they were made at; make them with `build`) and what ``.opsbookignore`` names, in the syntax of
.gitignore. Sockets and pipes are no content. A symbolic link is kept as a link when it leads to somewhere
within the folder, and refused otherwise: it would lead to other files tomorrow, or on another machine.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pathspec import GitIgnoreSpec

from opsbook.errors import Failed, Invalid, NotFound
from opsbook.world.hosts.files import copy_file

IGNORE_FILE = ".opsbookignore"
_LEFT_OUT = {".git", ".hg", ".svn", ".jj", ".bzr", "CVS", "__pycache__", ".opsbook"}
_SETTLED = 2_000_000_000  # ns after its last change from which a file's time says whether it changed again

Kind = Literal["file", "executable", "link", "folder"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a tree, with forward slashes. Folders are entries only when they are empty."""

    path: str
    kind: Kind
    size: int = 0
    target: str = ""  # of a link


def entries(root: Path) -> tuple[Entry, ...]:
    """All that belongs to a release of `root`, sorted by path.

    Raises:
        NotFound: there is no such folder. Invalid: a link leads outside. Failed: something cannot be read.
    """
    if not root.is_dir():
        raise NotFound(
            f"the source folder {root} does not exist", hint="correct source.path", where=str(root)
        )
    try:
        found = list(_walk(root, "", _ignored(root)))
    except OSError as error:
        place = error.filename or str(root)
        raise Failed(
            f"cannot read: {error.strerror}", hint="check the permissions", where=str(place)
        ) from error
    return tuple(sorted(found, key=lambda entry: entry.path))


def _ignored(root: Path) -> GitIgnoreSpec | None:
    try:
        return GitIgnoreSpec.from_lines((root / IGNORE_FILE).read_text().splitlines())
    except FileNotFoundError:
        return None


def _walk(root: Path, folder: str, ignored: GitIgnoreSpec | None) -> Iterator[Entry]:
    empty = True
    with os.scandir(root / folder) as children:
        for child in children:
            path = posixpath.join(folder, child.name)
            is_folder = child.is_dir(follow_symlinks=False)
            if child.name in _LEFT_OUT or (ignored and ignored.match_file(f"{path}/" if is_folder else path)):
                continue
            if is_folder:
                if not Path(child.path, "pyvenv.cfg").exists():
                    empty = False
                    yield from _walk(root, path, ignored)
                continue
            mode = child.stat(follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                empty = False
                yield Entry(path, "link", target=_checked_target(root, path))
            elif stat.S_ISREG(mode):
                empty = False
                kind: Kind = "executable" if mode & 0o100 else "file"
                yield Entry(path, kind, size=child.stat(follow_symlinks=False).st_size)
            elif not (stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)):
                raise Invalid("a device cannot be part of a release", where=child.path)
    if empty and folder:
        yield Entry(folder, "folder")


def _checked_target(root: Path, path: str) -> str:
    target = str((root / path).readlink())
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if target.startswith("/") or inside == ".." or inside.startswith("../"):
        message = f"the link {path} leads outside of the source, to {target}"
        raise Invalid(
            message, hint=f"link within the source, or name it in {IGNORE_FILE}", where=str(root / path)
        )
    return target


class Digests:
    """Digests of trees. What a file's content hashes to is remembered as long as the file is not touched."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int, int], str] = {}

    def tree(self, root: Path, listed: Iterable[Entry]) -> str:
        """SHA-256 hex over kind, path and content (or target) of every entry.

        Raises:
            Failed: a file cannot be read, or went away meanwhile.
        """
        whole = hashlib.sha256()
        for entry in listed:
            content = entry.target if entry.kind == "link" else ""
            if entry.kind in ("file", "executable"):
                content = self._file(root / entry.path)
            # NUL is in no path, so no two different lists give the same bytes.
            whole.update(f"{entry.kind}\0{entry.path}\0{content}\0".encode("utf-8", "surrogateescape"))
        return whole.hexdigest()

    def _file(self, path: Path) -> str:
        try:
            status = path.stat()
            key = (str(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if key not in self._known:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _SETTLED:
                    return digest
                self._known[key] = digest
            return self._known[key]
        except OSError as error:
            raise Failed(
                f"cannot read: {error.strerror}", hint="check the permissions", where=str(path)
            ) from error


def copy(root: Path, listed: Iterable[Entry], target: Path) -> None:
    """Copy the entries into the empty folder `target`. Raises OSError, of the disk or of a file that went away."""
    for entry in listed:
        path = target / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == "folder":
            path.mkdir(exist_ok=True)
        elif entry.kind == "link":
            path.symlink_to(entry.target)
        else:
            copy_file(root / entry.path, path, 0o755 if entry.kind == "executable" else 0o644)
