"""What was counted for one objective, in memory and in documents of a day each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from opsbook.book.slos import DAY, SLICE
from opsbook.monitoring.slos.counting import Stretch
from opsbook.monitoring.slos.model import Counts, Objective
from opsbook.promql.series import Floats

A_DAY = round(DAY / SLICE)


def identity(objective: Objective) -> str:
    """What tells the counts of one definition from those of another: counts of another one do not count."""
    said = (objective.indicator, objective.slice, objective.slice_target if objective.slice else None)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


class Tally:
    """Counts by stretches of five minutes.

    Args:
        horizon: seconds that are kept.
    """

    def __init__(self, objective: Objective, horizon: float, now: float) -> None:
        self.identity = identity(objective)
        self.sealed = int((now - horizon) // SLICE) - 1  # the last stretch that is not counted again
        self._base = (self.sealed + 1) // A_DAY * A_DAY
        self._days = 0
        self._good: Floats = np.empty(0)
        self._total: Floats = np.empty(0)
        self._now = now

    def put(self, found: Stretch, now: float) -> None:
        """Take counts over what is there; what is unknown now stays as it was."""
        self._reach(found.first + len(found.good))
        first = found.first - self._base
        skip = max(0, -first)
        where = slice(first + skip, first + len(found.good))
        known = ~np.isnan(found.total[skip:])
        self._good[where] = np.where(known, found.good[skip:], self._good[where])
        self._total[where] = np.where(known, found.total[skip:], self._total[where])
        self._now = now

    def between(self, start: float, end: float) -> Counts:
        """The stretches that touch this time, both ends included. Known is said in seconds."""
        first = max(0, int(start // SLICE) - self._base)
        last = int(end // SLICE) + 1 - self._base
        total = self._total[first : max(first, last)]
        known = ~np.isnan(total)
        seconds = float(np.count_nonzero(known)) * SLICE
        current = int(self._now // SLICE) - self._base
        if first <= current < min(last, len(self._total)) and not np.isnan(self._total[current]):
            seconds -= SLICE - self._now % SLICE  # the present one is not over
        good = self._good[first : max(first, last)]
        return Counts(float(np.sum(good[known])), float(np.sum(total[known])), max(0.0, seconds))

    # --- as documents

    def documents(self, first: int, last: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """The days that have stretches from `first` to `last`, by date; the stretches that may change left out."""
        for day in range(first // A_DAY, last // A_DAY + 1):
            begins = day * A_DAY - self._base
            if begins < 0 or begins >= len(self._total):
                continue
            over = min(A_DAY, max(0, self.sealed + 1 - day * A_DAY))
            yield (
                date_of(day * A_DAY),
                {
                    "of": self.identity,
                    "counted": over,
                    "good": _plain(self._good[begins : begins + over]),
                    "total": _plain(self._total[begins : begins + over]),
                },
            )

    def restore(self, date: str, document: Mapping[str, Any], now: float) -> None:
        """Take back a day; one of another definition is passed over."""
        if document.get("of") != self.identity:
            return
        first = _number_of(date)
        good, total = (
            np.array([np.nan if value is None else value for value in document[key]], dtype=np.float64)
            for key in ("good", "total")
        )
        if len(total) and first + len(total) > self._base:
            self.put(Stretch(first, good, total), now)
        self.sealed = max(self.sealed, first + int(document["counted"]) - 1)

    def _reach(self, end: int) -> None:
        """Make room up to stretch `end`, whole days at a time."""
        days = -(-(end - self._base) // A_DAY)
        if days > self._days:
            more = np.full((days - self._days) * A_DAY, np.nan)
            self._good = np.concatenate([self._good, more])
            self._total = np.concatenate([self._total, more])
            self._days = days

    def forget(self, before: float) -> None:
        """Let whole days go that are over before a time."""
        days = min(self._days, max(0, (int(before // SLICE) - self._base) // A_DAY))
        if days:
            self._good, self._total = self._good[days * A_DAY :], self._total[days * A_DAY :]
            self._base += days * A_DAY
            self._days -= days


def date_of(stretch: int) -> str:
    """The day of a stretch, UTC."""
    return datetime.fromtimestamp(stretch * SLICE, UTC).strftime("%Y-%m-%d")


def _number_of(date: str) -> int:
    return round(datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() / SLICE)


def _plain(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
