"""Where a handbook's files come from: a folder here, a commit in `opsbook.world.hosts`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from opsbook.errors import Invalid, NotFound

# Never part of a handbook, and large when the handbook folder is a project's root.
SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "venv"})


class Files(Protocol):
    """The files of one handbook at one moment."""

    @property
    def where(self) -> str:
        """What a person calls the place: a folder, or a folder at a commit."""

    @property
    def commit(self) -> str:
        """The full git commit, or empty when the files are not read from one."""

    def paths(self) -> tuple[str, ...]:
        """Every file, relative posix paths, sorted. Raises OpsbookError when the place does not exist."""

    def read(self, path: str) -> bytes:
        """The content of one of `paths()`. Raises OpsbookError when it cannot be read."""


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """The files of a folder as they are now; hidden files and folders are left out."""

    folder: Path

    @property
    def where(self) -> str:
        return str(self.folder)

    @property
    def commit(self) -> str:
        return ""

    def paths(self) -> tuple[str, ...]:
        if not self.folder.is_dir():
            raise NotFound(f"no handbook folder {self.folder}", hint="opsbook init", where=str(self.folder))
        found: list[str] = []
        for folder, subfolders, files in os.walk(self.folder):
            subfolders[:] = [
                name for name in subfolders if not name.startswith(".") and name not in SKIPPED_FOLDERS
            ]
            relative = Path(folder).relative_to(self.folder)
            found += [(relative / name).as_posix() for name in files if not name.startswith(".")]
        return tuple(sorted(found))

    def read(self, path: str) -> bytes:
        try:
            return (self.folder / path).read_bytes()
        except OSError as error:
            raise Invalid(f"cannot be read: {error.strerror or error}", where=path) from error


@dataclass(frozen=True, slots=True)
class TextFiles:
    """A handbook held in memory, as `scaffold` writes it and tests bundle it."""

    files: Mapping[str, bytes]
    where: str = "memory"
    commit: str = ""

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> TextFiles:
        return cls({path: text.encode() for path, text in texts.items()})

    def paths(self) -> tuple[str, ...]:
        return tuple(sorted(self.files))

    def read(self, path: str) -> bytes:
        try:
            return self.files[path]
        except KeyError:
            raise NotFound(f"no file {path}", where=path) from None
