"""All dashboards there are: those that everything has by itself, and those of the handbook."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

from opsbook.book import Book
from opsbook.book.dashboards import DashboardFile, PanelSpec, expression_of
from opsbook.errors import NotFound
from opsbook.journal import Event
from opsbook.monitoring.dashboards.charts import MOST_LINES, Chart, Ranges, chart
from opsbook.monitoring.dashboards.marks import KINDS, Mark, marks
from opsbook.monitoring.dashboards.model import Dashboard, Panel, Query, Row, Variable
from opsbook.monitoring.dashboards.plan import (
    LOCAL_HOST,
    environment_dashboard,
    host_dashboard,
    probe_dashboard,
    service_dashboard,
)
from opsbook.monitoring.dashboards.span import Span
from opsbook.promql.series import NAME, Matcher

BEFORE = 86400.0  # seconds before a chart in which alerts are looked for that fire into it
MOST_EVENTS = 1000
MOST_PLOTTED = 500  # series, among which those of one alert are looked for
_RECENT = 3600.0  # a host that said nothing for an hour is not offered any more


class Values(Protocol):
    """Which values a label has: the storage, or another server's."""

    def label_values(
        self, label: str, matchers: Sequence[Matcher], start: int, end: int
    ) -> Sequence[str]: ...


class Events(Protocol):
    """The journal, as far as charts are marked by it."""

    def events(
        self,
        *,
        kinds: Sequence[str] = (),
        subject_prefix: str | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int = 1000,
        newest: bool = False,
    ) -> list[Event]: ...


class Dashboards:
    """What pages, the API and the command line ask.

    Args:
        queries: what answers range queries.
        values: which hosts there are, and what readers may choose.
        events: the journal.
        book: the handbook at this moment. now: epoch seconds.
    """

    def __init__(
        self,
        queries: Ranges,
        values: Values,
        events: Events,
        *,
        book: Callable[[], Book],
        now: Callable[[], float],
    ) -> None:
        self._queries = queries
        self._values = values
        self._events = events
        self._book = book
        self.now = now

    def listed(self, visible: frozenset[str] | None = None) -> tuple[Dashboard, ...]:
        """All that may be seen: the handbook's, environments, services, probes, hosts.

        Args:
            visible: the environments that may be looked at; None: everything.
        """
        book = self._book()
        environments = [name for name in book.environments if visible is None or name in visible]
        found = [environment_dashboard(name) for name in reversed(environments)]
        found += [
            service_dashboard(environment, service, book.services[service].description or "")
            for environment in reversed(environments)
            for service in sorted(book.placed.get(environment, {}))
        ]
        found += [
            probe_dashboard(one.name, one.environment or "")
            for one in book.probes
            if visible is None or one.environment in visible
        ]
        if visible is not None:
            return tuple(found)
        written = [written_dashboard(name, file) for name, file in sorted(book.dashboards.items())]
        return (*written, *found, *(host_dashboard(host) for host in self.hosts()))

    def find(self, name: str) -> Dashboard:
        """One of them. Raises NotFound with the nearest name."""
        book = self._book()
        kind, _, rest = name.partition("/")
        environment, _, service = rest.partition("/")
        if kind == "environments" and rest in book.environments:
            return environment_dashboard(rest)
        if kind == "services" and service in book.placed.get(environment, {}):
            return service_dashboard(environment, service, book.services[service].description or "")
        if kind == "probes" and (probe := next((one for one in book.probes if one.name == rest), None)):
            return probe_dashboard(rest, probe.environment or "")
        if kind == "hosts" and rest:
            host = "" if rest == LOCAL_HOST else rest
            if host in self.hosts() or rest == LOCAL_HOST:
                return host_dashboard(host)
        if name in book.dashboards:
            return written_dashboard(name, book.dashboards[name])
        names = [one.name for one in self.listed()]
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else "opsbook dashboards"
        raise NotFound(f"there is no dashboard {name}", hint=hint, where=name)

    def hosts(self) -> tuple[str, ...]:
        """The machines that are measured; an empty name is the one opsbook runs on."""
        end = int(self.now() * 1000)
        start = end - int(_RECENT * 1000)
        jobs = Matcher("job", "=", "host"), Matcher(NAME, "=", "up")
        named = self._values.label_values("host", jobs, start, end)
        local = self._values.label_values("job", (*jobs, Matcher("host", "=", "")), start, end)
        return (*([""] if local else []), *named)

    def chosen(self, dashboard: Dashboard, given: Mapping[str, str]) -> dict[str, str]:
        """The values of its variables: what was asked for, else what the handbook says, else the first there is."""
        chosen = {}
        for variable in dashboard.variables:
            value = given.get(variable.name) or variable.default
            if not value:
                choices = self.choices(variable)
                value = choices[0] if choices else ""
            chosen[variable.name] = value
        return chosen

    def choices(self, variable: Variable) -> tuple[str, ...]:
        """What may be chosen for a variable."""
        end = int(self.now() * 1000)
        matcher = Matcher(NAME, "=", variable.metric)
        return tuple(self._values.label_values(variable.label, (matcher,), end - int(_RECENT * 1000), end))

    def chart(
        self,
        dashboard: Dashboard,
        panel: str,
        span: Span,
        *,
        width: int = 600,
        given: Mapping[str, str] | None = None,
        compare: bool = False,
    ) -> Chart:
        """The points of one panel. Raises NotFound, or what the query raises."""
        found = dashboard.panel(panel)
        if found is None:
            raise NotFound(f"{dashboard.name} has no panel {panel}", where=panel)
        variables = self.chosen(dashboard, given or {})
        return chart(self._queries, found, span, width=width, variables=variables, compare=compare)

    def explored(self, expression: str, span: Span, *, width: int = 600, most: int = 20) -> Chart:
        """The points of any expression."""
        panel = Panel(id="explored", title="", unit="count", queries=(Query(expression),))
        return chart(self._queries, panel, span, width=width, most=most)

    def plotted(
        self, panel: Panel, span: Span, *, width: int = 600, only: Mapping[str, str] | None = None
    ) -> Chart:
        """The points of a panel of no dashboard.

        Args:
            only: labels: series that have one of them with another value are left out, unless none is left.
        """
        found = chart(self._queries, panel, span, width=width, most=MOST_PLOTTED)
        fitting = tuple(line for line in found.lines if _agrees(line.labels, only or {}))
        return (
            replace(found, lines=fitting[:MOST_LINES])
            if fitting
            else replace(found, lines=found.lines[:MOST_LINES])
        )

    def marks(self, dashboard: Dashboard, span: Span) -> tuple[Mark, ...]:
        """Deployments and alerts that belong to what it shows."""
        subjects = dashboard.subjects
        events = self._events.events(
            kinds=KINDS,
            subject_prefix=subjects[0] if len(subjects) == 1 else None,
            since=span.start - BEFORE,
            until=span.end,
            limit=MOST_EVENTS,
            newest=True,
        )
        return marks(reversed(events), subjects, span.start, span.end)


def _agrees(labels: Mapping[str, str], only: Mapping[str, str]) -> bool:
    return all(only[name] == value for name, value in labels.items() if name != NAME and name in only)


def written_dashboard(name: str, file: DashboardFile) -> Dashboard:
    """A dashboard of the handbook."""
    rows = []
    for number, row in enumerate(file.all_rows, 1):
        panels = tuple(_panel(f"{number}-{index}", spec) for index, spec in enumerate(row.panels, 1))
        rows.append(Row(row.title, panels))
    environments = file.environments or ("",)
    services = file.services or ("",)
    pairs = [f"{environment}/{service}".strip("/") for environment in environments for service in services]
    # Without environments a service is named in all of them; the journal's subjects begin with one.
    subjects = tuple(pairs) if file.environments else ()
    return Dashboard(
        name=name,
        title=file.title,
        kind="handbook",
        rows=tuple(rows),
        description=file.description,
        subjects=subjects,
        variables=tuple(
            Variable(name=variable, label=spec.label, metric=spec.metric, default=spec.default)
            for variable, spec in file.variables.items()
        ),
        source=f"monitoring/dashboards/{name}.yaml",
    )


def _panel(name: str, spec: PanelSpec) -> Panel:
    return Panel(
        id=name,
        title=spec.title,
        unit=spec.unit,
        description=spec.description,
        limit=spec.limit,
        queries=tuple(Query(expression_of(one.query), one.legend) for one in spec.all_queries),
    )


def dashboard_json(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard as the API tells it."""
    return asdict(dashboard)
