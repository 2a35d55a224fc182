"""Samples that come by themselves, each with its own time: remote write, OTLP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from opsbook.promql.series import Floats, Integers, LabelKey, Labels, key_of
from opsbook.world.telemetry.block import Block
from opsbook.world.telemetry.store import HotStore

_FROM = ("job", "instance")  # what was scraped together elsewhere has these in common, and its times


@dataclass(frozen=True, slots=True)
class Received:
    """What became of pushed samples."""

    accepted: int = 0
    refused: int = 0  # their series are too many
    out_of_order: int = 0  # there is another value at that time
    too_old: int = 0  # older than what can still be placed: some minutes, of a series every five seconds


class Pushes:
    """Places pushed samples among those of their origin. Thread-safe.

    Args:
        hot: where they go.
    """

    def __init__(self, hot: HotStore) -> None:
        self._hot = hot

    def receive(self, series: Iterable[tuple[Labels, Integers, Floats]]) -> Received:
        """See `Storage.receive`."""
        accepted = refused = out_of_order = too_old = 0
        blocks: dict[LabelKey, Block] = {}
        with self._hot.lock:
            for labels, times, values in series:
                origin = {"pushed": "", **{name: labels[name] for name in _FROM if name in labels}}
                key = key_of(origin)
                block = blocks.get(key)
                if block is None:
                    block = blocks[key] = self._hot.block(origin, own=False)
                slot = block.slot(labels)
                if slot is None:
                    refused += len(values)
                    continue
                for index, at in enumerate(times.tolist()):
                    placed = block.place(slot, at, values[index : index + 1])
                    accepted += placed is True
                    out_of_order += placed is False
                    too_old += placed is None
            for block in blocks.values():
                block.release()
        return Received(accepted, refused, out_of_order, too_old)
