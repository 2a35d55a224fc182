"""The time that samples are stamped with: close to the wall clock, and never going back."""

from __future__ import annotations

import threading

from opsbook.world.words import Clock

_SLEW = 0.01  # how much slower than real time we go while the wall clock is behind us


class Timeline:
    """Milliseconds since the epoch that survive jumps of the wall clock.

    - The wall clock steps forward: so do we, and the samples show a gap.
    - It steps back: we go on by the monotonic clock, one per cent slow until the wall clock has caught up, so that
      durations between samples (and so every rate) stay right.

    Thread-safe.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._monotonic = clock.monotonic()
        self._time = clock.now()

    def now(self) -> int:
        """The present moment in milliseconds; at least what it was at the last call."""
        with self._lock:
            monotonic = self._clock.monotonic()
            elapsed = max(0.0, monotonic - self._monotonic)
            self._monotonic = monotonic
            self._time = max(self._clock.now(), self._time + elapsed * (1 - _SLEW))
            return int(self._time * 1000)

    def ahead(self) -> float:
        """Seconds by which we are ahead of the wall clock; 0 unless it was set back."""
        now = self.now() / 1000
        return max(0.0, now - self._clock.now())
