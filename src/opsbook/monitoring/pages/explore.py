"""``/explore``: any expression, as a chart or as a table; and which metrics there are."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.errors import NotAllowed, OpsbookError
from opsbook.monitoring.dashboards.charts import series_name
from opsbook.monitoring.pages.faults import pointed
from opsbook.monitoring.pages.figures import figure, labelled
from opsbook.monitoring.pages.source import Shell, Source
from opsbook.monitoring.pages.spans import Spans, spans_of
from opsbook.promql import Samples, Scalar, Text, Vector, parse
from opsbook.promql.series import NAME, Matcher
from opsbook.security.api import signed_in
from opsbook.security.plan import may

TOPICS = ("alerts",)
MOST_ROWS = 200
MOST_NAMES = 2000
MOST_VALUES = 12
_RECENT = 3600_000  # milliseconds: series of the last hour are offered
KEPT = ("range", "from", "to", "view")
EXAMPLES = (
    ("Requests by service", "sum by (service, environment) (rate(envoy_cluster_upstream_rq_xx[5m]))"),
    ("Error rate", "opsbook:error_rate"),
    ("What is not up", "up == 0"),
)


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The page ``/explore``."""
    routes = APIRouter(prefix="/explore", include_in_schema=False, route_class=route_class)

    @routes.get("")
    def explore(
        request: Request, expr: str = "", view: str = "", metric: str = "", find: str = ""
    ) -> Response:
        decision = may(signed_in(request), "view")
        if not decision.allowed:  # a query can ask for anything
            raise NotAllowed(decision.why)
        expr = expr.strip()
        if request.query_params.get("region") == "live":  # which is empty: only the connection is watched
            return shell.page(request, "monitoring/explore.html", dict, topics=TOPICS)
        return shell.page(
            request,
            "monitoring/explore.html",
            lambda: {
                **_asked(source, request, expr, tabled=view == "table"),
                "metric": _metric(source, metric) if metric else None,
                "names": _names(source, find),
                "find": find,
            },
            topics=TOPICS,
        )

    return routes


def _asked(source: Source, request: Request, expr: str, *, tabled: bool) -> dict[str, Any]:
    spans = spans_of(source.dashboards.now(), request.url.path, request.query_params)
    found: dict[str, Any] = {
        "title": "Explore",
        "expr": expr,
        "spans": spans,
        "error": None,
        "fault": None,
        "plotted": False,
        "table": None,
        "examples": [(name, text, f"/explore?{urlencode({'expr': text})}") for name, text in EXAMPLES],
        "view": "table" if tabled else "graph",
        "kept": {name: value for name, value in request.query_params.items() if name in KEPT},
    }
    if not expr:
        return found
    try:
        parsed = parse(expr)
        if tabled or parsed.kind in ("string", "matrix"):
            return {**found, "table": _table(source, expr, spans), "view": "table"}
    except OpsbookError as error:
        return {**found, "error": error, "fault": pointed(expr)}
    return {**found, "plotted": True}


def _table(source: Source, expr: str, spans: Spans) -> dict[str, Any]:
    """The answer at the end of the stretch of time."""
    at = int(spans.span.end * 1000)
    result = source.queries.instant(expr, at)
    rows: list[dict[str, Any]] = []
    match result.value:
        case Scalar(value):
            rows = [{"name": "scalar", "labels": [], "value": figure(value)}]
        case Text(value):
            rows = [{"name": "text", "labels": [], "value": value}]
        case Vector(series, values):
            rows = [
                {"name": labels.get(NAME, ""), "labels": labelled(labels), "value": f"{value:.10g}"}
                for labels, value in zip(series, values.tolist(), strict=True)
            ]
        case Samples() as samples:
            for index, labels in enumerate(samples.series[:MOST_ROWS]):
                times, values = samples.points(index)
                last = [f"{value:.10g}" for value in values[-4:].tolist()]
                rows.append(
                    {
                        "name": labels.get(NAME, ""),
                        "labels": labelled(labels),
                        "value": f"{'… ' if times.size > 4 else ''}{' '.join(last)} ({times.size} samples)",
                    }
                )
    return {
        "at": spans.span.end,
        "rows": rows[:MOST_ROWS],
        "more": max(0, len(rows) - MOST_ROWS),
        "notes": [*result.warnings, *result.infos],
    }


def _names(source: Source, find: str) -> list[str]:
    """The metrics there are, those only that have all the words in their name."""
    end = int(source.dashboards.now() * 1000)
    words = find.lower().split()
    names = source.catalogue.label_values(NAME, (Matcher(NAME, "!=", ""),), end - _RECENT, end)
    return [name for name in names if all(word in name.lower() for word in words)][:MOST_NAMES]


def _metric(source: Source, name: str) -> dict[str, Any]:
    """What a metric is, and the labels that its series have."""
    end = int(source.dashboards.now() * 1000)
    series = source.catalogue.series((Matcher(NAME, "=", name),), end - _RECENT, end)
    values: dict[str, set[str]] = {}
    for labels in series:
        for label, value in labels.items():
            if label != NAME:
                values.setdefault(label, set()).add(value)
    told = next(iter(source.catalogue.metadata(name).get(name, ())), None)
    return {
        "name": name,
        "series": len(series),
        "kind": told.kind if told is not None else "",
        "help": told.help if told is not None else "",
        "href": f"/explore?{urlencode({'expr': _first(name, told.kind if told is not None else '')})}",
        "labels": [
            {
                "name": label,
                "count": len(found),
                "values": [
                    (value, f"/explore?{urlencode({'expr': series_name({NAME: name, label: value})})}")
                    for value in sorted(found)[:MOST_VALUES]
                ],
            }
            for label, found in sorted(values.items())
        ],
    }


def _first(name: str, kind: str) -> str:
    """The expression one most likely wants of a metric: of what only grows, how fast."""
    return f"rate({name}[5m])" if kind == "counter" or name.endswith("_total") else name
