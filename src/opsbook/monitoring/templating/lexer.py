"""The words of a template: text between actions, and what stands within ``{{ }}``. As Go's text/template/parse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from opsbook.monitoring.templating.model import TemplateError

LARGEST = 64 * 1024  # characters of one template

_WORDS = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<string>"(?:\\.|[^"\\\n])*")
    |(?P<raw>`[^`]*`)
    |(?P<char>'(?:\\.[^']*|[^'\\\n])')
    |(?P<number>[-+]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))
    |(?P<variable>\$\w*)
    |(?P<field>\.[^\W\d]\w*)
    |(?P<name>[^\W\d]\w*)
    |(?P<sign>:=|=|\||\(|\)|,|\.)""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Word:
    """One word of an action. `glued`: no space before it, which `.Field` behind something needs."""

    kind: str
    text: str
    glued: bool
    line: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Text (`words` None), or an action."""

    text: str
    words: tuple[Word, ...] | None
    line: int


def pieces(template: str) -> Iterator[Piece]:
    """The template's text and actions in order; trim markers have been applied and comments are left out.

    Raises:
        TemplateError: an action that is not closed, or a character that has no meaning.
    """
    if len(template) > LARGEST:
        raise TemplateError(f"the template is longer than {LARGEST} characters")
    position, trim = 0, False
    while True:
        begin = template.find("{{", position)
        text = template[position:] if begin < 0 else template[position:begin]
        trims_before = begin >= 0 and re.match(r"\{\{-[ \t\r\n]", template[begin : begin + 4]) is not None
        if trim:
            text = text.lstrip(" \t\r\n")
        if trims_before:
            text = text.rstrip(" \t\r\n")
        line = template.count("\n", 0, max(begin, position)) + 1
        if text:
            yield Piece(text, None, line)
        if begin < 0:
            return
        start = begin + (3 if trims_before else 2)
        end, trim, words = _action(template, start, line)
        if words is not None:
            yield Piece("", words, line)
        position = end


def _action(template: str, start: int, line: int) -> tuple[int, bool, tuple[Word, ...] | None]:
    """Where the action that begins at `start` ends, whether space after it is trimmed, and its words."""
    comment = re.compile(r"[ \t\r\n]*/\*").match(template, start)
    if comment is not None:
        closed = re.compile(r"\*/(?P<trim>[ \t\r\n]+-)?\}\}").search(template, comment.end())
        if closed is None:
            raise TemplateError("a comment is not closed", hint="close it with */}}", where=f"line {line}")
        return closed.end(), closed["trim"] is not None, None
    words: list[Word] = []
    position, spaced = start, True
    while True:
        if template.startswith("}}", position):
            return position + 2, False, tuple(words)
        if spaced and template.startswith("-}}", position):
            return position + 3, True, tuple(words)
        match = _WORDS.match(template, position)
        if match is None:
            found = template[position : position + 1]
            what = f"unexpected {found!r} in an action" if found else "an action is not closed"
            raise TemplateError(what, hint="close it with }}", where=f"line {line}")
        if match.lastgroup != "space":
            words.append(Word(match.lastgroup or "", match[0], not spaced, line))
        spaced = match.lastgroup == "space"
        line += match[0].count("\n")
        position = match.end()
