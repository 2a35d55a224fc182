"""Log lines that differ only in their numbers and names, found to be one pattern. Pure.

The method is Drain's (He et al., ICWS 2017): lines of equal length in words, routed by their first words, join the
pattern that they resemble most; words that differ become `<*>`. drain3, its implementation, has had no release since
2022 and pins old versions of what it stands on, so the hundred lines that are needed of it are here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

ANY = "<*>"
SIMILAR = 0.5  # share of equal words, as Drain's authors chose
ROUTED_BY = 2  # words at the beginning
MOST_WORDS = 60
MOST_PATTERNS = 500
LONGEST = 1000  # characters of a line that are looked at

_VARIABLE = re.compile(
    r"(?P<uuid>\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b)"
    r"|(?P<time>\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)"
    r"|(?P<ip>\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b)"
    r"|(?P<hex>\b(?:0x[0-9a-fA-F]+|(?=[0-9a-f]*\d)[0-9a-f]{8,})\b)"
    r"|(?P<number>(?<![A-Za-z_])\d+(?:\.\d+)?)"
)


@dataclass(slots=True)
class Pattern:
    """Lines of one kind.

    Args:
        words: `<*>` where they differ.
        sample: the newest of them, as it was written.
        first, last: when the oldest and the newest were written.
    """

    words: list[str]
    sample: str
    first: float
    last: float
    count: int = 0

    @property
    def text(self) -> str:
        return " ".join(self.words)


@dataclass(slots=True)
class Patterns:
    """Sorts lines. What comes beyond `MOST_PATTERNS` is counted as `others`."""

    found: list[Pattern] = field(default_factory=list)
    others: int = 0
    _routes: dict[tuple[int, tuple[str, ...]], list[Pattern]] = field(default_factory=dict)

    def add(self, line: str, at: float) -> Pattern | None:
        """The pattern that `line`, written at `at`, belongs to; None: it is empty, or there are too many already."""
        words = words_of(line)
        if not words:
            return None
        near = self._routes.setdefault(_route(words), [])
        pattern = _most_alike(near, words)
        if pattern is None:
            if len(self.found) >= MOST_PATTERNS:
                self.others += 1
                return None
            pattern = Pattern(list(words), line, at, at)
            near.append(pattern)
            self.found.append(pattern)
        pattern.words = [a if a == b else ANY for a, b in zip(pattern.words, words, strict=True)]
        pattern.count += 1
        if at >= pattern.last:
            pattern.last, pattern.sample = at, line
        pattern.first = min(pattern.first, at)
        return pattern

    def like(self, pattern: Pattern) -> Pattern | None:
        """The pattern here that is the same kind of line, if there is one."""
        return _most_alike(self._routes.get(_route(pattern.words), ()), pattern.words)


def sorted_into(lines: Iterable[tuple[str, float]]) -> Patterns:
    """The patterns of lines and their times."""
    patterns = Patterns()
    for line, at in lines:
        patterns.add(line, at)
    return patterns


def words_of(line: str) -> list[str]:
    """The words of a line, with what is different each time taken out."""
    masked = _VARIABLE.sub(lambda match: f"<{match.lastgroup}>", line[:LONGEST])
    return masked.split()[:MOST_WORDS]


def _route(words: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    return len(words), tuple(ANY if "<" in word else word for word in words[:ROUTED_BY])


def _most_alike(patterns: Iterable[Pattern], words: Sequence[str]) -> Pattern | None:
    best, most = None, SIMILAR
    for pattern in patterns:
        equal = sum(a in (b, ANY) for a, b in zip(pattern.words, words, strict=True))
        share = equal / max(1, len(words))
        if share >= most:
            best, most = pattern, share
    return best
