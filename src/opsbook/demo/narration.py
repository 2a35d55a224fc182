"""What the tour says."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "cyan": "36"}


class Narrator:
    """Writes to the terminal; plain text elsewhere and where NO_COLOR is set."""

    def __init__(self) -> None:
        forced = os.environ.get("CLICOLOR_FORCE", "0") != "0"
        terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = "NO_COLOR" not in os.environ and (terminal or forced)
        self._started = time.monotonic()
        self._number = 0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    def step(self, what: str, why: str) -> None:
        """A new step of the tour: what happens and why one would want it."""
        self._number += 1
        self.line("")
        self.line(f"{self.paint(f'{self._number}. {what}.', 'bold')} {why}.")

    def command(self, words: Sequence[str]) -> None:
        """What a user would type now."""
        self.line(f"   {self.paint('$ opsbook ' + ' '.join(words), 'cyan')}")

    def output(self, line: str) -> None:
        """A line of a command's output. What only announces a line that follows is left out."""
        if line.strip() and "◌ running" not in line:
            self.line(f"     {self.paint(line, 'dim')}")

    def kept(self, promise: str) -> None:
        self.line(f"   {self.paint('✔ ok', 'green')} {promise}")

    def broken(self, promise: str, what_happened: str) -> None:
        self.line(f"   {self.paint('✖ failed', 'red')} {promise}: {what_happened}")

    def line(self, text: str) -> None:
        print(text, flush=True)

    def paint(self, text: str, colour: str) -> str:
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self._colour else text
