"""All samples behind one face: what asks, and what writes besides the scraper, comes here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from opsbook.promql.series import (
    NAME,
    Floats,
    Integers,
    LabelKey,
    Labels,
    Matcher,
    Selection,
    is_sample,
    key_of,
)
from opsbook.world.telemetry.store import HotStore


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a target says of a metric."""

    kind: str  # counter, gauge, histogram, summary, untyped, ...
    help: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """What became of pushed samples."""

    accepted: int = 0
    refused: int = 0  # their series are too many
    out_of_order: int = 0  # older than what the series has, or the same time with another value
    too_old: int = 0  # older than what can still be placed


class Storage:
    """Every sample there is. Thread-safe.

    Args:
        hot: the last hours.
    """

    def __init__(self, hot: HotStore) -> None:
        self.hot = hot

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[Selection, ...]:
        """Every series that all `matchers` fit, between two times in milliseconds, both included.

        Returns:
            One selection or more per target that has such series; markers of staleness and absence are in the
            values, bit for bit.
        """
        return self.hot.select(matchers, start, end)

    def series(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[Labels, ...]:
        """The labels of every series that has a sample in that stretch, in the order of their labels."""
        found: dict[LabelKey, Labels] = {}
        for selection in self.select(matchers, start, end):
            present = is_sample(selection.window.values).any(axis=1)
            for row in np.flatnonzero(present):
                labels = selection.series[row]
                found[key_of(labels)] = labels
        return tuple(found[key] for key in sorted(found))

    def names(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[str, ...]:
        """The names of labels that such series have, `__name__` included, in order."""
        return tuple(sorted({name for labels in self.series(matchers, start, end) for name in labels}))

    def label_values(self, label: str, matchers: Sequence[Matcher], start: int, end: int) -> tuple[str, ...]:
        """The values that one label has in such series, in order."""
        found = {labels.get(label, "") for labels in self.series(matchers, start, end)}
        return tuple(sorted(found - {""}))

    def metadata(self, metric: str | None = None) -> Mapping[str, tuple[Metadata, ...]]:
        """What targets say of a metric, or of all of them, by name."""
        return {}

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
        accepted = refused = out_of_order = 0
        for labels, times, values in series:
            with self.hot.lock:
                block = self.hot.block(
                    {"job": "", **{k: labels[k] for k in (NAME, "job", "instance") if k in labels}}
                )
                slot = block.slot(labels)
                for at, value in zip(times.tolist(), range(len(values)), strict=True):
                    if slot is None:
                        refused += 1
                    elif block.last is not None and at <= block.last:
                        out_of_order += 1
                    else:
                        block.append(at, np.array([slot]), values[value : value + 1])
                        accepted += 1
        return Received(accepted, refused, out_of_order)


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
