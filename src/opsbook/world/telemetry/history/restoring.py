"""After a restart: the newest samples come back into memory, so that rules that look back work at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from opsbook.promql.series import NAME, Flags, Labels, Selection, Window, is_sample, key_of
from opsbook.world.telemetry.history.catalogue import Catalogue, Entry
from opsbook.world.telemetry.history.database import Database, plain
from opsbook.world.telemetry.history.reading import arranged, with_stale
from opsbook.world.telemetry.history.shelf import Shelf
from opsbook.world.telemetry.store import HotStore

MOST_SAMPLES = 20_000_000  # taken back; about ten seconds
_AT_A_TIME = 1_000_000


def restore(hot: HotStore, catalogue: Catalogue, database: Database, raw: Shelf, now: int) -> int:
    """Fill `hot` from the files.

    Args:
        now: milliseconds; what is later, from a clock that was wrong, is not taken.

    Returns:
        From when on memory has all that the files have.

    Raises:
        Failed: the files cannot be read.
    """
    start = now - hot.retention
    if not raw.between(start, now):
        return start
    edges = _edges(database, raw, start, now)
    entries: dict[int, Entry] = {}
    # Newest first: a block takes back only what is older than what it has.
    for low, high in reversed(list(pairwise(edges))):
        found = database.read(
            "SELECT series, ts, value FROM read_parquet(?) WHERE ts >= ? AND ts < ?",
            [[str(segment.path) for segment in raw.between(low, high - 1)], low, high],
        )
        keys = plain(found["series"])
        unknown = set(np.unique(keys).tolist()) - entries.keys()
        if unknown:
            entries.update((entry.key, entry) for entry in catalogue.by_keys(unknown))
        known = np.isin(keys, np.array(sorted(entries), np.uint64))
        mine = [entries[key] for key in np.unique(keys[known]).tolist()]
        keys_of = {(entry.target, key_of(entry.labels)): entry.key for entry in mine}
        for selection in arranged(
            mine, keys[known], plain(found["ts"])[known], with_stale(found["value"])[known]
        ):
            target = key_of(selection.target)
            window = Window(selection.window.timestamps, selection.window.values, _scraped(selection))
            with hot.lock:
                block = hot.block(selection.target, own=False)
                numbers = [keys_of[target, key_of(labels)] for labels in selection.series]
                block.restore(selection.series, numbers, window)
    return min(edges[0], now)


def _edges(database: Database, raw: Shelf, start: int, end: int) -> list[int]:
    """Times between which about `_AT_A_TIME` samples lie, back to `start` or to where it becomes too many."""
    segments = raw.between(start, end)
    found = database.read(
        "SELECT file_name, num_rows FROM parquet_file_metadata(?)",
        [[str(segment.path) for segment in segments]],
    )
    rows = dict(zip(found["file_name"].tolist(), found["num_rows"].tolist(), strict=True))
    # Samples a millisecond, as if each file were filled evenly.
    density = {s: rows[str(s.path)] / (s.last - s.first + 1) for s in segments}
    edges, total, at = [end + 1], 0.0, end + 1
    step = 60_000
    inside = 0.0
    while at > start and total < MOST_SAMPLES:
        low = max(start, at - step)
        count = sum(d * max(0, min(s.last + 1, at) - max(s.first, low)) for s, d in density.items())
        if inside and inside + count > _AT_A_TIME:
            edges.append(at)
            inside = 0.0
        inside, total, at = inside + count, total + count, low
    edges.append(at)
    return edges[::-1]


def _scraped(selection: Selection) -> Flags:
    """When the target answered, as its own `up` says."""
    answered = np.ones(selection.window.timestamps.size, np.bool_)
    row = _row_of_up(selection.series)
    if row is not None:
        up = selection.window.values[row]
        answered[is_sample(up) & (up == 0)] = False
    return answered


def _row_of_up(series: Sequence[Labels]) -> int | None:
    return next((row for row, labels in enumerate(series) if labels.get(NAME) == "up"), None)
