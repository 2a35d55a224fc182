"""Columns without borders, aligned by what is seen, not by what is sent."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def width(text: str) -> int:
    """Terminal cells `text` takes."""
    plain = ESCAPE.sub("", text)
    if plain.isascii():
        return len(plain)
    return sum(_cells(character) for character in plain)


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Cf", "Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def cut(text: str, cells: int) -> str:
    """`text` on at most `cells` cells, colours intact, with an ellipsis where something is missing."""
    if width(text) <= cells:
        return text
    kept, used = [], 0
    for part in re.split(r"(\x1b\[[0-9;]*m)", text):
        if ESCAPE.fullmatch(part):
            kept.append(part)
            continue
        for character in part:
            if used + _cells(character) > cells - 1:
                return "".join(kept) + "…" + ("\x1b[0m" if ESCAPE.search(text) else "")
            kept.append(character)
            used += _cells(character)
    return "".join(kept)


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), gap: int = 2) -> list[str]:
    """`rows` as lines with aligned columns; the columns numbered in `right` are aligned right.

    The last column is never padded and never cut, so that lines can be long in a pipe.
    """
    columns = max((len(row) for row in rows), default=0)
    widths = [max((width(row[i]) for row in rows if i < len(row)), default=0) for i in range(columns)]
    lines = []
    for row in rows:
        cells = [
            " " * (widths[i] - width(cell)) + cell if i in right else cell + " " * (widths[i] - width(cell))
            for i, cell in enumerate(row)
        ]
        lines.append((" " * gap).join(cells).rstrip())
    return lines
