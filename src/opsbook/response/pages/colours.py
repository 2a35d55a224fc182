"""What programs write to a terminal, as a page can show it: their colours stay, their other commands go. Pure.

`static/run.js` does the same to what comes while it is written.
"""

from __future__ import annotations

import re
from typing import Final

from markupsafe import Markup, escape

_COMMAND: Final = re.compile(
    r"\x1b\[(?P<look>[0-9;]*)m"  # how what follows looks
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # moves, clears
    r"|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # titles, links
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]"
)
_OVERWRITTEN: Final = re.compile(r"^.*\r(?=[^\r\n])", re.MULTILINE)
_HUES: Final = ("", "red", "green", "yellow", "blue", "magenta", "cyan", "")


def plain(text: str) -> str:
    """As text: of a line that was written over, what was written last."""
    return _COMMAND.sub("", _last(text))


def coloured(text: str) -> Markup:
    """As HTML that can do no harm; colours are classes, for what they look like is the page's affair."""
    found: list[Markup] = []
    look = hue = ""
    at = 0
    text = _last(text)
    for command in _COMMAND.finditer(text):
        found.append(_part(text[at : command.start()], look, hue))
        at = command.end()
        if command["look"] is not None:
            look, hue = _after(command["look"], look, hue)
    found.append(_part(text[at:], look, hue))
    return Markup("").join(found)


def _last(text: str) -> str:
    if "\r" not in text:
        return text
    return _OVERWRITTEN.sub("", text.replace("\r\n", "\n")).replace("\r", "")


def _part(text: str, look: str, hue: str) -> Markup:
    classes = " ".join(one for one in (look, hue) if one)
    if not text or not classes:
        return escape(text)
    return Markup('<span class="{}">{}</span>').format(classes, text)


def _after(codes: str, look: str, hue: str) -> tuple[str, str]:
    """How it looks after such a command. Of a palette of 256 or more no colour is taken: it may not be readable."""
    numbers = [int(one or 0) for one in codes[:64].split(";")]
    while numbers:
        match numbers.pop(0):
            case 0:
                look = hue = ""
            case 1:
                look = "ansi-bold"
            case 2:
                look = "ansi-dim"
            case 22:
                look = ""
            case 39:
                hue = ""
            case 38 | 48 as which:
                del numbers[: 2 if numbers[:1] == [5] else 4]
                hue = "" if which == 38 else hue
            case number if 30 <= number <= 37 or 90 <= number <= 97:
                name = _HUES[number % 10]
                hue = f"ansi-{name}" if name else ""
    return look, hue
