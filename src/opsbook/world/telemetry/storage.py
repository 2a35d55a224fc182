"""All samples behind one face: what asks, and what writes besides the scraper, comes here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from opsbook.promql.series import Floats, Integers, Labels, Matcher, Selection, key_of
from opsbook.world.telemetry.aggregating import BASELINE, aggregated, together
from opsbook.world.telemetry.history.history import History
from opsbook.world.telemetry.history.reading import FIVE_MINUTES, HOUR, Aggregates
from opsbook.world.telemetry.joining import between, joined
from opsbook.world.telemetry.metadata import Metadata
from opsbook.world.telemetry.pushes import Pushes, Received
from opsbook.world.telemetry.store import HotStore

__all__ = ["Aggregates", "Metadata", "Received", "SampleWriter", "Storage"]


class Storage:
    """Every sample there is. Thread-safe.

    Args:
        hot: the last hours.
        history: what was before; None: nothing is.
    """

    def __init__(self, hot: HotStore, history: History | None = None) -> None:
        self.hot = hot
        self._history = history
        self._pushes = Pushes(hot)

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[Selection, ...]:
        """Every series that all `matchers` fit, between two times in milliseconds, both included.

        The history is asked only for what is not in memory.

        Returns:
            One selection for each target that has such series; markers of staleness and absence are in the
            values, bit for bit.

        Raises:
            Failed: the history is needed and cannot be read.
        """
        found = self.hot.find(matchers, start, end)
        if self._history is None or start >= found.since:
            return found.selections
        earlier = self._history.select(matchers, start, min(end, found.since - 1))
        kept: list[Selection] = []
        for selection in earlier:
            since = self.hot.since(key_of(selection.target))
            kept += between(selection, start, end if since is None else since - 1)
        for selection in found.selections:
            since = self.hot.since(key_of(selection.target))
            kept += between(selection, start if since is None else max(start, since), end)
        return joined(kept)

    def series(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[Labels, ...]:
        """The labels of every series that has a sample in that stretch, in the order of their labels.

        Raises:
            Failed: the history is needed and cannot be read.
        """
        hot, since = self.hot.series(matchers, start, end)
        found = {key_of(labels): labels for labels in hot}
        if self._history is not None and start < since:
            earlier = self._history.series(matchers, start, min(end, since - 1))
            found.update((key_of(labels), labels) for labels in earlier)
        return tuple(found[key] for key in sorted(found))

    def names(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[str, ...]:
        """The names of labels that such series have, `__name__` included, in order. Raises as `series`."""
        return tuple(sorted({name for labels in self.series(matchers, start, end) for name in labels}))

    def label_values(self, label: str, matchers: Sequence[Matcher], start: int, end: int) -> tuple[str, ...]:
        """The values that one label has in such series, in order. Raises as `series`."""
        found = {labels.get(label, "") for labels in self.series(matchers, start, end)}
        return tuple(sorted(found - {""}))

    def metadata(self, metric: str | None = None) -> Mapping[str, tuple[Metadata, ...]]:
        """What targets say of a metric, or of all of them, by name; each opinion once."""
        return self.hot.metadata.of(metric)

    def aggregates(
        self, matchers: Sequence[Matcher], start: int, end: int, *, hours: bool = False
    ) -> tuple[Aggregates, ...]:
        """What each series did in stretches of five minutes or of an hour: count, sum, extremes, growth.

        Args:
            matchers: which series.
            start, end: milliseconds; stretches that end after `start` and at `end` at the latest.
            hours: stretches of an hour.

        Returns:
            One for each series, in the order of their labels. The last hours are summed up from samples.

        Raises:
            Failed: the history cannot be read.
        """
        every = HOUR if hours else FIVE_MINUTES
        begin, earlier = start // every * every, list[Aggregates]()
        if self._history is not None:
            earlier, until = self._history.aggregates(matchers, start, end, hours=hours)
            begin = max(begin, until)
        if begin >= end:
            return together(earlier, ())
        return together(earlier, aggregated(self.select(matchers, begin - BASELINE, end), begin, end, every))

    def writer(self, owner: Labels) -> SampleWriter:
        """A place for series that somebody computes.

        Args:
            owner: tells it apart from all others, such as ``{"rules": "GROUP/RULE"}``; not put on the series.
        """
        return SampleWriter(self.hot, owner)

    def receive(self, series: Iterable[tuple[Labels, Integers, Floats]]) -> Received:
        """Take samples that were pushed to us.

        Args:
            series: labels (`__name__` included), times in milliseconds, and values; the marker `STALE` is kept.
        """
        return self._pushes.receive(series)


class SampleWriter:
    """Writes the series of one owner: results of a rule, of a probe.

    A series that was written the last time and is not this time is marked stale.
    """

    def __init__(self, hot: HotStore, owner: Labels) -> None:
        self._hot = hot
        self._owner = dict(owner)

    def write(self, at_ms: int, samples: Iterable[tuple[Labels, float]]) -> int:
        """Write one sample of each series.

        Args:
            at_ms: milliseconds; moved behind the owner's last samples when it is not later.
            samples: labels (`__name__` included) and values; of a series that is there twice the first counts.

        Returns:
            How many were refused, because the owner has too many series.
        """
        slots: dict[int, float] = {}
        refused = 0
        with self._hot.lock:
            block = self._hot.block(self._owner, own=False)
            for labels, value in samples:
                slot = block.slot(labels)
                if slot is None:
                    refused += 1
                else:
                    slots.setdefault(slot, value)
            taken = np.fromiter(slots, np.int64, len(slots))
            block.append(at_ms, taken, np.fromiter(slots.values(), np.float64, len(slots)))
        return refused

    def end(self, at_ms: int) -> None:
        """The owner is no more: all its series become stale."""
        self._hot.end(self._owner, at_ms)
