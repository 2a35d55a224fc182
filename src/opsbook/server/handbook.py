"""The handbook as the server has it: read at a commit where it is in git, kept at the last good state, written back."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsbook.book import Book, BookKeeper, Files, FolderFiles, plan_version_change
from opsbook.errors import OpsbookError
from opsbook.journal import Journal
from opsbook.world.hosts import git
from opsbook.world.hosts.files import atomic_write
from opsbook.world.words import Clock

WORKING_TREE_VARIABLE = "OPSBOOK_WORKING_TREE"
"""Set to 1: read the files as they lie there, even when they are in git and differ from the last commit."""


class Handbook:
    """Reads, keeps and writes the book."""

    def __init__(
        self, folder: Path, journal: Journal, clock: Clock, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.folder = folder
        self._journal = journal
        self._clock = clock
        top = git.repository_of(folder)
        self._repository = None if environ.get(WORKING_TREE_VARIABLE) == "1" else top
        self._keeper = BookKeeper(self._files)
        self._told = ""
        self._looking = threading.Lock()
        self._seen: object = None

    def current(self) -> Book:
        """The last good book."""
        return self._keeper.current()

    def fresh(self) -> Book:
        """The last good book, after another look at the files if they have changed: for whoever acts on it."""
        with self._looking:
            stamp = self._stamp()
            if stamp != self._seen:
                self.refresh()
                self._seen = stamp
        return self.current()

    def refresh(self) -> None:
        """Read again; what changed, or is wrong now, is journaled once."""
        change = self._keeper.refresh()
        if change is not None and change.before is not None:
            self._journal.append(
                "book.changed",
                "handbook",
                {
                    "digest": change.after.digest,
                    "commit": change.after.commit,
                    "services": list(change.services),
                },
                actor="opsbook",
            )
        broken = [str(problem) for problem in self._keeper.problems if problem.severity == "error"][:10]
        if broken and "\n".join(broken) != self._told:
            self._journal.append("book.broken", "handbook", {"problems": broken}, actor="opsbook")
        self._told = "\n".join(broken)

    def keep_reading(self, stopping: threading.Event) -> None:
        """Until the end: read again whenever the files, or the commit, have changed."""
        while not stopping.wait(2.0):
            try:
                self.fresh()
            except (OpsbookError, OSError):
                continue  # somebody is moving files about; the next round looks again

    def write_version(self, environment: str, service: str, version: str, actor: str) -> None:
        """Write into the handbook which version runs, as a commit where it is in git.

        Raises:
            OpsbookError: it could not be written; the book on disk is as it was.
        """
        book = self.current()
        if not book.write_back or environment not in book.environments:
            return
        if service not in book.environments[environment].services:
            return
        if book.effective(environment, service).version == version or version.startswith("snapshot-"):
            return
        path, text = plan_version_change(self._files(), environment, service, version)
        commit = ""
        if self._repository is not None and self._tracked():
            inside = (self.folder / path).resolve().relative_to(self._repository.resolve()).as_posix()
            message = f"{environment} runs {service} {version}"
            commit = git.commit_files(self._repository, {inside: text}, message, f"{actor} <{actor}@opsbook>")
        else:
            target = self.folder / path
            atomic_write(target, text.encode(), mode=target.stat().st_mode & 0o777)
        self._journal.append(
            "book.version_written",
            f"{environment}/{service}",
            {"version": version, "file": path, "commit": commit},
            actor="opsbook",
        )
        self.refresh()

    def errors(self) -> list[str]:
        """The errors of the files as last read, in words."""
        return [str(problem) for problem in self._keeper.problems if problem.severity == "error"]

    def files(self) -> Files:
        """The files as they are read now: at the commit in force, where the handbook is in git."""
        return self._files()

    def problems(self) -> list[dict[str, Any]]:
        """Errors and warnings of the files as last read."""
        return [
            {
                "file": problem.file,
                "line": problem.line,
                "path": problem.path,
                "message": problem.message,
                "hint": problem.hint,
                "severity": problem.severity,
            }
            for problem in self._keeper.problems
        ]

    def to_json(self) -> dict[str, Any]:
        book = self.current()
        return {
            "where": str(self.folder),
            "commit": book.commit,
            "digest": book.digest,
            "problems": [problem for problem in self.problems() if problem["severity"] == "error"],
        }

    def _files(self) -> Files:
        if self._repository is not None and self._tracked():
            inside = self.folder.resolve().relative_to(self._repository.resolve()).as_posix()
            return git.GitFiles(self._repository, "HEAD", inside)
        return FolderFiles(self.folder)

    def _tracked(self) -> bool:
        """Whether the handbook is in the repository's last commit at all."""
        assert self._repository is not None
        inside = (self.folder.resolve() / "opsbook.yaml").relative_to(self._repository.resolve()).as_posix()
        found = git.attempt(self._repository, "cat-file", "-e", f"HEAD:{inside}")
        return found.code == 0

    def _stamp(self) -> object:
        """Something that differs when the files or the commit do; cheap."""
        heads = []
        if self._repository is not None:
            for name in ("HEAD", "logs/HEAD", "packed-refs"):
                path = self._repository / ".git" / name
                heads.append(path.stat().st_mtime_ns if path.exists() else 0)
        files = []
        for folder, subfolders, names in os.walk(self.folder):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            for name in names:
                status = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118 - hundreds of files every 2 s
                files.append((folder, name, status.st_mtime_ns, status.st_size))
        return heads, sorted(files)
