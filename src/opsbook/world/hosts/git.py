"""git: reading a folder at a commit, and committing a few files without touching anything else."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from opsbook.errors import Conflict, Failed, Invalid, NotFound
from opsbook.world.hosts.commands import Finished, run
from opsbook.world.hosts.files import atomic_write

_TIMEOUT = 120.0
# Set where opsbook is called from a hook of git: they would lead every command into that repository.
_OF_ANOTHER_CALL = {
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE",
}  # fmt: skip
_committing = threading.Lock()  # git refuses two at once, and both would be ours
_PASSWORD = re.compile(r"//[^/@\s]+@")
_UNFINISHED = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
}


def attempt(
    folder: Path,
    *arguments: str,
    feed: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout: float = _TIMEOUT,
) -> Finished:
    """Run ``git -C folder ARGUMENTS`` and return how it ended; never asks anybody for a password.

    Raises:
        NotFound: git is not installed.
    """
    variables = {
        **{name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_CALL},
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C.UTF-8",
        # Others (ext::) run whatever stands in the URL.
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        **(env or {}),
    }
    return run(("git", "-C", str(folder), *arguments), env=variables, feed=feed, limit=None, timeout=timeout)


def git(
    folder: Path,
    *arguments: str,
    feed: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout: float = _TIMEOUT,
) -> bytes:
    """The output of ``git -C folder ARGUMENTS``.

    Raises:
        Failed: git ended with an error; its words are in the message.
    """
    finished = attempt(folder, *arguments, feed=feed, env=env, timeout=timeout)
    if finished.timed_out:
        raise Failed(f"git {arguments[0]} took longer than {timeout:.0f} s", where=str(folder))
    if finished.code != 0:
        raise git_failure(arguments[0], finished, str(folder))
    return finished.output


def git_failure(verb: str, finished: Finished, where: str) -> Failed:
    """What git said, as an error; the last line is usually the cause."""
    words = hide_password(finished.text.strip().removeprefix("fatal: ").removeprefix("error: "))
    hint = ""
    if "dubious ownership" in words:
        hint = f"the repository belongs to another user: git config --global --add safe.directory {where}"
    elif "could not read Username" in words or "Permission denied (publickey" in words:
        hint = "give the user that runs opsbook access to the repository (an SSH key or a credential helper)"
    return Failed(f"git {verb}: {words or 'failed'}", hint=hint, where=where)


def hide_password(text: str) -> str:
    """`text` with the user and the password of URLs replaced by ``***``."""
    return _PASSWORD.sub("//***@", text)


def repository_of(folder: Path) -> Path | None:
    """The top of the working tree that `folder` lies in, or None when it is in none (or git is not
    installed).
    """
    try:
        finished = attempt(folder, "rev-parse", "--show-toplevel")
    except NotFound:
        return None
    top = finished.output.decode().strip()
    return Path(top) if finished.code == 0 and top else None


def resolve(repository: Path, ref: str) -> str:
    """The full commit that `ref` (branch, tag, commit, ``HEAD``) stands for.

    Raises:
        NotFound: there is none.
    """
    if ref.startswith("-"):
        raise Invalid(f"not a git ref: {ref}")
    finished = attempt(
        repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
    )
    if finished.code != 0:
        if "dubious ownership" in finished.text or "not a git repository" in finished.text:
            raise git_failure("rev-parse", finished, str(repository))
        raise NotFound(f"no such git ref: {ref}", where=str(repository))
    return finished.output.decode().strip().splitlines()[-1]


class GitFiles:
    """The files of a repository's folder at a commit; satisfies ``book.files.Files``. Reads lazily, once.

    Args:
        repository: the working tree or bare repository.
        commit: anything git resolves; the full commit is in `commit` afterwards.
        subfolder: the folder within the repository that paths are relative to; "" for its top.
    """

    def __init__(self, repository: Path, commit: str = "HEAD", subfolder: str = "") -> None:
        self.repository = repository
        self.commit = resolve(repository, commit)
        self.subfolder = PurePosixPath(subfolder).as_posix().strip("/") if subfolder not in ("", ".") else ""
        self.where = f"{repository / self.subfolder} at {self.commit[:10]}"
        self._blobs = self._list()
        self._content: dict[str, bytes] = {}

    def _list(self) -> dict[str, str]:
        tree = f"{self.commit}:{self.subfolder}"
        finished = attempt(self.repository, "ls-tree", "-r", "-z", "--full-tree", tree)
        if finished.code != 0:
            message = f"there is no folder {self.subfolder or '/'} at commit {self.commit[:10]}"
            raise NotFound(message, hint="commit it first", where=str(self.repository))
        blobs = {}
        for line in finished.output.split(b"\0"):
            if line:
                about, _, path = line.partition(b"\t")
                mode, kind, blob = about.split()
                if kind == b"blob" and mode != b"120000":  # a link's blob is its target, not a file's content
                    blobs[os.fsdecode(path)] = blob.decode()
        return blobs

    def paths(self) -> tuple[str, ...]:
        """Every file, relative to the subfolder, sorted. Symbolic links are left out."""
        return tuple(sorted(self._blobs))

    def read(self, path: str) -> bytes:
        """The content of one of `paths`.

        Raises:
            NotFound: there is no such file at this commit.
        """
        if path not in self._blobs:
            raise NotFound(f"there is no file {path}", where=self.where)
        if not self._content:
            self._content = self._read_all()
        return self._content[path]

    def _read_all(self) -> dict[str, bytes]:
        """One git process for all files: a handbook is read as a whole, and a process for each would be
        slow.
        """
        names = "\n".join(self._blobs.values()).encode() + b"\n"
        output = git(self.repository, "cat-file", "--batch", feed=names)
        content, position = {}, 0
        for path in self._blobs:
            end = output.index(b"\n", position)
            size = int(output[position:end].split()[2])
            content[path] = output[end + 1 : end + 1 + size]
            position = end + 1 + size + 1
        return content


def commit_files(repository: Path, files: Mapping[str, str], message: str, author: str) -> str:
    """Write `files` (path in the repository: text) and commit exactly them; what else is staged stays so.

    Args:
        author: ``Name <address>``.

    Returns:
        The new commit; the present one when the files have that content already.

    Raises:
        Conflict: one of the paths has uncommitted changes, or a merge or rebase is under way. Nothing is
        changed.
        Failed: git refused (a hook, a lock); the files are put back as they were.
    """
    with _committing:
        return _commit(repository, files, message, author)


def _commit(repository: Path, files: Mapping[str, str], message: str, author: str) -> str:
    paths = sorted(files)
    _check_committable(repository, paths)
    before = {path: _content(repository / path) for path in paths}
    changed = [path for path in paths if before[path] != files[path].encode()]
    if not changed:
        return resolve(repository, "HEAD")
    try:
        for path in changed:
            target = repository / path
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
            atomic_write(target, files[path], mode=mode)
        git(repository, "add", "--", *changed)
        git(
            repository, *_committer(repository, author), "commit", "--quiet", "--only", f"--author={author}",
            f"--message={message}", "--", *changed,
        )  # fmt: skip
    except Failed:
        _put_back(repository, {path: before[path] for path in changed})
        raise
    return resolve(repository, "HEAD")


def _check_committable(repository: Path, paths: list[str]) -> None:
    for path in paths:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise Invalid(f"the path {path} leaves the repository", where=str(repository))
    git_folder = Path(git(repository, "rev-parse", "--absolute-git-dir").decode().strip())
    for name, what in _UNFINISHED.items():
        if (git_folder / name).exists():
            raise Conflict(
                f"{what} is under way", hint="finish or abort it, then try again", where=str(repository)
            )
    dirty = git(repository, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--", *paths)
    if dirty:
        names = ", ".join(sorted({os.fsdecode(line[3:]) for line in dirty.split(b"\0") if line}))
        raise Conflict(
            f"uncommitted changes in {names}", hint="commit or undo them first", where=str(repository)
        )


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _committer(repository: Path, author: str) -> tuple[str, ...]:
    """A server's user often has no git identity; then the author is the committer too."""
    if attempt(repository, "config", "user.email").code == 0:
        return ()
    name, _, address = author.partition("<")
    return ("-c", f"user.name={name.strip() or 'opsbook'}", "-c", f"user.email={address.rstrip('>').strip()}")


def _put_back(repository: Path, before: Mapping[str, bytes | None]) -> None:
    for path, content in before.items():
        target = repository / path
        if content is None:
            target.unlink(missing_ok=True)
        else:
            atomic_write(target, content, mode=target.stat().st_mode & 0o777)
    attempt(repository, "reset", "--quiet", "--", *before)
