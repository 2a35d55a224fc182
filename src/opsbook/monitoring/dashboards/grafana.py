"""Dashboards as Grafana imports them: the same expressions, with the data source as a variable. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from opsbook.book.dashboards import Unit
from opsbook.monitoring.dashboards.model import Dashboard, Panel, Variable

SCHEMA_VERSION = 42
"""Of Grafana 12; older ones read it, newer ones migrate it."""

COLUMNS, HEIGHT = 24, 8
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_UNITS: dict[Unit, str] = {
    "count": "short",
    "ratio": "percentunit",
    "seconds": "s",
    "1/s": "reqps",
    "bytes": "bytes",
    "bytes/s": "Bps",
}
_RED, _TRANSPARENT = "red", "transparent"


def to_grafana(dashboard: Dashboard) -> dict[str, Any]:
    """The JSON that Grafana's "import" and file provisioning take.

    The `uid` is made of the name, so that importing again replaces what was imported before.
    """
    return {
        "uid": f"opsbook-{hashlib.sha256(dashboard.name.encode()).hexdigest()[:16]}",
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["opsbook", dashboard.kind],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # the crosshair is shared
        "timezone": "",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source_variable(), *map(_variable, dashboard.variables)]},
        "annotations": {"list": [_alerts(dashboard)]},
        "links": [],
        "panels": list(_panels(dashboard)),
    }


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    number, top = 1, 0
    for row in dashboard.rows:
        if row.title:
            yield {
                "id": number,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
                "panels": [],
            }
            number, top = number + 1, top + 1
        across = min(len(row.panels), 3)
        width = COLUMNS // across
        for index, panel in enumerate(row.panels):
            place = {
                "x": index % across * width,
                "y": top + index // across * HEIGHT,
                "w": width,
                "h": HEIGHT,
            }
            yield _panel(panel, number, place)
            number += 1
        top += -(-len(row.panels) // across) * HEIGHT


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": _UNITS[panel.unit],
        "min": 0,
        "custom": {
            "drawStyle": "line",
            "lineWidth": 2,
            "fillOpacity": 0,
            "spanNulls": False,
            "showPoints": "never",
        },
        "color": {"mode": "palette-classic"},
    }
    if panel.limit is not None:
        steps = [{"color": _TRANSPARENT, "value": None}, {"color": _RED, "value": panel.limit}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        defaults["custom"] |= {"thresholdsStyle": {"mode": "line"}}
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {
                "refId": _reference(index),
                "datasource": SOURCE,
                "editorMode": "code",
                "expr": query.expression,
                "legendFormat": query.legend or "__auto",
                "range": True,
                "instant": False,
            }
            for index, query in enumerate(panel.queries)
        ],
    }


def _reference(index: int) -> str:
    """A, B ... Z, A1, B1 ..."""
    turn, letter = divmod(index, 26)
    return f"{chr(65 + letter)}{turn or ''}"


def _source_variable() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "current": {},
        "regex": "",
        "skipUrlSync": False,
    }


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.metric}, {variable.label})"
    current = {"text": variable.default, "value": variable.default} if variable.default else {}
    return {
        "name": variable.name,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "variable", "qryType": 1},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "current": current,
        "regex": "",
        "skipUrlSync": False,
    }


def _alerts(dashboard: Dashboard) -> dict[str, Any]:
    """What fires, from the series that rules write."""
    only = 'alertstate="firing"'
    if dashboard.kind == "service":
        environment, _, service = dashboard.subjects[0].partition("/")
        only += f',environment="{environment}",service="{service}"'
    elif dashboard.environment:
        only += f',environment="{dashboard.environment}"'
    return {
        "name": "Alerts",
        "enable": True,
        "hide": False,
        "iconColor": _RED,
        "datasource": SOURCE,
        "expr": f"ALERTS{{{only}}}",
        "step": "30s",
        "titleFormat": "{{alertname}}",
        "textFormat": "{{service}} {{environment}}",
        "tagKeys": "severity",
    }
