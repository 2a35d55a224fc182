"""What the faces need: something that answers queries, and something that knows which series there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from opsbook.promql.expression import Expression
from opsbook.promql.model import Result
from opsbook.promql.series import Labels, Matcher


class Queries(Protocol):
    """`opsbook.promql.Engine`, or another server's."""

    def instant(self, query: str | Expression, at_ms: int) -> Result:
        """The answer at one time."""

    def range(self, query: str | Expression, start_ms: int, end_ms: int, step_ms: int) -> Result:
        """The answer at every step."""


class Told(Protocol):
    """What a target says of a metric."""

    @property
    def kind(self) -> str: ...

    @property
    def help(self) -> str: ...

    @property
    def unit(self) -> str: ...


class Catalogue(Protocol):
    """Which series there are: the storage, or another server's. Times are milliseconds."""

    def series(self, matchers: Sequence[Matcher], start: int, end: int) -> Sequence[Labels]: ...

    def names(self, matchers: Sequence[Matcher], start: int, end: int) -> Sequence[str]: ...

    def label_values(
        self, label: str, matchers: Sequence[Matcher], start: int, end: int
    ) -> Sequence[str]: ...

    def metadata(self, metric: str | None = None) -> Mapping[str, Sequence[Told]]: ...


class RulesView(Protocol):
    """Rules and alerts in Prometheus' shape."""

    def rules_json(self) -> dict[str, Any]: ...

    def alerts_json(self) -> dict[str, Any]: ...


class Targets(Protocol):
    """What is scraped."""

    def status(self) -> Sequence[Any]:
        """`TargetStatus` of every target."""
