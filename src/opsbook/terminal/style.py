"""Colours and symbols: green ok, red error, yellow warning, cyan hints; never colour alone.

The switches are those of https://no-color.org and https://bixense.com/clicolors/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

CODES = {"green": "32", "red": "31", "yellow": "33", "cyan": "36", "blue": "34", "dim": "2", "bold": "1"}

# What each state is called in the output, its symbol, and its colour.
SYMBOLS: Mapping[str, tuple[str, str]] = {
    "ok": ("✔", "green"),
    "failed": ("✖", "red"),
    "running": ("◌", "blue"),
    "waiting": ("◷", "yellow"),
    "paused": ("‖", "yellow"),
    "warning": ("⚠", "yellow"),
}


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether text on `stream` is coloured."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "0") not in {"", "0"}:
        return True
    return is_terminal(stream) and environ.get("TERM") != "dumb" and environ.get("CLICOLOR", "1") != "0"


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def speaks_unicode(stream: TextIO) -> bool:
    """Whether the symbols can be written to `stream` at all."""
    try:
        "✔✖◌◷‖⚠→·".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Style:
    """How one stream is written to."""

    colour: bool
    unicode: bool = True

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Style:
        return cls(colour=wants_colour(stream, environ), unicode=speaks_unicode(stream))

    def paint(self, text: str, *names: str) -> str:
        """`text` in the colours and weights of `CODES`."""
        if not self.colour or not text:
            return text
        return f"\x1b[{';'.join(CODES[name] for name in names)}m{text}\x1b[0m"

    def symbol(self, state: str) -> str:
        """The symbol of a state of `SYMBOLS`, coloured; where it cannot be shown, a letter that can."""
        sign, colour = SYMBOLS[state]
        return self.paint(sign if self.unicode else state[0].upper(), colour)

    def state(self, state: str, word: str | None = None) -> str:
        """Symbol and word: ``✔ ok``."""
        return f"{self.symbol(state)} {self.paint(word or state, SYMBOLS[state][1])}"
