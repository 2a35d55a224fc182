"""Straight lines and smooth curves through the samples of a range."""

from __future__ import annotations

import numpy as np

from opsbook.promql.series import Flags, Floats
from opsbook.promql.windows import Block, Windows, gathered


def derivative(block: Block, windows: Windows) -> tuple[Floats, Flags]:
    """The slope a second of the line that fits best."""
    origin = windows.timestamps[windows.first]
    return _regressed(block, windows, origin, lambda slope, _, __: slope), windows.count > 1


def prediction(block: Block, windows: Windows, ahead: Floats) -> tuple[Floats, Flags]:
    """Where that line is `ahead` seconds (one for each step) after the step."""

    def at(slope: Floats, intercept: Floats, part: slice) -> Floats:
        return slope * ahead[part] + intercept

    return _regressed(block, windows, windows.ends, at), windows.count > 1


def _regressed(block: Block, windows: Windows, origins: object, answer: object) -> Floats:
    assert callable(answer)
    starts = np.asarray(origins)

    def compute(samples: Floats, counted: Flags, part: slice) -> Floats:
        index = np.minimum(
            windows.low[part, None] + np.arange(samples.shape[-1]), windows.timestamps.size - 1
        )
        x = np.where(counted, (windows.timestamps[index] - starts[part, None]) / 1000, 0.0)
        first = samples[..., :1]
        constant = ((samples == first) | ~counted).all(axis=-1)
        y = np.where(counted, samples - first, 0.0)  # from the first sample on: fewer digits are lost
        number = np.maximum(counted.sum(axis=-1), 1)
        mean_x, mean_y = x.sum(axis=-1) / number, y.sum(axis=-1) / number
        centred = np.where(counted, x - mean_x[..., None], 0.0)
        slope = (centred * y).sum(axis=-1) / (centred * centred).sum(axis=-1)
        endless = (np.isinf(samples) & counted).any(axis=-1)
        slope = np.where(endless, np.nan, np.where(constant, 0.0, slope))
        intercept = np.where(constant, first[..., 0], first[..., 0] + mean_y - slope * mean_x)
        result: Floats = answer(slope, intercept, part)
        return result

    return gathered(block.values, windows, compute)


def smoothed(block: Block, windows: Windows, smoothing: Floats, trending: Floats) -> tuple[Floats, Flags]:
    """Double exponential smoothing (Holt): the level at the last sample. Factors: one for each step."""

    def compute(samples: Floats, counted: Flags, part: slice) -> Floats:
        level_factor, trend_factor = smoothing[part], trending[part]
        level, before = samples[..., 0], np.zeros(samples.shape[:-1])
        trend = samples[..., min(1, samples.shape[-1] - 1)] - samples[..., 0]
        for column in range(1, samples.shape[-1]):
            here = counted[..., column]
            if column > 1:
                new_trend = trend_factor * (level - before) + (1 - trend_factor) * trend
                trend = np.where(here, new_trend, trend)
            scaled = level_factor * samples[..., column]
            new_level = scaled + (1 - level_factor) * (level + trend)
            before, level = np.where(here, level, before), np.where(here, new_level, level)
        return level

    return gathered(block.values, windows, compute), windows.count > 1
