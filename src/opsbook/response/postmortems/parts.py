"""The parts of a page that opsbook writes, and may write again: between two marks, the first with a digest.

    <!-- opsbook:impact 3f2a... -->
    ...
    <!-- /opsbook:impact -->

The digest is of what opsbook wrote. Where the text between the marks is another, a person has changed it, and it is
theirs from then on. What stands outside of marks is never touched, and a part that was taken out stays out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

_BEGIN = re.compile(r"<!-- opsbook:([a-z][a-z-]*) ([0-9a-f]{16}) -->\s*")


@dataclass(frozen=True, slots=True)
class Merged:
    """A page after its parts were written anew.

    Args:
        updated: the parts that say something else now. kept: those that a person has changed. gone: those that the
            page does not have (any more).
    """

    text: str
    updated: tuple[str, ...]
    kept: tuple[str, ...]
    gone: tuple[str, ...]


def marked(name: str, content: str) -> str:
    """A part between its marks."""
    content = _trimmed(content)
    return f"<!-- opsbook:{name} {digest(content)} -->\n{content}\n<!-- /opsbook:{name} -->"


def digest(content: str) -> str:
    """Sixteen hexadecimal digits; spaces at the ends of lines, which editors take away, do not count."""
    return hashlib.sha256(_trimmed(content).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def merged(page: str, fresh: Mapping[str, str]) -> Merged:
    """`page` with the `fresh` contents in those of its parts that nobody has changed."""
    lines = page.split("\n")
    found: list[str] = []
    updated: list[str] = []
    kept: list[str] = []
    out: list[str] = []
    at = 0
    while at < len(lines):
        begin = _BEGIN.fullmatch(lines[at])
        end = _end(lines, at, begin[1]) if begin else None
        if begin is None or end is None:
            out.append(lines[at])
            at += 1
            continue
        name, content = begin[1], "\n".join(lines[at + 1 : end])
        ours = digest(content) == begin[2] and name not in found
        if name in fresh and ours:
            out += marked(name, fresh[name]).split("\n")
            if digest(fresh[name]) != begin[2]:
                updated.append(name)
        else:
            out += lines[at : end + 1]
            if name in fresh:
                kept.append(name)
        found.append(name)
        at = end + 1
    gone = [name for name in fresh if name not in found]
    return Merged("\n".join(out), tuple(updated), tuple(dict.fromkeys(kept)), tuple(gone))


def edited(page: str) -> tuple[str, ...]:
    """The names of the parts that a person has changed."""
    lines = page.split("\n")
    found = []
    for at, line in enumerate(lines):
        begin = _BEGIN.fullmatch(line)
        end = _end(lines, at, begin[1]) if begin else None
        if begin and end is not None and digest("\n".join(lines[at + 1 : end])) != begin[2]:
            found.append(begin[1])
    return tuple(found)


def _end(lines: list[str], begin: int, name: str) -> int | None:
    """Where the part ends; None when its end is missing, so that nothing of the rest is taken for it."""
    for number in range(begin + 1, len(lines)):
        if lines[number].rstrip() == f"<!-- /opsbook:{name} -->":
            return number
        if _BEGIN.fullmatch(lines[number]):
            return None
    return None


def _trimmed(content: str) -> str:
    return "\n".join(line.rstrip() for line in content.strip("\n").split("\n"))
