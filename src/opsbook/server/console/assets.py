"""The files that pages load, each under a name that changes with its content, so that browsers may keep them."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("static")
SENT = {".js", ".css", ".svg"}
VENDOR = ("htmx.min.js", "idiomorph-ext.min.js", "uPlot.iife.min.js", "uPlot.min.css")
"""Put into `static/vendor` by `assets/build.py`; without them pages work, and do not change by themselves."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    packed: bytes  # gzip
    kind: str
    stamp: str


class Assets:
    """All of them, read once."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._assets: dict[str, Asset] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in SENT:
                content = path.read_bytes()
                self._assets[path.relative_to(folder).as_posix()] = Asset(
                    content,
                    gzip.compress(content, 9, mtime=0),
                    _kind(path.name),
                    hashlib.sha256(content).hexdigest()[:12],
                )

    @property
    def vendored(self) -> bool:
        """Whether the libraries are there."""
        return all(f"vendor/{name}" in self._assets for name in VENDOR)

    def url(self, name: str) -> str:
        """Where pages load it from."""
        return f"/static/{self._assets[name].stamp}/{name}"

    def find(self, name: str, stamp: str) -> Asset | None:
        """The file, when it still is the one that was asked for."""
        found = self._assets.get(name)
        return found if found is not None and found.stamp == stamp else None


def _kind(name: str) -> str:
    if name.endswith(".js"):
        return "text/javascript; charset=utf-8"
    guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
