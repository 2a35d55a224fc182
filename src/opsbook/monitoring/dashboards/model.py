"""The nouns of dashboards. Queries are PromQL in which ``$__rate_interval`` and variables stand, as in Grafana."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from opsbook.book.dashboards import Unit

Kind = Literal["service", "environment", "host", "probe", "handbook"]


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel.

    Args:
        expression: PromQL.
        legend: what its series are called, with ``{{label}}`` in it; empty: their labels.
    """

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart.

    Args:
        id: within its dashboard; stands in addresses.
        unit: of all its values.
        description: what it says, for who does not know yet.
        limit: a value that should not be passed; drawn as a line.
    """

    id: str
    title: str
    unit: Unit
    queries: tuple[Query, ...]
    description: str = ""
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """What a reader may choose; ``$NAME`` in the queries.

    Args:
        label, metric: the values are those of `label` in the series of `metric`.
        default: chosen at first; empty: the first there is.
    """

    name: str
    label: str
    metric: str
    default: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """Some rows of panels over one stretch of time.

    Args:
        name: stands in addresses: ``services/production/web``, ``environments/production``, ``hosts/db1``, or that
            of the handbook's file.
        subjects: whose deployments and alerts are marked, as the journal names them (``production/web``,
            ``production``); empty: everything's.
        environment: who may look at it may see the dashboard; empty: who may look at everything.
        source: the file it is written in; empty: it is generated.
    """

    name: str
    title: str
    kind: Kind
    rows: tuple[Row, ...]
    description: str = ""
    subjects: tuple[str, ...] = ()
    environment: str = ""
    variables: tuple[Variable, ...] = ()
    source: str = ""

    @property
    def panels(self) -> Iterator[Panel]:
        """All of them, in the order of reading."""
        for row in self.rows:
            yield from row.panels

    def panel(self, name: str) -> Panel | None:
        """The panel with that id."""
        return next((panel for panel in self.panels if panel.id == name), None)
