"""What series did in stretches of time, of samples that no file has summed up yet; and its parts put together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from opsbook.promql.series import LabelKey, Selection, key_of
from opsbook.world.telemetry.history.downsampling import Baseline, downsample
from opsbook.world.telemetry.history.reading import Aggregates

BASELINE = 15 * 60_000  # milliseconds that a sample is a baseline for what comes after it


def aggregated(selections: Iterable[Selection], begin: int, end: int, every: int) -> list[Aggregates]:
    """Sum up samples.

    Args:
        selections: their series.
        begin: milliseconds; what is not later is only where a counter's growth starts from.
        end: stretches that end later are left out.
        every: milliseconds of a stretch; stretches end at multiples of it, and their end belongs to them.
    """
    found = []
    for selection in selections:
        for row, labels in enumerate(selection.series):
            times, values = selection.points(row)
            usable = ~np.isnan(values)
            times, values = times[usable], values[usable]
            new = times > begin
            before = values[~new][-1:]
            key = np.zeros(before.size, np.uint64)
            rows = downsample(
                np.zeros(int(new.sum()), np.uint64), times[new], values[new],
                every=every, baseline=Baseline(key, before),
            )  # fmt: skip
            whole: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.asarray(rows["ts"], np.int64) <= end
            if whole.any():
                names = ("ts", "n", "total", "least", "most", "last", "grown")
                found.append(Aggregates(labels, *(rows[name][whole] for name in names)))  # type: ignore[arg-type]
    return found


def together(earlier: Sequence[Aggregates], later: Sequence[Aggregates]) -> tuple[Aggregates, ...]:
    """One for each series, in the order of their labels; a stretch that both have a part of is one."""
    parts: dict[LabelKey, list[Aggregates]] = {}
    for each in (*earlier, *later):
        parts.setdefault(key_of(each.labels), []).append(each)
    return tuple(each[0] if len(each) == 1 else _join(each) for _, each in sorted(parts.items()))


def _join(parts: list[Aggregates]) -> Aggregates:
    times = np.concatenate([part.timestamps for part in parts])
    order = np.argsort(times, kind="stable")  # of equal times the earlier part comes first
    times = times[order]
    firsts = np.flatnonzero(np.append(True, times[1:] != times[:-1]))
    lasts = np.append(firsts[1:], times.size) - 1
    return Aggregates(
        parts[0].labels,
        times[firsts],
        np.add.reduceat(np.concatenate([part.count for part in parts])[order], firsts),
        np.add.reduceat(np.concatenate([part.sum for part in parts])[order], firsts),
        np.minimum.reduceat(np.concatenate([part.min for part in parts])[order], firsts),
        np.maximum.reduceat(np.concatenate([part.max for part in parts])[order], firsts),
        np.concatenate([part.last for part in parts])[order][lasts],
        np.add.reduceat(np.concatenate([part.grown for part in parts])[order], firsts),
    )
