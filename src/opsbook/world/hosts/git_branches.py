"""Commits on other branches than the one that is checked out: made of blobs and trees, no working tree is touched."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from opsbook.errors import Conflict, Invalid
from opsbook.world.hosts.git import attempt, git, resolve

_NONE = "0" * 40


def tip_of(repository: Path, branch: str) -> str:
    """The commit that a branch of this repository is at; empty when there is none."""
    finished = attempt(repository, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}")
    return finished.output.decode().strip() if finished.code == 0 else ""


def commit_to_branch(
    repository: Path, branch: str, files: Mapping[str, str], message: str, author: str
) -> str:
    """Put `branch` at a new commit on top of HEAD that has `files`; nothing that is checked out changes.

    Args:
        files: path in the repository: text.
        author: ``Name <address>``, also the committer. Where the branch's last commit is of another committer,
            somebody has worked on it, and it is left alone.

    Returns:
        The new commit; the present one when that says the same already.

    Raises:
        Conflict: somebody has worked on the branch, or it is checked out.
        Failed: git refused.
    """
    for path in files:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise Invalid(f"the path {path} leaves the repository", where=str(repository))
    git(repository, "check-ref-format", f"refs/heads/{branch}")
    head, before = resolve(repository, "HEAD"), tip_of(repository, branch)
    name, _, address = author.partition("<")
    address = address.rstrip("> ")
    if before and _committer(repository, before) != address:
        raise Conflict(
            f"somebody has worked on the branch {branch}", hint=f"git log {branch}", where=str(repository)
        )
    tree = _tree(repository, head, files)
    if before and git(repository, "rev-parse", f"{before}^{{tree}}", f"{before}^").split() == [
        tree.encode(),
        head.encode(),
    ]:
        return before
    if (
        attempt(repository, "symbolic-ref", "--quiet", "HEAD").output.decode().strip()
        == f"refs/heads/{branch}"
    ):
        raise Conflict(
            f"the branch {branch} is checked out", hint="git switch to another", where=str(repository)
        )
    who = {"NAME": name.strip() or "opsbook", "EMAIL": address}
    env = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    feed = message.encode()
    commit = git(repository, "commit-tree", tree, "-p", head, feed=feed, env=env).decode().strip()
    # The old value makes it a comparison and a swap: two opsbooks cannot both win.
    git(repository, "update-ref", "-m", "opsbook: lesson", f"refs/heads/{branch}", commit, before or _NONE)
    return commit


def _committer(repository: Path, commit: str) -> str:
    return git(repository, "log", "-1", "--format=%ce", commit).decode(errors="replace").strip()


def _tree(repository: Path, head: str, files: Mapping[str, str]) -> str:
    with tempfile.TemporaryDirectory(prefix="opsbook-index-") as folder:
        env = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git(repository, "read-tree", head, env=env)
        for path, text in files.items():
            blob = git(repository, "hash-object", "-w", "--stdin", feed=text.encode()).decode().strip()
            git(repository, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=env)
        return git(repository, "write-tree", env=env).decode().strip()
