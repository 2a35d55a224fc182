"""Markdown's task lists, as GitHub shows them: the tasks of a page with their headings, lines and code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.token import Token

_BOX = re.compile(r"\[([ xX])\](?:\s+|$)")


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block of code; `words` are those after the language."""

    language: str
    words: tuple[str, ...]
    content: str
    line: int


@dataclass(frozen=True, slots=True)
class Task:
    """One `- [ ] text`. `code` is the code span that ends it, and then no part of `text`."""

    text: str
    ticked: bool
    line: int
    headings: tuple[str, ...] = ()  # from the page's own to the nearest
    code: str = ""
    fences: tuple[Fence, ...] = ()


@dataclass(slots=True)
class TaskList:
    """The tasks of a page in order, and the fences that belong to none of them."""

    tasks: list[Task] = field(default_factory=list)
    loose: list[Fence] = field(default_factory=list)


@dataclass(slots=True)
class _Open:
    """A list item under construction; a task once its first line has been seen."""

    task: Task | None = None
    seen: bool = False
    fences: list[Fence] = field(default_factory=list)


def read_tasks(text: str) -> TaskList:
    """Every task of a Markdown text (without front matter), and its fences."""
    # Only a handbook with a checklist pays for the parser.
    from markdown_it import MarkdownIt

    found = TaskList()
    headings: list[tuple[int, str]] = []
    items: list[_Open] = []
    order: list[_Open] = []
    level = 0
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "heading_open":
            level = int(token.tag[1:])
        elif token.type == "heading_close":
            level = 0
        elif token.type == "list_item_open":
            items.append(_Open())
            order.append(items[-1])
        elif token.type == "list_item_close":
            items.pop()
        elif token.type == "inline" and level:
            headings = [(depth, title) for depth, title in headings if depth < level]
            headings.append((level, _plain(token.children or [])))
        elif token.type == "inline" and items and not items[-1].seen:
            items[-1].seen = True
            items[-1].task = _task(token, tuple(title for _, title in headings))
        elif token.type == "fence":
            owner = next((item for item in reversed(items) if item.task is not None), None)
            (owner.fences if owner else found.loose).append(_fence(token))
    found.tasks = list(_finished(order))
    return found


def _finished(items: list[_Open]) -> Iterator[Task]:
    for item in items:
        task = item.task
        if task is not None:
            yield Task(task.text, task.ticked, task.line, task.headings, task.code, tuple(item.fences))


def _task(token: Token, headings: tuple[str, ...]) -> Task | None:
    box = _BOX.match(token.content)
    if box is None:
        return None
    children = list(token.children or [])
    code = ""
    if children and children[-1].type == "code_inline":
        code = children.pop().content.strip()
    text = _BOX.sub("", _plain(children), count=1).strip()
    return Task(text, box[1] != " ", _line(token), headings, code)


def _plain(children: list[Token]) -> str:
    """What is read aloud: text and code, without marks and links' targets."""
    words = ("\n" if child.type in {"softbreak", "hardbreak"} else child.content for child in children)
    return " ".join("".join(words).split())


def _fence(token: Token) -> Fence:
    language, *words = token.info.split() or [""]
    return Fence(language, tuple(words), token.content, _line(token))


def _line(token: Token) -> int:
    return token.map[0] + 1 if token.map else 0
