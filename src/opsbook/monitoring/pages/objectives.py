"""``/slos``: objectives, what is left of their budgets, and how fast they are spent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.book.quantities import duration
from opsbook.errors import NotAllowed, NotFound
from opsbook.monitoring.pages.figures import Table, figure, length
from opsbook.monitoring.pages.source import Json, Shell, Source
from opsbook.monitoring.pages.states import Condition, Look
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may_somewhere, visible

LITTLE = 0.25  # of the budget left: soon it is spent
TABLE_ROWS = 24


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The pages under ``/slos``."""
    routes = APIRouter(prefix="/slos", include_in_schema=False, route_class=route_class)

    @routes.get("")
    def listed(request: Request) -> Response:
        identity = signed_in(request)
        decision = may_somewhere(identity, "view")
        if not decision.allowed:
            raise NotAllowed(decision.why)
        return shell.page(
            request,
            "monitoring/slos.html",
            lambda: {"title": "Objectives", "rows": [row_of(one) for one in _seen(source, identity)]},
            topics=("slos",),
        )

    # The ids of objectives hold slashes: the points stand before them.
    @routes.get("/-/points/{name:path}")
    def points(request: Request, name: str) -> dict[str, Any]:
        """What was left of the budget, for the chart."""
        one = _find(source, signed_in(request), name)
        assert source.objectives is not None
        return source.objectives.burn_down(str(one["id"]))

    @routes.get("/{name:path}")
    def objective(request: Request, name: str) -> Response:
        identity = signed_in(request)
        _find(source, identity, name)
        return shell.page(
            request, "monitoring/slo.html", lambda: _page(source, identity, name), topics=("slos",)
        )

    return routes


def _seen(source: Source, identity: Identity) -> list[Json]:
    return source.objectives.listed(visible(identity)) if source.objectives is not None else []


def _find(source: Source, identity: Identity, name: str) -> Json:
    found = next((one for one in _seen(source, identity) if one["id"] == name), None)
    if found is None:
        raise NotFound(f"there is no objective {name}", hint="opsbook slo", where=name)
    return found


def at_risk(source: Source, identity: Identity) -> list[dict[str, Any]]:
    """The objectives whose budget is spent, or will be if this goes on; the least budget first."""
    return [row_of(one) for one in _seen(source, identity) if one["state"] in ("spent", "burning")]


def condition_of(one: Mapping[str, Any]) -> Condition:
    """How it stands: by what is left, and by whether that lasts."""
    match one["state"]:
        case "spent":
            return Condition("critical", "spent")
        case "unknown":
            return Condition("unknown", "no data")
        case "burning":
            return Condition("warning", "burns")
    little = one["remaining"] is not None and one["remaining"] < LITTLE
    return Condition("warning", "little left") if little else Condition("ok", "kept")


def row_of(one: Mapping[str, Any]) -> dict[str, Any]:
    """An objective as a line."""
    left, rate = one["remaining"], one["burn_rate"]
    place = "/".join(part for part in (one["environment"], one["service"]) if part)
    name = str(one["id"])
    return {
        "id": name.replace("/", "-"),
        "name": name,
        "title": one["title"],
        "href": f"/slos/{quote(name)}",
        "points_href": f"/slos/-/points/{quote(name)}",
        "place": place,
        "what": one["description"],
        "condition": condition_of(one),
        "is": share(one["is"], _digits(one["target"])),
        "target": share(one["target"]),
        "known": one["is"] is not None,
        "over": one["state"] == "spent",
        "left": "–" if left is None else f"{left * 100:.0f} %" if abs(left) >= 0.1 else f"{left * 100:.1f} %",
        "width": 0 if left is None else round(max(0.0, min(left, 1.0)) * 100, 1),
        "burns": "–" if rate is None else f"{figure(round(rate, 2))}×",
        "spent_at": one["exhausted_at"],
        "window": _window(str(one["window"])),
    }


def _window(text: str) -> str:
    """``30d`` rather than the weeks in it; a calendar's as it is."""
    try:
        return length(duration(text))
    except ValueError:
        return text


def share(ratio: float | None, digits: int | None = None) -> str:
    """``99.95 %``; with so many digits behind the point, never rounded up, else with as many as say something."""
    if ratio is None:
        return "–"
    if digits is not None:
        return f"{math.floor(ratio * 100 * 10**digits + 1e-6) / 10**digits:.{digits}f} %"
    text = f"{ratio * 100:.4f}".rstrip("0").rstrip(".")
    return f"{text} %"


def _digits(target: float) -> int:
    """As many as tell a figure from its target."""
    return max(2, len(share(target).removesuffix(" %").partition(".")[2]) + 1)


def _page(source: Source, identity: Identity, name: str) -> dict[str, Any]:
    _find(source, identity, name)
    assert source.objectives is not None
    one = source.objectives.show(name)
    row = row_of(one)
    placed = one["service"] in source.book().placed.get(one["environment"] or "", {})
    row |= {
        "sentence": one["problem"] or _sentence(one, row),
        "service_href": f"/environments/{row['place']}" if placed else "",
        "dashboard_href": f"/dashboards/services/{row['place']}" if placed else "",
        "rates": [_rate(rate) for rate in one["rates"]],
        "facts": _facts(one),
        "queries": [(label, text) for label, text in one["queries"].items() if text],
    }
    return {"title": one["title"], "row": row, "table": _table(one["burn_down"])}


def _rate(rate: Mapping[str, Any]) -> dict[str, Any]:
    look: Look = "critical" if rate["severity"] == "critical" else "warning"
    rates = (
        "–" if one is None else f"{figure(round(one, 2))}×" for one in (rate["rate"], rate["short_rate"])
    )
    return {
        "over": f"{length(rate['long'])} and {length(rate['short'])}",
        "rate": " · ".join(rates),
        "limit": f"{rate['limit']:g}×",
        "condition": Condition("unknown", "no data")
        if rate["rate"] is None
        else Condition(look, "burns")
        if rate["burning"]
        else Condition("ok", "below"),
    }


def _facts(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [
        ("Indicator", str(one["kind"])),
        ("Counted", "events" if one["method"] == "Occurrences" else "stretches of time"),
        ("Over", _window(str(one["window"]))),
        ("Went wrong", f"{number(one['bad'])} of {number(one['total'])}" if one["total"] else "–"),
        ("May go wrong", number(one["allowed"]) if one["total"] else "–"),
        ("Known", f"{one['known'] * 100:.0f} % of the time"),
        ("Gates", _gates(one)),
        ("Written in", "nowhere: every service has it" if one["default"] else "monitoring/slos.yaml"),
    ]
    return [(name, text) for name, text in found if text]


def _gates(one: Mapping[str, Any]) -> str:
    """What a spent budget does to deployments."""
    if not one["gates"]:
        return ""
    return (
        "no deployment while it is spent"
        if one["blocks"]
        else f"no canary past {one['max_weight']} % while it is spent"
    )


def number(value: float) -> str:
    """Events: whole where there are many."""
    return f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:.3g}"


def _sentence(one: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    if one["state"] == "unknown" or one["is"] is None:
        return "There is nothing to judge it by yet."
    over = "this " + str(row["window"]) if str(row["window"]).isalpha() else f"the last {row['window']}"
    said = f"{row['is']} of {over}, where {row['target']} is asked for: "
    if row["over"]:
        return f"{said}the budget is spent."
    going = (
        "and it lasts." if one["exhausted_at"] is None else "and if this goes on it is spent before its time."
    )
    return f"{said}{row['left']} of the budget is left, {going}"


def _table(burn_down: Mapping[str, Any]) -> Table:
    """The burn-down as a table, the newest first."""
    points = [(float(at), left) for at, left in burn_down["points"] if left is not None]
    each = max(1, -(-len(points) // TABLE_ROWS))
    rows = tuple((at, (f"{left * 100:.1f} %",)) for at, left in points[::-1][::each])
    return Table(("left",), rows)
