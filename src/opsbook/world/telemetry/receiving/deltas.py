"""Counts that are told as what came since the last time, summed up: Prometheus knows only totals."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Final

MOST_SERIES: Final = 50_000


class Deltas:
    """The totals of every series that is sent in deltas. Thread-safe.

    A total begins anew when opsbook is started: to who asks for rates that is a counter that was reset. The series that
    was not heard of for the longest is forgotten first.
    """

    def __init__(self, most: int = MOST_SERIES) -> None:
        self._most = most
        self._totals: OrderedDict[Hashable, tuple[int, dict[Hashable, float]]] = OrderedDict()
        self._guard = threading.Lock()

    def add(
        self, series: Hashable, at_ms: int, amounts: Mapping[Hashable, float]
    ) -> dict[Hashable, float] | None:
        """The totals with `amounts` added.

        Returns:
            None when this or something later was added before: a batch that is sent again counts once.
        """
        with self._guard:
            last, totals = self._totals.get(series, (-1, {}))
            if at_ms <= last:
                return None
            totals = dict(totals)
            for name, amount in amounts.items():
                totals[name] = totals.get(name, 0.0) + amount
            self._totals[series] = (at_ms, totals)
            self._totals.move_to_end(series)
            while len(self._totals) > self._most:
                self._totals.popitem(last=False)
            return totals
