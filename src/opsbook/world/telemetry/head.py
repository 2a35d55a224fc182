"""The newest samples of a block, as they are: a scrape is one column, written in one go."""

from __future__ import annotations

import numpy as np

from opsbook.promql.series import ABSENT, STALE, Flags, Floats, Integers

COLUMNS = 160
SEALED = 120  # so many leave at a time when all columns are full


class Head:
    """Up to `COLUMNS` columns. Memory is used as columns are: an untouched page of an array costs nothing."""

    def __init__(self, rows: int = 16) -> None:
        self.length = 0
        self.timestamps: Integers = np.empty(COLUMNS, np.int64)
        self.scraped: Flags = np.empty(COLUMNS, np.bool_)
        self.values: Floats = np.empty((COLUMNS, rows))  # columns x rows: writing a scrape is writing ahead

    @property
    def rows(self) -> int:
        """How many rows there is room for."""
        return int(self.values.shape[1])

    @property
    def nbytes(self) -> int:
        """Memory of the arrays once they are full."""
        return self.values.nbytes + self.timestamps.nbytes + self.scraped.nbytes

    @property
    def full(self) -> bool:
        """Whether `oldest` must be taken out first."""
        return self.length == COLUMNS

    def append(self, at: int, slots: Integers, values: Floats, ended: Flags, *, scraped: bool) -> None:
        """Write a column: `values` in the rows `slots`, `STALE` where `ended`, nothing elsewhere."""
        column = self.length
        bits = self.values[column].view(np.int64)
        bits[:] = ABSENT
        bits[: ended.size][ended] = STALE
        self.values[column, slots] = values
        self.timestamps[column] = at
        self.scraped[column] = scraped
        self.length += 1

    def column_at(self, at: int) -> int:
        """The column with this time, made when there is none; there must be room, and it may be in the middle."""
        column = int(np.searchsorted(self.timestamps[: self.length], at))
        if column < self.length and self.timestamps[column] == at:
            return column
        for array in (self.timestamps, self.scraped, self.values):
            array[column + 1 : self.length + 1] = array[column : self.length].copy()
        self.values[column].view(np.int64)[:] = ABSENT
        self.timestamps[column], self.scraped[column] = at, True
        self.length += 1
        return column

    def drop(self, count: int) -> None:
        """Forget the oldest columns."""
        kept = slice(count, self.length)
        self.length -= count
        for array in (self.timestamps, self.scraped, self.values):
            array[: self.length] = array[kept].copy()

    def resize(self, rows: int) -> None:
        """Make room for `rows` rows."""
        kept = min(rows, self.rows)
        values = np.empty((COLUMNS, rows))
        values[: self.length, :kept] = self.values[: self.length, :kept]
        values.view(np.int64)[: self.length, kept:] = ABSENT
        self.values = values
