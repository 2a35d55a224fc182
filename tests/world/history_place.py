"""A history in a folder, for the tests of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from opsbook.promql.series import Matcher
from opsbook.world.telemetry.block import Block
from opsbook.world.telemetry.history.compaction import Retention
from opsbook.world.telemetry.history.history import History
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore

TARGET = {"job": "metrics", "instance": "web-1"}
START = 1_800_000_000_000  # a full hour
MINUTE = 60_000
KEEP = Retention()


class Place:
    """A hot store with its history, and a clock that a test moves."""

    def __init__(
        self, folder: Path, *, retention: float = 21_600.0, keep: Retention = KEEP, **options: object
    ) -> None:
        self.now = START
        self.told: list[str] = []
        self.hot = HotStore(retention=retention)
        options = {"flush": 3600.0, "warn": self.told.append, "retention": keep, **options}
        self.history = History(folder, self.hot, lambda: self.now, **options)  # type: ignore[arg-type]
        self.storage = Storage(self.hot, self.history)

    def block(self, **labels: str) -> Block:
        return self.hot.block({**TARGET, **labels})

    def write(self, at: int, *, target: str = "web-1", **values: float) -> None:
        block = self.block(instance=target)
        slots = [block.slot({"__name__": name, **block.labels}) for name in values]
        block.append(at, np.array(slots, np.int64), np.array(list(values.values()), float))

    def points(self, name: str, start: int = 0, end: int = 2**61) -> list[tuple[int, float]]:
        found = []
        for selection in self.storage.select([Matcher("__name__", "=", name)], start, end):
            for row in range(len(selection.series)):
                times, values = selection.points(row)
                found += list(zip(times.tolist(), values.tolist(), strict=True))
        return sorted(found)

    def bits(self, name: str) -> list[tuple[int, int]]:
        found = []
        for selection in self.storage.select([Matcher("__name__", "=", name)], 0, 2**61):
            times = selection.window.timestamps.tolist()
            found += list(zip(times, selection.window.values[0].view(np.int64).tolist(), strict=True))
        return sorted(found)


@contextmanager
def place(folder: Path, now: int = START, **options: object) -> Iterator[Place]:
    found = Place(folder, **options)  # type: ignore[arg-type]
    found.now = now
    found.history.start()
    try:
        yield found
    finally:
        found.history.close()
