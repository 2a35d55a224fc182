"""Dates and times of day (UTC) of times in seconds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from opsbook.promql.series import Floats

_DAY = 86_400.0


def _days(seconds: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
    whole = np.where(np.isfinite(seconds), np.floor(seconds), 0.0)
    return np.clip(whole, -1e17, 1e17).astype("datetime64[s]").astype("datetime64[D]")


def _known(seconds: Floats, values: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Floats:
    return np.where(np.isnan(seconds), np.nan, values.astype(np.float64))


def _year(seconds: Floats) -> Floats:
    return _known(seconds, _days(seconds).astype("datetime64[Y]").astype(np.int64) + 1970)


def _month(seconds: Floats) -> Floats:
    return _known(seconds, _days(seconds).astype("datetime64[M]").astype(np.int64) % 12 + 1)


def _day_of_month(seconds: Floats) -> Floats:
    days = _days(seconds)
    return _known(seconds, (days - days.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64) + 1)


def _day_of_year(seconds: Floats) -> Floats:
    days = _days(seconds)
    return _known(seconds, (days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1)


def _days_in_month(seconds: Floats) -> Floats:
    months = _days(seconds).astype("datetime64[M]")
    span = (months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")
    return _known(seconds, span.astype(np.int64))


def _day_of_week(seconds: Floats) -> Floats:
    return np.floor(seconds / _DAY + 4) % 7


def _hour(seconds: Floats) -> Floats:
    return np.floor(np.floor(seconds) % _DAY / 3600)


def _minute(seconds: Floats) -> Floats:
    return np.floor(np.floor(seconds) % 3600 / 60)


CALENDAR: dict[str, Callable[[Floats], Floats]] = {
    "year": _year,
    "month": _month,
    "day_of_month": _day_of_month,
    "day_of_year": _day_of_year,
    "days_in_month": _days_in_month,
    "day_of_week": _day_of_week,
    "hour": _hour,
    "minute": _minute,
}
