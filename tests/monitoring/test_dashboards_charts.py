"""Dashboards: spans of time, points, marks, what is generated, and Grafana's JSON; over the real engine and store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from opsbook.book import Book, TextFiles, load
from opsbook.book.dashboards import substituted
from opsbook.errors import Invalid, NotFound
from opsbook.monitoring.dashboards.charts import chart
from opsbook.monitoring.dashboards.grafana import SCHEMA_VERSION, to_grafana
from opsbook.monitoring.dashboards.marks import marks
from opsbook.monitoring.dashboards.model import Dashboard, Panel, Query
from opsbook.monitoring.dashboards.plan import (
    environment_dashboard,
    host_dashboard,
    probe_dashboard,
    service_dashboard,
)
from opsbook.monitoring.dashboards.room import Dashboards
from opsbook.monitoring.dashboards.span import POINTS_A_PIXEL, WEEK, Span, span_of
from opsbook.monitoring.dashboards.top import Top
from opsbook.promql import Engine, parse
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore

NOW = 1_763_700_000.0
EVERY: Mapping[str, str] = {"__rate_interval": "5m", "__interval": "1m", "__range": "1h", "environment": "x"}
BOOK = {
    "opsbook.yaml": "name: shop\n",
    "services/web.yaml": 'service: web\nrun: {command: ["x"], port: http}\nroute: {path: /}\n',
    "environments/production.yaml": "environment: production\nentry: {port: 8080}\nservices: {web: {version: '1'}}\n",
    "monitoring/dashboards/orders.yaml": (
        "title: Orders\nvariables: {environment: {label: environment, metric: orders_total}}\n"
        "panels: [{title: Orders, unit: 1/s, query: 'sum(rate(orders_total{environment=\"$environment\"}[5m]))'}]\n"
    ),
    "monitoring/probes.yaml": "probes: [{name: mail, tcp: {host: mail.example, port: 25}}]\n",
}


def book() -> Book:
    return load(TextFiles.of(BOOK))


def stored(*series: tuple[dict[str, str], Mapping[float, float]]) -> Engine:
    """An engine over samples at seconds relative to NOW."""
    storage = Storage(HotStore(retention=WEEK * 2))
    times = sorted({at for _, samples in series for at in samples})
    writer = storage.writer({"test": "x"})
    for at in times:
        writer.write(
            int((NOW + at) * 1000), [(labels, samples[at]) for labels, samples in series if at in samples]
        )
    return Engine(storage)


def panel(*expressions: str, **more: Any) -> Panel:
    return Panel(id="p", title="P", unit="count", queries=tuple(Query(one) for one in expressions), **more)


def room(*events: Any) -> Dashboards:
    known = book()
    storage = Storage(HotStore())
    storage.writer({"t": "x"}).write(
        int(NOW * 1000) - 5000,
        [
            ({"__name__": "orders_total", "environment": "production"}, 1.0),
            ({"__name__": "orders_total", "environment": "staging"}, 1.0),
            ({"__name__": "up", "job": "host"}, 1.0),
            ({"__name__": "up", "job": "host", "host": "db1"}, 1.0),
        ],
    )
    journal = SimpleNamespace(events=lambda **asked: list(reversed(events)))
    return Dashboards(Engine(storage), storage, journal, book=lambda: known, now=lambda: NOW)


def event(kind: str, at: float, subject: str = "production/web", **data: Any) -> Any:
    return SimpleNamespace(kind=kind, at=NOW + at, subject=subject, data=data)


# --- spans


@given(some.floats(60, 400 * 86400), some.integers(1, 5000))
def test_no_chart_asks_for_more_than_two_points_a_pixel(seconds: float, width: int) -> None:
    """And its steps are multiples of one length, so that they stay the same from refresh to refresh."""
    start, end, step = Span(NOW - seconds, NOW).steps(width)
    assert (end - start) / step <= max(width, 50) * POINTS_A_PIXEL
    assert (0, 0) == (start % step, end % step)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, (NOW - 3600, NOW)),
        ({"preset": "6h"}, (NOW - 21600, NOW)),
        ({"preset": "6h", "start": "1763690000", "end": "1763693600"}, (1763690000, 1763693600)),
        ({"start": "2025-11-21T02:00"}, (1763690400, NOW)),
    ],
)
def test_an_address_says_a_stretch_of_time(asked: dict[str, str], expected: tuple[float, float]) -> None:
    """The last so long, or between two times, which count more."""
    found = span_of(NOW, **asked)
    assert expected == (found.start, found.end)


@pytest.mark.parametrize(
    "asked", [{"preset": "soon"}, {"start": "x"}, {"start": "9", "end": "8"}, {"preset": "999d"}]
)
def test_what_is_no_stretch_of_time_is_refused(asked: dict[str, str]) -> None:
    """With what is expected instead."""
    with pytest.raises(Invalid):
        span_of(NOW, **asked)


# --- points


def test_a_gap_stays_a_gap() -> None:
    """Where nothing was measured for longer than the lookback there is no value."""
    samples = dict.fromkeys((*range(-3600, -2400, 15), *range(-900, 1, 15)), 1.0)
    found = chart(stored(({"__name__": "x"}, samples)), panel("x"), Span(NOW - 3600, NOW), width=120)
    values = found.lines[0].values
    missing = [found.start + index * found.step - NOW for index, value in enumerate(values) if value is None]
    assert missing
    assert (True, True) == (min(missing) > -2400, max(missing) < -900)


def test_a_week_ago_is_moved_to_today() -> None:
    """The same step has the value of exactly a week before."""
    samples = {at - WEEK: 7.0 for at in range(-600, 1, 15)} | dict.fromkeys(range(-600, 1, 15), 3.0)
    found = chart(
        stored(({"__name__": "x"}, samples)), panel("x"), Span(NOW - 600, NOW), width=100, compare=True
    )
    assert [("x", False, 3.0), ("x", True, 7.0)] == [
        (one.name, one.before, one.values[-1]) for one in found.lines
    ]


def test_the_largest_lines_are_drawn_and_the_others_counted() -> None:
    """In the order they came, for a colour stays with its line."""
    series = [
        ({"__name__": "x", "n": str(n)}, {-30.0: float(n), -15.0: float(n), 0.0: float(n)}) for n in range(8)
    ]
    found = chart(stored(*series), panel("x"), Span(NOW - 60, NOW), width=60)
    assert (["3", "4", "5", "6", "7"], 3) == ([one.labels["n"] for one in found.lines], found.more)


def test_legends_and_variables_are_filled_in() -> None:
    """The window of rates grows with the stretch of time; what a reader chose is quoted."""
    engine = stored(({"__name__": "x", "env": 'a"b'}, {at: float(at) for at in range(-300, 1, 15)}))
    asked = Panel(
        id="p", title="", unit="1/s", queries=(Query('rate(x{env="$env"}[$__rate_interval])', "of {{env}}"),)
    )
    found = chart(engine, asked, Span(NOW - 60, NOW), width=60, variables={"env": 'a"b'})
    assert [('of a"b', 1.0)] == [(line.name, line.values[-1]) for line in found.lines]


# --- marks


def test_deployments_are_lines_and_alerts_are_bands() -> None:
    """From when they fired until they were resolved, or until the end; of what is shown alone."""
    found = marks(
        [
            event("alert.firing", -500, fingerprint="a", alertname="Slow", severity="warning"),
            event("deployment.succeeded", -400, id="d-9", version="2.1"),
            event("alert.firing", -350, "staging/web", fingerprint="c", alertname="Else"),
            event("alert.resolved", -300, fingerprint="a", alertname="Slow", severity="warning"),
            event("alert.firing", -200, fingerprint="b", alertname="Down", severity="critical"),
        ],
        ("production/web",),
        NOW - 3600,
        NOW,
    )
    assert [
        ("Slow production/web", -500, -300, "warning", "/alerts/a"),
        ("web 2.1 serves", -400, None, "ok", "/deployments/d-9"),
        ("Down production/web", -200, 0, "critical", "/alerts/b"),
    ] == [
        (one.text, one.at - NOW, None if one.until is None else one.until - NOW, one.state, one.href)
        for one in found
    ]


# --- what there is


@pytest.mark.parametrize(
    "dashboard",
    [
        service_dashboard("production", 'we"b'),
        environment_dashboard("production"),
        host_dashboard(""),
        host_dashboard("db1"),
        probe_dashboard("mail"),
    ],
    ids=lambda one: one.name,
)
def test_what_is_generated_parses(dashboard: Dashboard) -> None:
    """Every expression is PromQL, every panel has an id of its own and says what it shows."""
    panels = list(dashboard.panels)
    for one in panels:
        for query in one.queries:
            parse(substituted(query.expression, EVERY))
    assert len(panels) == len({one.id for one in panels})
    assert all(one.title for one in panels)


def test_everything_has_a_dashboard() -> None:
    """The handbook's first; of what may not be looked at there is none."""
    dashboards = room()
    everything = [
        "orders",
        "environments/production",
        "services/production/web",
        "probes/mail",
        "hosts/local",
        "hosts/db1",
    ]
    assert everything == [one.name for one in dashboards.listed()]
    assert everything == [dashboards.find(name).name for name in everything]
    assert [] == [one.name for one in dashboards.listed(frozenset({"staging"}))]
    with pytest.raises(NotFound) as refused:
        dashboards.find("services/production/wep")
    assert 'did you mean "services/production/web"?' == refused.value.hint


def test_a_reader_chooses_among_what_there_is() -> None:
    """The first there is, unless the address says another."""
    dashboards = room()
    orders = dashboards.find("orders")
    assert ("production", "staging") == dashboards.choices(orders.variables[0])
    assert {"environment": "production"} == dashboards.chosen(orders, {})
    assert {"environment": "staging"} == dashboards.chosen(orders, {"environment": "staging"})


def test_series_of_an_alert_are_picked_among_all() -> None:
    """Those whose labels agree with its own; all of them when none does."""
    dashboards = room()
    span = Span(NOW - 60, NOW)
    found = dashboards.plotted(panel("orders_total"), span, only={"environment": "staging", "severity": "x"})
    assert ["staging"] == [line.labels["environment"] for line in found.lines]
    other = dashboards.plotted(panel("orders_total"), span, only={"environment": "nowhere"})
    assert 2 == len(other.lines)


def test_top_puts_what_fires_first() -> None:
    """An alert about what is looked at from outside is no host's."""
    engine = stored(
        ({"__name__": "opsbook:throughput", "environment": "production", "service": "a"}, {0.0: 9.0}),
        ({"__name__": "opsbook:throughput", "environment": "production", "service": "web"}, {0.0: 1.0}),
        ({"__name__": "opsbook:cpu_usage", "job": "host"}, {0.0: 0.5}),
    )
    quiet = {"state": "firing", "silenced_by": [], "inhibited_by": [], "severity": "critical"}
    alerts = SimpleNamespace(
        alerts=lambda **asked: [
            {**quiet, "labels": {"environment": "production", "service": "web"}},
            {**quiet, "labels": {"probe": "mail"}},
        ]
    )
    known = book()
    lines = Top(engine, alerts, book=lambda: known, now=lambda: NOW).lines()
    assert [("web", 1), ("a", 0), ("local", 0)] == [(line.name, line.alerts) for line in lines]


# --- Grafana


def test_grafana_gets_the_same_expressions() -> None:
    """With the data source as a variable, panels side by side that do not overlap, and ids that are unique."""
    dashboard = room().find("orders")
    made = to_grafana(dashboard)
    assert made == json.loads(json.dumps(made))
    assert SCHEMA_VERSION == made["schemaVersion"]
    variables = made["templating"]["list"]
    assert ["datasource", "environment"] == [one["name"] for one in variables]
    charts = [one for one in made["panels"] if one["type"] == "timeseries"]
    assert [query.expression for one in dashboard.panels for query in one.queries] == [
        target["expr"] for one in charts for target in one["targets"]
    ]
    assert all("${datasource}" == one["datasource"]["uid"] for one in charts)
    whole = to_grafana(service_dashboard("production", "web"))["panels"]
    assert len(whole) == len({one["id"] for one in whole})
    cells = [
        (x, y)
        for one in whole
        for x in range(one["gridPos"]["x"], one["gridPos"]["x"] + one["gridPos"]["w"])
        for y in range(one["gridPos"]["y"], one["gridPos"]["y"] + one["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
