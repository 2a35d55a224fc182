"""The store of releases: one read-only folder for each content and build, and what versions stand for.

::

    trees/KEY/files/          the snapshot; KEY is made of the content's digest and the build command
    trees/KEY/sealed.json     written last, by one rename: without it the tree is not there, whatever lies in it
    labels/SERVICE/VERSION    what a version stood for when it was first taken
    staging/                  copies under way; mirrors/ of repositories; locks/

A build runs in the very folder it will be used in, because what many of them write (virtual environments)
holds its path.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from opsbook.errors import Invalid
from opsbook.world.hosts import processes
from opsbook.world.hosts.files import atomic_write, file_failure, private_folder, remove_tree, require_space
from opsbook.world.releases import tree
from opsbook.world.releases.build import build, end_build
from opsbook.world.releases.git_source import CommitFacts, GitSource
from opsbook.world.releases.labels import Label, Labels
from opsbook.world.words import Clock, Snapshot, SourceRef

_SPARE = 32 * 1024 * 1024  # bytes that stay free beside a copy
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a version means now, as far as it is known without copying."""

    identity: str  # a commit, or a digest
    moves: bool = False
    facts: CommitFacts | None = None


class FolderReleases:
    """Satisfies `world.words.Releases`; safe to use from several threads and processes.

    Args:
        root: ``<state>/releases``.
        clock: dates the labels.
    """

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = private_folder(root, 0o711)
        # Services of other users must be able to enter, nobody needs to look around.
        self._trees = private_folder(root / "trees", 0o711)
        self._staging = private_folder(root / "staging")
        self._locks = private_folder(root / "locks")
        self._labels = Labels(private_folder(root / "labels"), clock)
        self._git = GitSource(root / "mirrors")
        self._digests = tree.Digests()

    def resolve(self, source: SourceRef, service: str, version: str) -> str:
        """What `version` means now: a commit for git, a digest for a path or for no source at all.

        Raises:
            NotFound: no such ref or folder. Conflict: the version stands for other content already.
        """
        meaning = self._meaning(source, version)
        label = self._labels.get(service, version)
        same_origin = label is not None and label.origin == _origin(source)
        if label and same_origin and not meaning.moves and meaning.identity != _identity(label, source):
            raise self._labels.conflict(label, service, version)
        return meaning.identity

    def snapshot(
        self, source: SourceRef, service: str, version: str, *, on_output: Tell | None = None
    ) -> Snapshot:
        """Take the snapshot, or find it: the same content with the same build is copied and built once.

        Args:
            on_output: gets the lines of the build as they come.

        Raises:
            Failed: the build failed (its last lines in ``details["log"]``) or the disk is full; nothing is left.
            Conflict: `version` stands for other content already.
        """
        meaning = self._meaning(source, version)
        label = self._labels.get(service, version)
        if label is not None and meaning.identity == _identity(label, source):
            key = _key(label.digest, source.build)
            if self._is_sealed(key):
                return self._snapshot(label, key, version)
        tell = on_output or (lambda _: None)
        try:
            with self._staged(source, meaning) as staged:
                return self._take(source, service, version, meaning, staged, tell)
        except OSError as error:
            raise file_failure(error, self._root) from error

    def collect(self, keep: Sequence[str]) -> int:
        """Remove the snapshots whose digest is not in `keep`, and what crashes left; returns bytes freed."""
        freed = 0
        for folder in self._trees.iterdir():
            with self._locked(folder.name, wait=False) as held:
                if held and self._sealed_digest(folder.name) not in keep:
                    freed += _size(folder)
                    (folder / "sealed.json").unlink(missing_ok=True)
                    end_build(folder / "building.json")
                    remove_tree(folder)
        for left in self._staging.iterdir():
            if not _owner_runs(left.name):
                freed += _size(left)
                remove_tree(left)
        return freed

    # --- what a version means ----------------------------------------------------------------------------------

    def _meaning(self, source: SourceRef, version: str) -> _Meaning:
        if not version.strip():
            raise Invalid("the version is empty", hint='write it as a string: version: "1.0"')
        if source.git is not None:
            ref = self._git.resolve(source.git, version)
            return _Meaning(ref.commit, moves=ref.moves)
        if source.path is None:
            return _Meaning(self._digests.tree(Path("/"), ()))
        return _Meaning(self._digests.tree(source.path, tree.entries(source.path)))

    # --- taking ------------------------------------------------------------------------------------------------

    @contextmanager
    def _staged(self, source: SourceRef, meaning: _Meaning) -> Iterator[Path]:
        """A copy of the source that nobody else touches; gone afterwards, unless it was moved away."""
        me = processes.identify(os.getpid())
        assert me is not None
        work = self._staging / f"{me.pid}-{me.started}-{secrets.token_hex(4)}"
        try:
            files = work / "files"
            files.mkdir(parents=True)
            origin = source.path
            if source.git is not None:
                origin = work / "export"
                origin.mkdir()
                self._git.export(source.git, meaning.identity, source.subfolder, origin, work / "index")
            if origin is not None:
                listed = tree.entries(origin)
                require_space(self._staging, sum(entry.size for entry in listed) + _SPARE)
                tree.copy(origin, listed, files)
            yield files
        finally:
            with suppress(OSError):
                remove_tree(work)

    def _take(
        self, source: SourceRef, service: str, version: str, meaning: _Meaning, staged: Path, tell: Tell
    ) -> Snapshot:
        # Of the copy, not of the source: that may have changed while it was copied.
        digest = self._digests.tree(staged, tree.entries(staged))
        facts = self._git.facts(source.git, meaning.identity) if source.git is not None else None
        label = self._labels.make(digest, facts, origin=_origin(source))
        self._labels.check(label, service, version, moves=meaning.moves)
        key = _key(digest, source.build)
        with self._locked(key, tell=tell):
            if not self._is_sealed(key):
                self._make(key, digest, staged, source.build, tell)
        kept = self._labels.set(label, service, version, moves=meaning.moves)
        return self._snapshot(kept, key, version)

    def _make(self, key: str, digest: str, staged: Path, command: tuple[str, ...], tell: Tell) -> None:
        folder = self._trees / key
        end_build(folder / "building.json")
        remove_tree(folder)
        folder.mkdir(mode=0o755)
        files = folder / "files"
        try:
            staged.rename(files)
            if command:
                build(command, files, folder / "building.json", on_output=tell)
            _close(files)
            _sync(files)
            sealed = json.dumps({"digest": digest, "build": list(command)})
            atomic_write(folder / "sealed.json", sealed)
        except BaseException:  # also of who listens to the build, and Ctrl-C
            with suppress(OSError):
                remove_tree(folder)
            raise

    def _snapshot(self, label: Label, key: str, version: str) -> Snapshot:
        return Snapshot(
            digest=label.digest,
            folder=self._trees / key / "files",
            version=version,
            commit=label.commit,
            committed_at=label.committed_at,
            author=label.author,
            message=label.message,
        )

    # --- trees -------------------------------------------------------------------------------------------------

    def _is_sealed(self, key: str) -> bool:
        return (self._trees / key / "sealed.json").exists()

    def _sealed_digest(self, key: str) -> str:
        try:
            return str(json.loads((self._trees / key / "sealed.json").read_text())["digest"])
        except FileNotFoundError:
            return ""

    @contextmanager
    def _locked(self, key: str, *, wait: bool = True, tell: Tell = lambda _: None) -> Iterator[bool]:
        """One at a time for a tree, over threads and processes; yields False when it is held and `wait` is not set."""
        descriptor = os.open(self._locks / key, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    yield False
                    return
                tell("waiting for another build of the same content")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield True
        finally:
            os.close(descriptor)


def _key(digest: str, command: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([digest, list(command)]).encode()).hexdigest()[:32]


def _origin(source: SourceRef) -> str:
    """Where a commit was looked up, hashed since a URL may hold a password; elsewhere it is other content."""
    if source.git is None:
        return ""
    return hashlib.sha256(json.dumps([source.git, source.subfolder]).encode()).hexdigest()[:16]


def _identity(label: Label, source: SourceRef) -> str:
    if source.git is None:
        return label.digest
    return label.commit if label.origin == _origin(source) else ""


def _close(folder: Path) -> None:
    """Make all of it read-only, and readable for services of every user."""
    for parent, _, files in os.walk(folder):
        for name in files:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o555 if path.stat().st_mode & 0o100 else 0o444)
        Path(parent).chmod(0o555)


def _sync(folder: Path) -> None:
    """Write the whole file system of `folder` to the disk: one call, where a call for each file takes minutes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def _size(folder: Path) -> int:
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):
                total += Path(parent, name).lstat().st_size
    return total


def _owner_runs(name: str) -> bool:
    try:
        pid, started = map(int, name.split("-")[:2])
    except ValueError:
        return False
    entry = processes.entry(pid)
    return entry is not None and not entry.ended and entry.started == started
