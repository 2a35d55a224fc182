"""Taking secret values out of text."""

from __future__ import annotations

import re
import threading

MASK = "***"
_LINE = 8  # lines of a multi-line value that are shorter (`}`) say nothing and would mask half of a log


class Masks:
    """The values to take out. Longer ones go first, so that one that holds another leaves no rest."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def add(self, value: str) -> None:
        """Mask `value` from now on; of a value of several lines (a private key) each line too."""
        values = {value, *(line for line in value.splitlines() if len(line) >= _LINE)} - {""}
        with self._lock:
            if not values <= self._values:
                self._values |= values
                longest_first = sorted(self._values, key=len, reverse=True)
                self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    @property
    def values(self) -> frozenset[str]:
        """What is masked, for whoever masks streams."""
        return frozenset(self._values)

    def mask(self, text: str) -> str:
        """`text` without the values."""
        return self._pattern.sub(MASK, text) if self._pattern else text
