"""When rules will speak again: they run after each round of scrapes, which come at regular times."""

from __future__ import annotations

from collections import deque

from opsbook.world.words import Clock

_REMEMBERED = 4  # gaps between rounds; the next one is taken to be as short as the shortest of them
_EARLY = 0.1  # the share of it by which the next round may come early


class Rounds:
    """Learns from the rounds that were. `seen` from any thread; it waits for nobody."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: float | None = None  # on the monotonic clock
        self._gaps: deque[float] = deque(maxlen=_REMEMBERED)
        self._shortest: float | None = None

    def seen(self) -> None:
        """A round is over."""
        now = self._clock.monotonic()
        if self._last is not None:
            self._gaps.append(now - self._last)
            if len(self._gaps) == _REMEMBERED:
                self._shortest = min(self._gaps)
        self._last = now

    def next_at(self, now: float) -> float | None:
        """Before which no round is over: epoch seconds, as `now`. None: it is not known."""
        if self._last is None or self._shortest is None:
            return None
        left = self._last + self._shortest * (1 - _EARLY) - self._clock.monotonic()
        return now + left if left > 0 else None
