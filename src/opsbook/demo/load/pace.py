"""When the next request is due. Pure; the caller says what time it is."""

from __future__ import annotations

_MOST_BEHIND = 1.0  # seconds of arrears that are made up for; beyond that the clients count as having left


class Pace:
    """Hands out the times at which requests are due, evenly spaced, to whichever connection is free.

    Latency is counted from these times and not from the moment of sending: a request that had to wait because
    the server stalled has waited for its user too.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._next = now

    def change(self, rate: float, now: float) -> None:
        """From now on `rate` requests a second; 0: as fast as the connections can."""
        self._rate, self._next = rate, now

    def due(self, now: float) -> float:
        """Take the next turn: the time at which to send; it lies in the past when we are behind."""
        if self._rate <= 0:
            return now
        turn = max(self._next, now - _MOST_BEHIND)
        self._next = turn + 1 / self._rate
        return turn
