"""The fenced blocks of a Markdown page: where each stands, under which headings, and whether it was ever closed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt


@dataclass(frozen=True, slots=True)
class Fenced:
    """One block. Lines are counted from 1; `info` is what stands behind the opening marks."""

    info: str
    content: str
    line: int
    headings: tuple[str, ...]
    quoted: bool
    closed: bool
    markup: str = "```"


@dataclass(frozen=True, slots=True)
class Page:
    """What a page holds.

    Args:
        covered: the lines that belong to some block of code or HTML.
        prose: the first paragraph.
    """

    fences: tuple[Fenced, ...]
    covered: frozenset[int]
    title: str
    prose: str


def read_page(text: str) -> Page:
    """The blocks of a Markdown text without its front matter."""
    lines = text.split("\n")
    fences: list[Fenced] = []
    covered: set[int] = set()
    headings: list[tuple[int, str]] = []
    level = quotes = 0
    title = prose = ""
    for token in _parser().parse(text):
        match token.type:
            case "heading_open":
                level = int(token.tag[1:])
            case "heading_close":
                level = 0
            case "blockquote_open":
                quotes += 1
            case "blockquote_close":
                quotes -= 1
            case "inline" if level:
                headings = [(depth, said) for depth, said in headings if depth < level]
                headings.append((level, _plain(token.children or [])))
                title = title or headings[-1][1]
            case "inline":
                prose = prose or _plain(token.children or [])
            case "fence" | "code_block" | "html_block":
                begin, end = token.map or [0, 0]
                covered.update(range(begin + 1, end + 1))
                if token.type == "fence":
                    said = tuple(text for _, text in headings)
                    closed = _closes(lines[end - 1] if end - begin > 1 else "", token.markup)
                    fences.append(
                        Fenced(
                            token.info.strip(),
                            token.content,
                            begin + 1,
                            said,
                            quotes > 0,
                            closed,
                            token.markup,
                        )
                    )
    return Page(tuple(fences), frozenset(covered), title, prose)


def _closes(line: str, markup: str) -> bool:
    marks = re.sub(r"^[ \t>]*", "", line).rstrip()
    return len(marks) >= len(markup) and set(marks) == {markup[0]}


def _plain(children: Iterable[Any]) -> str:
    words = ("\n" if child.type in {"softbreak", "hardbreak"} else child.content for child in children)
    return " ".join("".join(words).split())


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark")
