"""The clock of this machine."""

from __future__ import annotations

import time


class SystemClock:
    """The two clocks of the operating system; satisfies ``world.words.Clock``."""

    def now(self) -> float:
        """Wall clock, UTC epoch seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only grow; meaningful within one process."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait at least `seconds`."""
        time.sleep(seconds)
