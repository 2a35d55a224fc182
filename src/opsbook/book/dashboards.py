"""Dashboards as code: what `monitoring/dashboards/*.yaml` says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from opsbook.book.analysis import Threshold
from opsbook.book.conditions import compiled
from opsbook.book.document import Document, Loc
from opsbook.book.expressions import fault
from opsbook.book.fields import Line, Name, Part, matching, wrong
from opsbook.book.problems import Problem, did_you_mean

FOLDER = "monitoring/dashboards/"
Unit = Literal["count", "ratio", "seconds", "1/s", "bytes", "bytes/s"]
BUILT_IN = frozenset({"__rate_interval", "__interval", "__range"})
"""Variables that every query has, as in Grafana."""

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_EXAMPLE: Mapping[str, str] = {"__rate_interval": "5m", "__interval": "1m", "__range": "1h"}

VariableName = Annotated[
    str, matching(r"[a-z][a-z0-9_]{0,40}", "a name of lower-case letters, digits and underscores")
]
Expression = Annotated[str, matching(r"(?s).*\S.*", "a named metric, or PromQL")]
LabelName = Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a label")]


class QuerySpec(Part):
    """One expression of a panel."""

    query: Expression = Field(
        description="A named metric, or PromQL. $__rate_interval is a window that fits the stretch of time shown.",
        examples=["sum by (service) (rate(orders_total[$__rate_interval]))"],
    )
    legend: str = Field(
        "", description="What the lines are called; {{label}} is replaced.", examples=["{{service}}"]
    )


class PanelSpec(Part):
    """A chart: either one query, or several."""

    title: Line = Field(description="What it shows.", examples=["Orders a second"])
    unit: Unit = Field("count", description="Of all its values.", examples=["1/s"])
    query: Expression | None = Field(
        None, description="A named metric, or PromQL.", examples=['throughput{service="web"}']
    )
    legend: str = Field(
        "", description="What the lines are called; {{label}} is replaced.", examples=["{{service}}"]
    )
    queries: tuple[QuerySpec, ...] = Field((), description="Several of them, instead of query.")
    description: str = Field("", description="What it says, for who does not know yet.")
    limit: Threshold | None = Field(
        None, description="A value that should not be passed, drawn as a line.", examples=["1%"]
    )

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.query is None) == (not self.queries):
            wrong("expected either query or queries", "query: throughput")
        if self.queries and self.legend:
            wrong("with queries, each has a legend of its own", at=("legend",))
        return self

    @property
    def all_queries(self) -> tuple[QuerySpec, ...]:
        """`query` or `queries`."""
        return self.queries or (QuerySpec(query=self.query or "", legend=self.legend),)


class RowSpec(Part):
    """Panels that belong together."""

    title: Line = Field(description="What they have in common.", examples=["Orders"])
    panels: tuple[PanelSpec, ...] = Field(min_length=1, description="The charts.")


class VariableSpec(Part):
    """What a reader may choose: the values of a label."""

    label: LabelName = Field(description="Whose values may be chosen.", examples=["environment"])
    metric: Annotated[str, matching(r"[A-Za-z_:][A-Za-z0-9_:]*", "the name of a metric")] = Field(
        "up", description="In the series of which metric.", examples=["orders_total"]
    )
    default: str = Field("", description="Chosen at first.", examples=["production"])


def _known(variables: Mapping[str, VariableSpec]) -> Mapping[str, VariableSpec]:
    for name in variables:
        if name in ("from", "to", "range", "compare", "view", "region", "panel", "width"):
            wrong(f"{name} stands in addresses for something else", "another name", at=(name,))
    return variables


class DashboardFile(Part):
    """`monitoring/dashboards/NAME.yaml`: a dashboard."""

    title: Line = Field(description="What it is called.", examples=["Orders"])
    description: str = Field("", description="What it is for, in a sentence.")
    services: tuple[Name, ...] = Field(
        (),
        description="Whose deployments and alerts are marked in the charts; left out: those of all services.",
        examples=[["web", "api"]],
    )
    environments: tuple[Name, ...] = Field(
        (), description="Only those of these environments are marked.", examples=[["production"]]
    )
    variables: Annotated[Mapping[VariableName, VariableSpec], AfterValidator(_known)] = Field(
        default_factory=dict,
        description="What a reader may choose; $name in the queries.",
        examples=[{"environment": {"label": "environment", "default": "production"}}],
    )
    panels: tuple[PanelSpec, ...] = Field((), description="The charts, without rows.")
    rows: tuple[RowSpec, ...] = Field((), description="The charts in rows, instead of panels.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if (not self.panels) == (not self.rows):
            wrong("expected either panels or rows", "panels: [{title: Orders, query: throughput}]")
        return self

    @property
    def all_rows(self) -> tuple[RowSpec, ...]:
        """`rows`, or one without a title."""
        return self.rows or (RowSpec.model_construct(title="", panels=self.panels),)


def variables_in(query: str) -> frozenset[str]:
    """The variables that a query uses."""
    return frozenset(match[1] or match[2] for match in _VARIABLE.finditer(query))


def substituted(query: str, values: Mapping[str, str], *, quoted: bool = True) -> str:
    """The query with the values of its variables; unknown ones are left as they are.

    Args:
        quoted: escape the values, for they stand within quotes.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in values:
            return match[0]
        text = values[name]
        if name in BUILT_IN or not quoted:
            return text
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return _VARIABLE.sub(value, query)


def expression_of(query: str) -> str:
    """The PromQL of a query as it is written: named metrics become series, variables stay."""
    return compiled(query)


def dashboard_faults(document: Document, file: DashboardFile) -> Iterator[Problem]:
    """Queries that are no PromQL, and variables that nobody declared."""
    rows: list[tuple[Loc, tuple[PanelSpec, ...]]] = [(("panels",), file.panels)] if file.panels else []
    rows += [(("rows", index, "panels"), row.panels) for index, row in enumerate(file.rows)]
    for at, panels in rows:
        for number, panel in enumerate(panels):
            places: list[tuple[Loc, str]] = [
                ((*at, number, "queries", index, "query"), one.query)
                for index, one in enumerate(panel.queries)
            ]
            if panel.query is not None:
                places.append(((*at, number, "query"), panel.query))
            for place, query in places:
                yield from _query_faults(document, place, query, file)


def _query_faults(document: Document, place: Loc, query: str, file: DashboardFile) -> Iterator[Problem]:
    known = BUILT_IN | file.variables.keys()
    unknown = sorted(variables_in(query) - known)
    for name in unknown:
        yield document.problem(
            place, f"there is no variable ${name}", did_you_mean(name, known) or "declare it under variables:"
        )
    values = dict.fromkeys(file.variables, "x") | dict(_EXAMPLE)
    message = None if unknown else fault(substituted(expression_of(query), values))
    if message is not None:
        yield document.problem(place, f"not PromQL: {message}", "see docs/promql.md")
