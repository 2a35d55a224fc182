"""Many samples become one for each five minutes: number, sum, extremes, the last, how much a counter grew. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from opsbook.promql.series import Floats, Integers

Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The last sample of each series before the stretch that is worked on."""

    series: Keys  # ascending
    values: Floats

    def of(self, series: Keys) -> Floats:
        """The value of each of `series`; NaN where there is none."""
        if not self.series.size:
            return np.full(series.size, np.nan)
        place = np.minimum(np.searchsorted(self.series, series), self.series.size - 1)
        return np.where(self.series[place] == series, self.values[place], np.nan)


def downsample(
    series: Keys, ts: Integers, value: Floats, *, every: int, baseline: Baseline
) -> dict[str, npt.NDArray[np.generic]]:
    """One row for each series and stretch that has samples.

    Args:
        series: keys, in order.
        ts: milliseconds, ascending within a series.
        value: without markers.
        every: milliseconds of a stretch; stretches end at multiples of it, and their end belongs to them.
        baseline: what the series were before.

    Returns:
        Columns: series, ts (the end of the stretch), n, total, least, most, last, latest (when that was), grown.
    """
    usable = ~np.isnan(value)
    series, ts, value = series[usable], ts[usable], value[usable]
    ends = -(-ts // every) * every
    if not series.size:
        names = ("series", "ts", "n", "total", "least", "most", "last", "latest", "grown")
        kinds = {"series": np.uint64, "ts": np.int64, "n": np.int64, "latest": np.int64}
        return {name: np.empty(0, kinds.get(name, np.float64)) for name in names}
    new_series = np.append(True, series[1:] != series[:-1])
    firsts = np.flatnonzero(new_series | np.append(True, ends[1:] != ends[:-1]))
    lasts = np.append(firsts[1:], series.size) - 1
    before = np.append(np.nan, value[:-1])
    before[new_series] = baseline.of(series[new_series])
    # A counter that falls was reset and counts from 0; one that was never seen before has not grown.
    with np.errstate(invalid="ignore"):
        grown = np.where(value >= before, value - before, value)
    grown[~np.isfinite(grown) | np.isnan(before)] = 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        return {
            "series": series[firsts],
            "ts": ends[firsts],
            "n": lasts - firsts + 1,
            "total": np.add.reduceat(value, firsts),
            "least": np.minimum.reduceat(value, firsts),
            "most": np.maximum.reduceat(value, firsts),
            "last": value[lasts],
            "latest": ts[lasts],
            "grown": np.add.reduceat(grown, firsts),
        }
