"""Foreign words in Markdown: titles, labels and notes may say anything, and must remain words.

What an alert's label says may come from whoever sends requests. In a page of the handbook it must be no heading, no
link, no HTML, no block of code that a runbook would take for a step, and no mark of the parts that opsbook rewrites.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

LONGEST = 300  # characters of one foreign text
_SPECIAL = re.compile(r"[\\`*\[\]|~$]")
_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")  # within a word it is only itself
_BEGINS = re.compile(r"^(\d{1,9})([.)])(?=\s|$)|^([-+=#>])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


class Markdown(str):
    """Text that is Markdown already: it is not escaped again."""

    __slots__ = ()


def one_line(text: str, limit: int = LONGEST) -> str:
    """`text` without line ends and without what cannot be seen, such as marks that turn the direction of writing."""
    seen = "".join(" " if unicodedata.category(one) in _INVISIBLE else one for one in text[: 4 * limit])
    words = " ".join(seen.split())
    return words if len(words) <= limit and len(text) <= 4 * limit else words[: limit - 1].rstrip() + "…"


def escaped(text: str, limit: int = LONGEST) -> Markdown:
    """`text` as words on one line, in prose or in a table's cell."""
    words = one_line(text, limit)
    words = "".join(_HTML.get(one, one) for one in words)
    words = _SPECIAL.sub(lambda found: "\\" + found[0], words)
    words = _UNDERSCORE.sub(r"\\_", words)
    # Sites make links of these by themselves.
    words = words.replace("://", "\\://").replace("www.", "www\\.").replace("WWW.", "WWW\\.")
    return Markdown(
        _BEGINS.sub(lambda found: f"{found[1]}\\{found[2]}" if found[1] else f"\\{found[3]}", words)
    )


def fenced(text: str, language: str = "") -> Markdown:
    """`text` as a block of code that nothing in it can end; `language` is one word, so that it is never a role."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    body = "".join(one for one in text if one in "\n\t" or unicodedata.category(one) not in _INVISIBLE).strip(
        "\n"
    )
    return Markdown(f"{marks}{language}\n{body}\n{marks}")


def finalized(value: Any) -> str:
    """What templates put in for a value: Markdown as it is, all else escaped."""
    if value is None:
        return ""
    return value if isinstance(value, Markdown) else escaped(str(value))
