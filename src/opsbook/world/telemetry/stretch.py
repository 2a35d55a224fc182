"""A stretch of time in the hot store, as the named metrics ask about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from opsbook.promql.series import Floats, LabelKey, Labels, Matcher, Selection, Window, is_sample, key_of
from opsbook.world.telemetry.arithmetic import increase
from opsbook.world.telemetry.store import HotStore

# Where a counter stood when the stretch began is told by the scrape before it; one that lies further back is not
# taken, because then the scrapes had ceased. Twice the longest interval.
_BASELINE = 30_000


@dataclass(frozen=True, slots=True)
class Growth:
    """How much one counter grew."""

    target: LabelKey
    labels: Labels
    total: float
    seconds: float  # over which it did, first to last scrape
    at: int  # the last scrape, milliseconds


@dataclass(frozen=True, slots=True)
class Level:
    """What one gauge says."""

    target: LabelKey
    labels: Labels
    value: float
    at: int


class Stretch:
    """The series that `matchers` fit, between `start` and `end` (milliseconds).

    Args:
        store: where they are.
        matchers: label to value.
        start: exclusive: what was counted at `start` counts not.
        end: inclusive.
    """

    def __init__(self, store: HotStore, matchers: Mapping[str, str], start: int, end: int) -> None:
        self.matchers = matchers
        self._store = store
        self._equal = [Matcher(label, "=", value) for label, value in matchers.items()]
        self._start = start
        self._end = end

    def growths(self, name: str, *, alive: bool = False, **equal: str) -> list[Growth]:
        """The growth of every counter `name` that was there at all.

        Args:
            name: of the metric.
            alive: only of targets that answered their last scrape.
            equal: further labels and their values.
        """
        found = []
        for selection in self._select(name, self._start - _BASELINE, **equal):
            window = _from_baseline(selection.window, self._start)
            if window is None or (alive and not selection.window.scraped[-1]):
                continue
            present = is_sample(window.values)
            there = np.flatnonzero(present.any(axis=0))
            if not there.size:
                continue
            # All series of the metric together: a release counts from when it was first seen, but a status code
            # that is answered for the first time is rare, not new.
            first = max(0, int(there[0]) - 1)
            seconds = float(window.timestamps[-1] - window.timestamps[first]) / 1000
            target = key_of(selection.target)
            grown = increase(window.values, window.scraped)
            for row, labels in enumerate(selection.series):
                if present[row].any():
                    at = int(window.timestamps[-1])
                    found.append(Growth(target, labels, float(grown[row]), seconds, at))
        return found

    def levels(self, name: str, **equal: str) -> list[Level]:
        """What every gauge `name` said in the last scrape of its target; of targets that answered it only."""
        found = []
        for selection in self._select(name, self._start, **equal):
            window = selection.window
            if window.scraped[-1]:
                last = window.values[:, -1]
                at, target = int(window.timestamps[-1]), key_of(selection.target)
                present = is_sample(last) & ~np.isnan(last)
                found += [
                    Level(target, labels, float(last[row]), at)
                    for row, labels in enumerate(selection.series)
                    if present[row]
                ]
        return found

    def histories(self, name: str, *, baseline: bool = False, **equal: str) -> list[tuple[Floats, int]]:
        """The samples of every series `name`, with the time of the last one; with `baseline` what it was before too."""
        found = []
        for selection in self._select(name, self._start - (_BASELINE if baseline else 0), **equal):
            for row in range(len(selection.series)):
                times, values = selection.points(row)
                if baseline:
                    first = max(0, int(np.searchsorted(times, self._start, "right")) - 1)
                    times, values = times[first:], values[first:]
                if times.size:
                    found.append((values, int(times[-1])))
        return found

    def _select(self, name: str, start: int, **equal: str) -> tuple[Selection, ...]:
        wanted = [Matcher("__name__", "=", name), *self._equal]
        wanted += [Matcher(label, "=", value) for label, value in equal.items()]
        return self._store.select(wanted, start, self._end)


def _from_baseline(window: Window, start: int) -> Window | None:
    """The successful scrapes only, from the last one not after `start` (else from the first); None if under two."""
    taken = np.flatnonzero(window.scraped)
    before = int(np.searchsorted(window.timestamps[taken], start, "right"))
    taken = taken[max(0, before - 1) :]
    if taken.size < 2:
        return None
    return Window(window.timestamps[taken], window.values[:, taken], window.scraped[taken])
