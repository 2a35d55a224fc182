"""What can be told of a handbook's pages without rendering them: broken links, and overdue reviews."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator
from datetime import date, timedelta
from urllib.parse import unquote

from opsbook.book.problems import Problem
from opsbook.book.quantities import DURATION, duration

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
CODE = re.compile(r"`[^`]*`")
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'][^)]*)?\)")
ELSEWHERE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//|#|/|\{")
_FIELD = re.compile(r"""(reviewed|review_every)\s*:\s*["']?([^"'#]*?)["']?\s*(?:#.*)?""")


def broken_links(file: str, text: str, paths: Collection[str]) -> Iterator[Problem]:
    """Relative links to nothing; what lies outside of the handbook is not looked at."""
    for number, line in outside_code(text):
        for link in LINK.findall(CODE.sub("", line)):
            if ELSEWHERE.match(link):
                continue
            target = posixpath.normpath(
                posixpath.join(posixpath.dirname(file), unquote(link.split("#")[0].split("?")[0]))
            )
            if target.startswith("..") or target == "." or target in paths:
                continue
            if not any(path.startswith(f"{target}/") for path in paths):
                yield Problem(file, number, "", f"the link {link} leads to no file", severity="warning")


def outside_code(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are in no fence, with their numbers from 1."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        match = _FENCE.match(line)
        if fence:
            if match and match[1].startswith(fence):
                fence = ""
        elif match:
            fence = match[1]
        else:
            yield number, line


def overdue_review(file: str, text: str, today: date, default_every: float | None) -> Iterator[Problem]:
    """Whether the page's front matter says that it should have been read again before `today`.

    `default_every` is the handbook's own rhythm in seconds, for pages that say only when they were read.
    """
    fields = {name: (number, value) for number, name, value in _front_matter(text)}
    if "reviewed" not in fields:
        return
    number, value = fields["reviewed"]
    try:
        reviewed = date.fromisoformat(value)
    except ValueError:
        yield Problem(file, number, "reviewed", "expected a date such as 2026-11-01", severity="warning")
        return
    every = default_every
    if "review_every" in fields:
        line, written = fields["review_every"]
        try:
            every = duration(written)
        except ValueError:
            yield Problem(file, line, "review_every", f"expected {DURATION}", severity="warning")
            return
    if every and (today - reviewed).total_seconds() > every:
        message = f"the page was due for review on {(reviewed + timedelta(seconds=every)).isoformat()}"
        yield Problem(file, number, "reviewed", message, "read it, correct it, write today's date", "warning")


def _front_matter(text: str) -> Iterator[tuple[int, str, str]]:
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return
    for number, line in enumerate(lines[1:], 2):
        if line.strip() in {"---", "..."}:
            return
        match = _FIELD.fullmatch(line)
        if match:
            yield number, match[1], match[2]
