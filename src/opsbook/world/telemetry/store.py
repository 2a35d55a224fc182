"""The hot store: the last hours of every series, in memory, within a bound.

`select` is the face for everything that computes: it gives aligned numpy arrays, one `Selection` per target.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from opsbook.promql.series import LabelKey, Labels, Matcher, Selection, key_of
from opsbook.world.telemetry.block import Block
from opsbook.world.telemetry.choices import Choices
from opsbook.world.telemetry.metadata import MetadataStore


@dataclass(frozen=True, slots=True)
class Size:
    """How much the store holds."""

    blocks: int
    series: int
    samples: int  # cells, absent ones included
    nbytes: int
    dropped_early: int  # samples given up before the retention had passed


@dataclass(frozen=True, slots=True)
class Found:
    """What the hot store has of a stretch of time."""

    selections: tuple[Selection, ...]
    since: int  # from when on it has everything that was asked for


class HotStore:
    """Blocks of samples by target. All methods are thread-safe.

    Args:
        retention: seconds that samples are kept, while there is memory for them.
        max_series: series per target; further ones are refused (and counted by who writes).
        max_bytes: of all arrays together. At the limit the targets that left are forgotten first, the oldest before
            the others; then the oldest samples of all are given up early; then new series are refused.
    """

    def __init__(
        self, *, retention: float = 21_600.0, max_series: int = 10_000, max_bytes: int = 256 * 1024 * 1024
    ) -> None:
        self.lock = threading.RLock()
        self.max_series = max_series
        self.metadata = MetadataStore()
        self._retention = int(retention * 1000)
        self._max_bytes = max_bytes
        self._blocks: dict[LabelKey, Block] = {}
        self._ended: dict[LabelKey, int] = {}  # when a target left, oldest first
        self._passing: set[LabelKey] = set()  # blocks that nobody holds on to
        self._choices = Choices()
        self._since = 0  # from when on everything was here, except what was
        self._given_up: dict[LabelKey, tuple[Labels, int]] = {}  # before its time: labels, and until when
        self._dropped_early = 0  # by blocks that are gone
        self._nbytes = 0  # about; counted anew when it matters

    @property
    def retention(self) -> int:
        """Milliseconds that samples are kept."""
        return self._retention

    def begins(self, at: int) -> None:
        """Say that nothing from before `at` (milliseconds) is here: it lies in the history."""
        with self.lock:
            self._since = max(self._since, at)
            for block in self._blocks.values():
                block.since = max(block.since, at)

    def block(self, target: Labels, *, own: bool = True) -> Block:
        """The block of a target, made when it is new; a target that left and comes back goes on with its own.

        Args:
            own: every series has the target's labels, and who writes holds on to the block until `end`. Otherwise
                the labels are only a place to find it, it must be asked for before each use, and is forgotten when
                nothing was written to it for longer than the retention.
        """
        key = key_of(target)
        with self.lock:
            self._ended.pop(key, None)
            block = self._blocks.get(key)
            if block is None:
                block = Block(
                    dict(target),
                    common=None if own else {},
                    retention=self._retention,
                    max_series=self.max_series,
                    may_grow=self._may_grow,
                    changed=self._choices.changed,
                    since=max(self._since, self._given_up.get(key, ({}, 0))[1]),
                )
                self._blocks[key] = block
                self._nbytes += block.nbytes
                self._choices.changed()
            if own:
                self._passing.discard(key)
            else:
                self._passing.add(key)
            return block

    def end(self, target: Labels, at: int) -> None:
        """The target left: its series are marked stale, and forgotten once the retention has passed."""
        key = key_of(target)
        with self.lock:
            block = self._blocks.get(key)
            if block is not None and key not in self._ended:
                block.end(at)
                self._ended[key] = at

    def expire(self, now: int) -> None:
        """Forget what is older than the retention: samples, and targets that left or fell silent."""
        oldest = now - self._retention
        with self.lock:
            for key in [key for key, at in self._ended.items() if at < oldest]:
                self._forget(key)
            for key, block in list(self._blocks.items()):
                if key in self._passing and (block.last or 0) < oldest:
                    self._forget(key)
                else:
                    block.expire(oldest)
                    block.release()
            for key in [key for key, (_, at) in self._given_up.items() if at < oldest]:
                self._since = max(self._since, self._given_up.pop(key)[1])
            self._nbytes = sum(block.nbytes for block in self._blocks.values())

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[Selection, ...]:
        """Every series that all `matchers` fit, between two times in milliseconds, both included.

        Returns:
            One selection per target that has such series and samples in that stretch; markers of staleness are in
            the values, bit for bit.
        """
        return self.find(matchers, start, end).selections

    def find(self, matchers: Sequence[Matcher], start: int, end: int) -> Found:
        """As `select`, and from when on that is all there is."""
        with self.lock:
            since = self._known_since(matchers)
            stretches = []
            for choice in self._choices.of(tuple(matchers), self._blocks.values()):
                since = max(since, choice.block.since)
                stretches.append((choice, choice.block.stretch(choice.slots, start, end)))
        found = []
        for choice, stretch in stretches:  # unpacking takes time: without the lock
            window = stretch.window()
            if window.timestamps.size:
                found.append(Selection(choice.block.labels, choice.series, window))
        return Found(tuple(found), since)

    def series(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[tuple[Labels, ...], int]:
        """The labels of the series that have something in that stretch, and from when on that is all there is."""
        with self.lock:
            since, found = self._known_since(matchers), list[Labels]()
            for choice in self._choices.of(tuple(matchers), self._blocks.values()):
                since = max(since, choice.block.since)
                there = np.flatnonzero(choice.block.found(choice.slots, start, end))
                found += [choice.series[row] for row in there.tolist()]
        return tuple(found), since

    def since(self, target: LabelKey) -> int | None:
        """From when on everything of a target is here; None when nothing of it is."""
        with self.lock:
            block = self._blocks.get(target)
            return None if block is None else max(block.since, self._since)

    def blocks(self) -> Iterator[Block]:
        """All blocks as they are now; to be used under `lock`, one at a time."""
        with self.lock:
            return iter(list(self._blocks.values()))

    def size(self) -> Size:
        """What is held now."""
        with self.lock:
            blocks = self._blocks.values()
            return Size(
                blocks=len(blocks),
                series=sum(block.count for block in blocks),
                samples=sum(block.count * block.length for block in blocks),
                nbytes=sum(block.nbytes for block in blocks),
                dropped_early=self._dropped_early + sum(block.dropped_early for block in blocks),
            )

    def _known_since(self, matchers: Sequence[Matcher]) -> int:
        """From when on everything is here that these may fit, as far as blocks are concerned that are gone."""
        since = self._since
        for labels, at in self._given_up.values():
            if at > since and all(m.fits(labels[m.label]) for m in matchers if m.label in labels):
                since = at
        return since

    def _may_grow(self, extra: int) -> bool:
        self._nbytes += extra
        if self._nbytes <= self._max_bytes:
            return True
        self._nbytes = sum(block.nbytes for block in self._blocks.values())
        while self._nbytes + extra > self._max_bytes:
            freed = self._forget(next(iter(self._ended))) if self._ended else self._give_up()
            if not freed:
                return False
            self._nbytes -= freed
        self._nbytes += extra
        return True

    def _give_up(self) -> int:
        """The oldest chunk of all; its bytes, or 0 when there is none."""
        packed = [block for block in self._blocks.values() if block.chunks]
        if not packed:
            return 0
        return min(packed, key=lambda block: block.chunks[0].last).give_up()

    def _forget(self, key: LabelKey) -> int:
        self._ended.pop(key, None)
        self._passing.discard(key)
        block = self._blocks.pop(key)
        before = self._given_up.pop(key, ({}, 0))[1]
        self._given_up[key] = (block.common, max(before, block.since, (block.last or 0) + 1))
        self._dropped_early += block.dropped_early
        self._choices.changed()
        return block.nbytes
