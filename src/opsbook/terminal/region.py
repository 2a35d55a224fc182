"""The part of the screen that a wait redraws in place, where there is a screen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from typing import TextIO

from opsbook.terminal.table import cut, width


class Region:
    """Some lines that are replaced as a whole; they never get fewer, so nothing below jumps.

    Args:
        stream: a terminal that understands cursor movements.
        size: columns and rows of it, asked at each drawing because windows are resized.
    """

    def __init__(
        self, stream: TextIO, size: Callable[[], os.terminal_size] = shutil.get_terminal_size
    ) -> None:
        self._stream = stream
        self._size = size
        self._drawn: list[str] = []
        self._columns = 0

    @property
    def size(self) -> os.terminal_size:
        """Columns and rows that lines may fill, now."""
        columns, rows = self._size()
        return os.terminal_size((columns - 1, rows - 1))

    def draw(self, lines: Sequence[str]) -> None:
        """Show `lines` in place of those before; the oldest are dropped when they do not fit the screen."""
        columns, rows = self.size
        shown = [cut(line, columns) for line in lines][-rows:]
        shown += [""] * (min(len(self._drawn), rows) - len(shown))
        if shown != self._drawn or columns != self._columns:
            self._replace(shown)

    def end(self, lines: Sequence[str]) -> None:
        """Show `lines` for good; what is written next follows directly below."""
        columns, rows = self.size
        shown = [cut(line, columns) for line in lines][-rows:]
        if shown != self._drawn:
            self._replace(shown)

    def _replace(self, shown: list[str]) -> None:
        columns, rows = self.size
        # In a window made narrower, what had been drawn takes more rows: terminals wrap it anew.
        taken = sum(max(1, -(-width(line) // (columns + 1))) for line in self._drawn)
        up = f"\x1b[{min(taken, rows)}A" if taken else ""
        below = "\x1b[J" if taken > len(shown) else ""
        # One write, so that a reader never sees half a picture; each line is cleared as it is overwritten.
        self._stream.write(up + "".join(f"\r{line}\x1b[K\n" for line in shown) + below)
        self._stream.flush()
        self._drawn, self._columns = shown, columns
