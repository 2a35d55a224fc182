"""What rules need of others: something that answers queries, something that keeps series, somebody who is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from opsbook.journal.model import Entry
from opsbook.monitoring.alerting.model import Alert
from opsbook.promql.expression import Expression
from opsbook.promql.model import Result
from opsbook.promql.series import Labels, Matcher


class Queries(Protocol):
    """`opsbook.promql.Engine`, or another server's."""

    def instant(self, query: str | Expression, at_ms: int) -> Result:
        """The answer as of `at_ms`. Raises OpsbookError."""


class Writer(Protocol):
    """Where a rule's own series go; what was written the last time and is not now becomes stale."""

    def write(self, at_ms: int, samples: Iterable[tuple[Labels, float]]) -> object: ...

    def end(self, at_ms: int) -> object: ...


class Series(Protocol):
    """The part of the storage that rules write to and look around in."""

    def writer(self, owner: Labels) -> Writer: ...

    def series(self, matchers: Sequence[Matcher], start: int, end: int) -> Sequence[Labels]: ...


class Receiver(Protocol):
    """Who decides whom to tell: `opsbook.monitoring.alerting`."""

    def receive(self, alerts: Sequence[Alert]) -> object: ...


class Documents(Protocol):
    """The documents of the journal's database."""

    def items(self, prefix: str = "") -> dict[str, Any]: ...


class Book(Protocol):
    """The part of a journal that rules write to."""

    @property
    def state(self) -> Documents: ...

    def append_all(
        self, entries: Sequence[Entry], *, put: Mapping[str, Any | None] | None = None
    ) -> object: ...
