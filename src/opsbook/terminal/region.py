"""The part of the screen that a wait redraws in place, where there is a screen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from typing import TextIO

from opsbook.terminal.table import cut


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

    def draw(self, lines: Sequence[str]) -> None:
        """Show `lines` in place of those before; the oldest are dropped when they do not fit the screen."""
        columns, rows = self._size()
        shown = [cut(line, columns - 1) for line in lines][-(rows - 1) :]
        shown += [""] * (min(len(self._drawn), rows - 1) - len(shown))
        if shown == self._drawn:
            return
        up = f"\x1b[{len(self._drawn)}A" if self._drawn else ""
        # One write, so that a reader never sees half a picture; each line is cleared as it is overwritten.
        self._stream.write(up + "".join(f"\r{line}\x1b[K\n" for line in shown))
        self._stream.flush()
        self._drawn = shown
