"""When a round of scrapes is over, so that rules can run at once on what it brought."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opsbook.world.words import Clock

PATIENCE = 0.5  # seconds after which a round is over although somebody has not answered yet


class Rounds:
    """Calls `callbacks` once after each round. Used by the scraping thread; `callbacks` may be replaced by any.

    Args:
        clock: its monotonic one.
        now: milliseconds on the clock that samples are stamped with.
    """

    def __init__(self, clock: Clock, now: Callable[[], int]) -> None:
        self.callbacks: tuple[Callable[[int], None], ...] = ()
        self._clock = clock
        self._now = now
        self._under_way = False
        self._until = 0.0

    def begin(self) -> None:
        """A round begins. One that is still under way is over with that."""
        self._over()
        self._under_way, self._until = True, self._clock.monotonic() + PATIENCE

    def ends(self) -> tuple[float, ...]:
        """When to look at the latest, on the monotonic clock; nothing when no round is under way."""
        return (self._until,) if self._under_way else ()

    def look(self, busy: Iterable[bool]) -> None:
        """End the round when nobody is busy, or time is up."""
        if self._under_way and (self._clock.monotonic() >= self._until or not any(busy)):
            self._over()

    def _over(self) -> None:
        if self._under_way:
            self._under_way = False
            at = self._now()  # not when it began: every sample of the round is stamped earlier
            for callback in self.callbacks:
                callback(at)
