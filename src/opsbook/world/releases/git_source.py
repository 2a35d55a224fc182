"""Sources in git: what a version means there, and its files at a commit."""

from __future__ import annotations

import difflib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from opsbook.errors import Failed, Invalid, NotFound
from opsbook.world.hosts.files import private_folder
from opsbook.world.hosts.git import attempt, git, git_failure, hide_password, resolve

_ABBREVIATION = re.compile(r"[0-9a-f]{7,40}")
_FETCH_TIMEOUT = 900.0


@dataclass(frozen=True, slots=True)
class Ref:
    """What a version means now. `moves` is True for a branch, which may mean something else tomorrow."""

    commit: str
    moves: bool


@dataclass(frozen=True, slots=True)
class CommitFacts:
    """What git says about a commit."""

    commit: str
    committed_at: float
    author: str
    message: str


class GitSource:
    """Repositories by URL or local path. Those that are far are mirrored, bare, below `mirrors`."""

    def __init__(self, mirrors: Path) -> None:
        self._mirrors = mirrors

    def resolve(self, url: str, version: str) -> Ref:
        """The commit of the tag `version` (or ``v`` + `version`), the branch, or the (abbreviated) commit.

        Raises:
            NotFound: there is none; the hint has similar names. Failed: the repository does not answer.
        """
        refs = self._refs(url)
        for name in (f"refs/tags/{version}", f"refs/tags/v{version}"):
            if name in refs:
                return Ref(refs[name], moves=False)
        if f"refs/heads/{version}" in refs:
            return Ref(refs[f"refs/heads/{version}"], moves=True)
        if _ABBREVIATION.fullmatch(version):
            commits = {commit for commit in refs.values() if commit.startswith(version)}
            if len(commits) == 1:
                return Ref(commits.pop(), moves=False)
            try:
                return Ref(resolve(self._repository(url, version), version), moves=False)
            except NotFound:
                pass
        short = [name.split("/", 2)[2] for name in refs if name.startswith(("refs/tags/", "refs/heads/"))]
        near = difflib.get_close_matches(version, short, n=3, cutoff=0.5) or sorted(short)[-3:]
        hint = (
            f"did you mean {' or '.join(near)}?" if near else "the repository has neither tags nor branches"
        )
        message = f"no tag, branch or commit {version!r} in {hide_password(url)}"
        raise NotFound(message, hint=hint, where=hide_password(url))

    def facts(self, url: str, commit: str) -> CommitFacts:
        """Who made the commit, when, and why."""
        repository = self._repository(url, commit)
        output = git(repository, "show", "-s", "--format=%H%x00%ct%x00%an <%ae>%x00%s", commit).decode(
            "utf-8", "replace"
        )
        full, committed_at, author, message = output.strip("\n").split("\0")
        return CommitFacts(full, float(committed_at), author, message)

    def export(self, url: str, commit: str, subfolder: str, target: Path, index: Path) -> None:
        """Write the files of `subfolder` at `commit` into the empty folder `target`; `index` is a name to work with.

        Raises:
            NotFound: there is no such folder at that commit. Failed: it has submodules, or git failed.
        """
        repository = self._repository(url, commit)
        tree = f"{commit}:{subfolder.strip('/')}" if subfolder.strip("/.") else commit
        listed = attempt(repository, "ls-tree", "-r", "--full-tree", tree)
        if listed.code != 0:
            message = f"there is no folder {subfolder} at commit {commit[:10]}"
            raise NotFound(message, hint="correct source.subfolder", where=hide_password(url))
        modules = [
            line.split("\t")[1]
            for line in listed.output.decode("utf-8", "replace").splitlines()
            if line.startswith("160000")
        ]
        if modules:
            message = f"submodules cannot be part of a release yet: {', '.join(modules)}"
            raise Failed(
                message,
                hint="copy them into the repository, or fetch them in `build`",
                where=hide_password(url),
            )
        git_folder = git(repository, "rev-parse", "--absolute-git-dir").decode().strip()
        env = {"GIT_DIR": git_folder, "GIT_WORK_TREE": str(target), "GIT_INDEX_FILE": str(index)}
        git(target, "read-tree", tree, env=env)
        git(
            target,
            "-c",
            "core.autocrlf=false",
            "-c",
            "core.symlinks=true",
            "checkout-index",
            "--all",
            "--force",
            env=env,
        )

    def _refs(self, url: str) -> Mapping[str, str]:
        if url.startswith("-"):
            raise Invalid(f"not the URL of a repository: {url}", where="source.git")
        finished = attempt(Path("/"), "ls-remote", "--quiet", _absolute(url))
        if finished.code != 0:
            failure = git_failure("ls-remote", finished, hide_password(url))
            raise failure
        refs: dict[str, str] = {}
        for line in finished.output.decode("utf-8", "replace").splitlines():
            commit, _, name = line.partition("\t")
            refs[name.removesuffix("^{}")] = (
                commit  # an annotated tag is followed by the commit it stands for
            )
        return refs

    def _repository(self, url: str, commit: str) -> Path:
        """A repository on this machine that has `commit` (or has everything there is)."""
        if Path(url).exists():
            return Path(url).absolute()
        mirror = self._mirrors / f"{hashlib.sha256(url.encode()).hexdigest()[:20]}.git"
        private_folder(self._mirrors)
        with _locked(self._mirrors / f"{mirror.name}.lock"):
            if not (mirror / "HEAD").exists():
                git(self._mirrors, "init", "--quiet", "--bare", mirror.name)
            if attempt(mirror, "cat-file", "-e", f"{commit}^{{commit}}").code != 0:
                # The URL may hold a password, so it is not stored in the mirror.
                git(
                    mirror, "fetch", "--quiet", "--force", "--prune", "--no-tags", "--end-of-options", url,
                    "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", timeout=_FETCH_TIMEOUT,
                )  # fmt: skip
        return mirror


def _absolute(url: str) -> str:
    return str(Path(url).absolute()) if Path(url).exists() else url


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
