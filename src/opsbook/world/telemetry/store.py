"""The hot store: the last hours of every series, in memory, within a bound.

`select` is the face for everything that computes: it gives aligned numpy arrays, one `Selection` per target.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from opsbook.promql.series import LabelKey, Labels, Matcher, Selection, key_of
from opsbook.world.telemetry.block import Block


@dataclass(frozen=True, slots=True)
class Size:
    """How much the store holds."""

    blocks: int
    series: int
    samples: int  # cells, absent ones included
    nbytes: int
    dropped_early: int  # samples given up before the retention had passed


class HotStore:
    """Blocks of samples by target. All methods are thread-safe.

    Args:
        retention: seconds that samples are kept.
        max_series: series per target; further ones are refused (and counted by who writes).
        max_bytes: of all arrays together. At the limit the targets that left are forgotten first, the oldest before
            the others; then new series are refused and the oldest samples given up early.
    """

    def __init__(
        self, *, retention: float = 7200.0, max_series: int = 10_000, max_bytes: int = 256 * 1024 * 1024
    ) -> None:
        self.lock = threading.RLock()
        self._retention = int(retention * 1000)
        self._max_series = max_series
        self._max_bytes = max_bytes
        self._blocks: dict[LabelKey, Block] = {}
        self._ended: dict[LabelKey, int] = {}  # when a target left, oldest first
        self._dropped_early = 0  # by blocks that are gone

    def block(self, target: Labels) -> Block:
        """The block of a target, made when it is new; a target that left and comes back goes on with its own."""
        key = key_of(target)
        with self.lock:
            self._ended.pop(key, None)
            block = self._blocks.get(key)
            if block is None:
                block = Block(
                    dict(target),
                    retention=self._retention,
                    max_series=self._max_series,
                    may_grow=self._may_grow,
                )
                self._blocks[key] = block
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
        """Forget the targets that left longer ago than the retention."""
        with self.lock:
            for key in [key for key, at in self._ended.items() if at < now - self._retention]:
                self._forget(key)

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> tuple[Selection, ...]:
        """Every series that all `matchers` fit, between two times in milliseconds, both included.

        Returns:
            One selection per target that has such series and samples in that stretch; markers of staleness are in
            the values, bit for bit.
        """
        name = next((matcher.value for matcher in matchers if _is_name(matcher)), None)
        others = [matcher for matcher in matchers if not _is_name(matcher)]
        found = []
        with self.lock:
            for block in self._blocks.values():
                slots = [
                    slot
                    for slot in block.slots_of(name)
                    if all(matcher.matches(block.series[slot]) for matcher in others)
                ]
                if slots:
                    window = block.window(slots, start, end)
                    if window.timestamps.size:
                        series = tuple(block.series[slot] for slot in slots)
                        found.append(Selection(block.labels, series, window))
        return tuple(found)

    def size(self) -> Size:
        """What is held now."""
        with self.lock:
            blocks = self._blocks.values()
            return Size(
                blocks=len(blocks),
                series=sum(len(block.series) for block in blocks),
                samples=sum(len(block.series) * block.length for block in blocks),
                nbytes=sum(block.nbytes for block in blocks),
                dropped_early=self._dropped_early + sum(block.dropped_early for block in blocks),
            )

    def _may_grow(self, extra: int) -> bool:
        total = sum(block.nbytes for block in self._blocks.values()) + extra
        while total > self._max_bytes and self._ended:
            total -= self._forget(next(iter(self._ended)))
        return total <= self._max_bytes

    def _forget(self, key: LabelKey) -> int:
        del self._ended[key]
        block = self._blocks.pop(key)
        self._dropped_early += block.dropped_early
        return block.nbytes


def _is_name(matcher: Matcher) -> bool:
    return matcher.label == "__name__" and matcher.operator == "="
