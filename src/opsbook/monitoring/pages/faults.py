"""Where an expression goes wrong: the first place after which nothing could be written that made it right. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from opsbook.errors import OpsbookError
from opsbook.promql import parse

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|`[^`]*`?"""
    r"""|[A-Za-z_:][A-Za-z0-9_:.]*|[0-9][0-9A-Za-z_.]*|==|!=|=~|!~|>=|<=|.""",
    re.DOTALL,
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_AFTER = ("", "x", "1", "x[1m]", ", x", ", 1", ", x[1m]", ', "a"', ', "a", "b", "c"', '"a"', "[1m]", "(x)", "(x[1m])",
          "(1, x)", "(1, x[1m])", " == 1", "1, x", "x, 1", "(a) x", "(a) (x)")  # fmt: skip
_IN_LABELS = ("", 'a="b"', '="b"', '"b"')
_IN_RANGE = ("", "1m", "m", ":1m", ":")
MOST_TOKENS = 300


def fault_at(text: str) -> int | None:
    """The position of the first token that does not fit; the length of the text where something is missing at its
    end; None: it parses, or it cannot be told.
    """
    if _parses(text):
        return None
    tokens = [match for match in _TOKEN.finditer(text) if not match[0].isspace() and match[0][0] != "#"]
    if not tokens or len(tokens) > MOST_TOKENS:
        return None
    for number in range(len(tokens), 0, -1):
        if _may_become(text[: tokens[number - 1].end()]):
            return tokens[number].start() if number < len(tokens) else len(text)
    return tokens[0].start()


def pointed(text: str) -> tuple[str, str, int, int] | None:
    """The line with the fault, split before it, and its line and column from 1 on; None: it cannot be told."""
    position = fault_at(text)
    if position is None:
        return None
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text[start : len(text) if end < 0 else end]
    column = position - start
    return line[:column], line[column:], text.count("\n", 0, position) + 1, column + 1


def _may_become(prefix: str) -> bool:
    return any(_parses(prefix + ending) for ending in _endings(prefix))


def _endings(prefix: str) -> Iterator[str]:
    open_ones = []
    for match in _TOKEN.finditer(prefix):
        if match[0] in _CLOSING:
            open_ones.append(match[0])
        elif match[0] in (")", "]", "}") and open_ones:
            open_ones.pop()
    closers = "".join(_CLOSING[one] for one in reversed(open_ones))
    inner = open_ones[-1] if open_ones else ""
    for more in _IN_LABELS if inner == "{" else _IN_RANGE if inner == "[" else _AFTER:
        yield f" {more}{closers}" if more and more[0].isalnum() and inner != "[" else f"{more}{closers}"
    if inner in ("[", "{"):
        # What takes a range, or two arguments, may still need what comes behind.
        for more in ("}[1m]", "}, x", "], x"):
            if more[0] == _CLOSING[inner]:
                yield f"{more}{closers[1:]}"
                if inner == "{":
                    yield f'a="b"{more}{closers[1:]}'


def _parses(text: str) -> bool:
    try:
        parse(text)
    except OpsbookError:
        return False
    return True
