"""What targets say of their metrics: kind, meaning, unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

_MOST = 20_000  # metrics
_OPINIONS = 4  # of one metric


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a target says of a metric."""

    kind: str = "unknown"  # counter, gauge, histogram, summary, unknown, ...
    help: str = ""
    unit: str = ""


class MetadataStore:
    """By metric, the different things that are said. Written under the store's lock, read by any."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Metadata, ...]] = {}

    def of(self, metric: str | None) -> Mapping[str, tuple[Metadata, ...]]:
        """Of one metric, or of all."""
        if metric is None:
            return dict(self._known)
        return {metric: self._known[metric]} if metric in self._known else {}

    def add(self, metric: str, said: Metadata) -> None:
        """Somebody says this of a metric."""
        known = self._known.get(metric, ())
        if said not in known and len(known) < _OPINIONS and (known or len(self._known) < _MOST):
            self._known[metric] = (*known, said)

    def read(self, comments: list[bytes]) -> None:
        """Take what the comments of a scrape say, such as ``# TYPE requests_total counter``."""
        said: dict[str, Metadata] = {}
        for comment in comments:
            words = comment.decode("utf-8", "replace").split(None, 3)
            if len(words) < 3 or words[0] != "#" or words[1] not in ("TYPE", "HELP", "UNIT"):
                continue
            before = said.get(words[2], Metadata())
            text = words[3].strip() if len(words) > 3 else ""
            if words[1] == "TYPE":
                said[words[2]] = replace(before, kind=text or "unknown")
            elif words[1] == "HELP":
                said[words[2]] = replace(before, help=text.replace("\\n", "\n").replace("\\\\", "\\")[:1000])
            else:
                said[words[2]] = replace(before, unit=text)
        for metric, metadata in said.items():
            self.add(metric, metadata)
