"""What a version of a service stands for: written once, and then only compared."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from urllib.parse import quote

from opsbook.errors import Conflict
from opsbook.world.hosts.files import atomic_write
from opsbook.world.releases.git_source import CommitFacts
from opsbook.world.words import Clock


@dataclass(frozen=True, slots=True)
class Label:
    """The content a version was first taken from. `origin` tells apart commits of different repositories."""

    digest: str
    taken_at: float
    origin: str = ""
    commit: str = ""
    committed_at: float | None = None
    author: str = ""
    message: str = ""


class Labels:
    """``labels/SERVICE/VERSION``, one small JSON file each."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._lock = Lock()

    def get(self, service: str, version: str) -> Label | None:
        """What `version` stands for, or None when it was never taken."""
        try:
            return Label(**json.loads(self._path(service, version).read_text()))
        except FileNotFoundError:
            return None

    def make(self, digest: str, facts: CommitFacts | None, *, origin: str) -> Label:
        """A label of now."""
        if facts is None:
            return Label(digest, self._clock.now(), origin)
        return Label(
            digest, self._clock.now(), origin, facts.commit, facts.committed_at, facts.author, facts.message
        )

    def check(self, label: Label, service: str, version: str, *, moves: bool) -> Label | None:
        """The label that is there already, when it stands for the same content.

        Args:
            moves: the version is a branch, which may stand for something else each time.

        Raises:
            Conflict: it stands for other content.
        """
        known = self.get(service, version)
        if known is None or (moves and known.digest != label.digest):
            return None
        if known.digest != label.digest:
            raise self.conflict(known, service, version)
        return known

    def set(self, label: Label, service: str, version: str, *, moves: bool) -> Label:
        """Let `version` stand for `label`; of two who do this at once with other content, one gets the Conflict."""
        with self._lock:
            known = self.check(label, service, version, moves=moves)
            if known is not None and (known.commit, known.origin) == (label.commit, label.origin):
                return known
            path = self._path(service, version)
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, json.dumps(asdict(label)), mode=0o600)
            return label

    @staticmethod
    def conflict(label: Label, service: str, version: str) -> Conflict:
        """What to tell about a version that stands for other content."""
        taken = datetime.fromtimestamp(label.taken_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        which = f"commit {label.commit[:10]}" if label.commit else f"content {label.digest[:10]}"
        return Conflict(
            f'version "{version}" of {service} was taken from other content on {taken} ({which})',
            hint="choose a new version for the new content, or put the source back to what it was",
            where=f"{service} {version}",
        )

    def _path(self, service: str, version: str) -> Path:
        # A dot stays as it is when quoted, and `..` would lead out.
        return (
            self._root
            / quote(service, safe="").replace(".", "%2E")
            / quote(version, safe="").replace(".", "%2E")
        )
