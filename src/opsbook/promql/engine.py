"""Queries, answered."""

from __future__ import annotations

from opsbook.promql.expression import Expression
from opsbook.promql.model import Result
from opsbook.promql.series import Storage


class Engine:
    """Evaluates queries over a storage. Thread-safe if the storage is.

    Args:
        storage: where the series are.
        lookback: seconds that the last sample of a series stands for the present.
        max_samples: how many samples one query may hold at a time.
        timeout: seconds that one query may take.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        lookback: float = 300.0,
        max_samples: int = 50_000_000,
        timeout: float = 120.0,
    ) -> None:
        self._storage = storage
        self._lookback = int(lookback * 1000)
        self._max_samples = max_samples
        self._timeout = timeout

    def instant(self, query: str | Expression, at_ms: int) -> Result:
        """The answer at one time (milliseconds).

        Raises:
            Invalid: the query does not parse.
            Failed: it cannot be answered: series that match twice, too many samples, too long.
        """
        raise NotImplementedError

    def range(self, query: str | Expression, start_ms: int, end_ms: int, step_ms: int) -> Result:
        """The answer at every step from `start_ms` to `end_ms`; its value is a Matrix.

        Raises:
            Invalid: the query does not parse or has no vector or scalar as its value; the step is not positive.
            Failed: it cannot be answered.
        """
        raise NotImplementedError
