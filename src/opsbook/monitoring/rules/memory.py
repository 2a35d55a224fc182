"""Series in memory, without a clock: what rules are tried out on."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from opsbook.promql.series import (
    NAME,
    STALE,
    LabelKey,
    Labels,
    Matcher,
    Selection,
    Window,
    key_of,
)  # fmt: skip


@dataclass(slots=True)
class _Kept:
    labels: Labels
    times: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)  # bits: a stale marker would not survive as a float


class MemoryStorage:
    """Keeps everything for ever; a sample at a time that is already there replaces the old one."""

    def __init__(self) -> None:
        self._series: dict[LabelKey, _Kept] = {}
        self._by_name: dict[str, list[_Kept]] = {}

    def add(self, labels: Labels, times: Sequence[int], bits: Sequence[int]) -> None:
        """Samples of one series, in the order of time. `bits`: of the values, see `bits_of`."""
        kept = self._kept(labels)
        if kept.times and times and times[0] <= kept.times[-1]:
            merged = {
                **dict(zip(kept.times, kept.values, strict=True)),
                **dict(zip(times, bits, strict=True)),
            }
            kept.times, kept.values = sorted(merged), [merged[at] for at in sorted(merged)]
        else:
            kept.times.extend(times)
            kept.values.extend(bits)

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[Selection, ...]:
        """See `opsbook.promql.Storage`: each series is a selection of its own, in the order of their first samples."""
        return tuple(
            Selection(kept.labels, (kept.labels,), window)
            for kept in self._matching(matchers)
            if (window := _window(kept, start, end)) is not None
        )

    def series(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[Labels, ...]:
        """The labels of every series that has a sample between the two times."""
        return tuple(
            kept.labels for kept in self._matching(matchers) if _window(kept, start, end) is not None
        )

    def writer(self, owner: Labels) -> MemoryWriter:
        """Writes what a rule records."""
        del owner
        return MemoryWriter(self)

    def _matching(self, matchers: Sequence[Matcher]) -> Iterator[_Kept]:
        name = next((m.value for m in matchers if m.label == NAME and m.operator == "="), None)
        every = self._series.values() if name is None else self._by_name.get(name, ())
        for kept in every:
            if all(matcher.matches(kept.labels) for matcher in matchers):
                yield kept

    def _kept(self, labels: Labels) -> _Kept:
        key = key_of(labels)
        if key not in self._series:
            self._series[key] = kept = _Kept(dict(key))
            self._by_name.setdefault(labels.get(NAME, ""), []).append(kept)
        return self._series[key]


class MemoryWriter:
    """What was written the last time and is not now becomes stale."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._last: dict[LabelKey, Labels] = {}

    def write(self, at_ms: int, samples: Iterable[tuple[Labels, float]]) -> None:
        """The samples of one evaluation."""
        now: dict[LabelKey, Labels] = {}
        for labels, value in samples:
            now[key_of(labels)] = labels
            self._storage.add(labels, [at_ms], bits_of([value]))
        for key, labels in self._last.items():
            if key not in now:
                self._storage.add(labels, [at_ms], [int(STALE)])
        self._last = now

    def end(self, at_ms: int) -> None:
        """The rule has left."""
        self.write(at_ms, ())


def bits_of(values: Sequence[float]) -> list[int]:
    """Values as they are kept."""
    found: list[int] = np.array(values, np.float64).view(np.int64).tolist()
    return found


def _window(kept: _Kept, start: int, end: int) -> Window | None:
    first, last = bisect_left(kept.times, start), bisect_right(kept.times, end)
    if first == last:
        return None
    values = np.array([kept.values[first:last]], np.int64).view(np.float64)
    times = np.array(kept.times[first:last], np.int64)
    return Window(times, values, np.ones(len(times), np.bool_))
