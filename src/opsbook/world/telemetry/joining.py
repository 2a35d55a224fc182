"""Parts of the same series, one from files, one from memory, as one. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from opsbook.promql.series import ABSENT, LabelKey, Labels, Selection, Window, key_of


def between(selection: Selection, start: int, end: int) -> list[Selection]:
    """The part of a selection between two times, both included, when there is one."""
    window = selection.window
    low, high = np.searchsorted(window.timestamps, (start, end + 1))
    if low >= high:
        return []
    if high - low == window.timestamps.size:
        return [selection]
    part = Window(window.timestamps[low:high], window.values[:, low:high], window.scraped[low:high])
    return [Selection(selection.target, selection.series, part)]


def joined(selections: Iterable[Selection]) -> tuple[Selection, ...]:
    """One selection for each target: its parts behind one another.

    Args:
        selections: those of a target have times that do not overlap.
    """
    parts: dict[LabelKey, list[Selection]] = {}
    for selection in selections:
        parts.setdefault(key_of(selection.target), []).append(selection)
    return tuple(each[0] if len(each) == 1 else _join(each) for each in parts.values())


def _join(parts: list[Selection]) -> Selection:
    parts = sorted(parts, key=lambda part: int(part.window.timestamps[0]))
    rows: dict[LabelKey, int] = {}
    series: list[Labels] = []
    places = []
    for part in parts:
        mine = []
        for labels in part.series:
            key = key_of(labels)
            if key not in rows:
                rows[key] = len(series)
                series.append(labels)
            mine.append(rows[key])
        places.append(mine)
    width = sum(part.window.timestamps.size for part in parts)
    values = np.empty((len(series), width))
    values.view(np.int64)[:] = ABSENT
    at = 0
    for part, mine in zip(parts, places, strict=True):
        size = part.window.timestamps.size
        values[mine, at : at + size] = part.window.values
        at += size
    window = Window(
        np.concatenate([part.window.timestamps for part in parts]),
        values,
        np.concatenate([part.window.scraped for part in parts]),
    )
    return Selection(parts[0].target, tuple(series), window)
