"""What is shown of logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from opsbook.world.logs.query import Found, Histogram, LogQuery
from opsbook.world.logs.words import LogRecord


class Logs(Protocol):
    """All logs; `opsbook.world.logs.search.LogSearch` is one. Raises as it does."""

    def search(self, query: LogQuery) -> Found: ...

    def histogram(self, query: LogQuery, *, start: float, end: float, steps: int = 60) -> Histogram: ...

    def follow(
        self, query: LogQuery, *, stop: Callable[[], bool] = lambda: False, tail: int = 0
    ) -> Iterator[LogRecord | None]: ...

    def origins(self, visible: frozenset[str] | None = None) -> tuple[tuple[str, str], ...]: ...


def found_json(found: Found) -> dict[str, Any]:
    """A page of records, newest first; ``next`` is the cursor of the page behind it, null when there is none."""
    from opsbook.world.logs.search import record_json

    return {
        "records": [record_json(record) for record in found.records],
        "next": found.cursor or None,
        "partial": found.partial,
        "back_to": found.back_to,
    }


def histogram_json(found: Histogram) -> dict[str, Any]:
    """Counts a step, by level; ``""`` is the level of lines that have none."""
    return {
        "start": found.start,
        "step": found.step,
        "counts": {level: list(column) for level, column in found.counts.items()},
        "partial": found.partial,
        "back_to": found.back_to,
    }
