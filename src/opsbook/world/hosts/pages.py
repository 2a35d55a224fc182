"""Pages of the handbook that opsbook writes: as commits where the handbook is in git, as files where it is not."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from opsbook.errors import Conflict, Failed, Invalid
from opsbook.world.hosts import git
from opsbook.world.hosts.files import atomic_write, private_folder
from opsbook.world.hosts.git_branches import commit_to_branch

LARGEST = 4 * 1024 * 1024  # bytes; nothing that people wrote is larger


class FolderPages:
    """Reads and writes files of a handbook; paths are relative to its folder, with ``/``.

    Args:
        folder: the handbook's.
        patches: where proposals are kept when there is no git. Made when it is needed, private.
        use_git: False: the handbook is read from its working tree, so that is where it is written too.
    """

    def __init__(self, folder: Path, patches: Path, *, use_git: bool = True) -> None:
        self._folder = folder
        self._patches = patches
        self._use_git = use_git

    def read(self, path: str) -> str | None:
        """The text as it lies in the folder now, also when it is not committed, with ``\\n`` at the ends of lines; None
        when there is none.

        Raises:
            Failed: it cannot be read, or is no UTF-8.
        """
        text = self._raw(path)
        return None if text is None else text.replace("\r\n", "\n")

    def _raw(self, path: str) -> str | None:
        target = self._inside(path)
        try:
            if target.stat().st_size > LARGEST:
                raise Failed("the file is too large to be a page", where=path)
            return target.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise Failed(f"cannot be read: {error}", where=path) from error

    def names(self, folder: str) -> tuple[str, ...]:
        """The files directly in a folder of the handbook, as paths, sorted."""
        inside = self._inside(folder)
        if not inside.is_dir():
            return ()
        return tuple(sorted(f"{folder}/{one.name}" for one in inside.iterdir() if one.is_file()))

    def write(self, files: Mapping[str, str], message: str, actor: str) -> str:
        """Write the files, in one commit of nothing else where the handbook is in git; line ends stay what they were.

        Returns:
            The commit; empty without git.

        Raises:
            Conflict: one of the files has changes that are not committed, or a merge is under way.
            Failed: it could not be written; what was there is there.
        """
        repository = self._repository()
        files = {path: self._with_its_line_ends(path, text) for path, text in files.items()}
        if repository is not None:
            inside = {self._in_repository(repository, path): text for path, text in files.items()}
            return git.commit_files(repository, inside, message, _author(actor))
        for path, text in files.items():
            target = self._inside(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
            if not target.exists() or target.read_bytes() != text.encode():
                atomic_write(target, text, mode=mode)
        return ""

    def propose(self, name: str, files: Mapping[str, str], message: str, actor: str) -> tuple[str, str]:
        """Put a change up for people to take: a branch on top of HEAD, or without git a patch.

        Args:
            name: of the branch. What the same actor put there before is replaced.

        Returns:
            The commit (empty without git), and where it is: ``lesson/inc-7``, or the patch's path.

        Raises:
            Conflict: somebody has worked on the branch.
        """
        repository = self._repository()
        if repository is not None:
            inside = {self._in_repository(repository, path): text for path, text in files.items()}
            return commit_to_branch(repository, name, inside, message, _author(actor)), name
        target = private_folder(self._patches) / f"{PurePosixPath(name).name}.patch"
        atomic_write(target, self.patch(files), mode=0o600)
        return "", str(target)

    def patch(self, files: Mapping[str, str]) -> str:
        """What would change, as a patch for ``git apply`` or ``patch -p1`` in the handbook's folder."""
        parts = [difference(path, self._raw(path), text) for path, text in sorted(files.items())]
        return "".join(parts)

    def _with_its_line_ends(self, path: str, text: str) -> str:
        before = self._raw(path) or ""
        return text.replace("\r\n", "\n").replace("\n", "\r\n") if "\r\n" in before else text

    def _repository(self) -> Path | None:
        """The working tree that the handbook is committed in, at all."""
        top = git.repository_of(self._folder) if self._use_git else None
        if top is None:
            return None
        cover = self._in_repository(top, "opsbook.yaml")
        return top if git.attempt(top, "cat-file", "-e", f"HEAD:{cover}").code == 0 else None

    def _in_repository(self, repository: Path, path: str) -> str:
        return self._inside(path).relative_to(repository.resolve()).as_posix()

    def _inside(self, path: str) -> Path:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\0" in path:
            raise Invalid(f"the path {path} leaves the handbook")
        folder = self._folder.resolve()
        target = folder / path
        # A link would lead the writing somewhere that is not the handbook.
        if not target.resolve().is_relative_to(folder) or target.is_symlink():
            raise Conflict("a link leads out of the handbook's folder", where=path)
        return target


def difference(path: str, before: str | None, after: str) -> str:
    """A unified diff of one file; empty when nothing changes."""
    old, new = (before or "").splitlines(keepends=True), after.splitlines(keepends=True)
    name = "/dev/null" if before is None else f"a/{path}"
    lines = difflib.unified_diff(old, new, name, f"b/{path}")
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _author(actor: str) -> str:
    name = "".join(one for one in actor if one.isprintable() and one not in "<>") or "opsbook"
    address = "".join(one if one.isalnum() or one in "._-" else "-" for one in name)
    return f"{name} <{address}@opsbook>"
