"""``/slos``: objectives, what is left of their budgets, and how fast they are spent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.errors import NotAllowed, NotFound
from opsbook.monitoring.pages.figures import Table, figure, length
from opsbook.monitoring.pages.source import Json, Shell, Source
from opsbook.monitoring.pages.states import Condition
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

    # The names of objectives may hold slashes: the points stand before them.
    @routes.get("/-/points/{name:path}")
    def points(request: Request, name: str) -> dict[str, Any]:
        """What was left of the budget, for the chart."""
        one = _find(source, signed_in(request), name)
        assert source.objectives is not None
        return source.objectives.burn_down(str(one["name"]))

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
    found = next((one for one in _seen(source, identity) if one["name"] == name), None)
    if found is None:
        raise NotFound(f"there is no objective {name}", hint="opsbook slo", where=name)
    return found


def condition_of(one: Mapping[str, Any]) -> Condition:
    """How it stands: by what is left, and by whether it burns so fast that somebody is told."""
    left = one["remaining"]
    if left is None:
        return Condition("unknown", "no data")
    if left <= 0:
        return Condition("critical", "spent")
    if any(rate["firing"] for rate in one["burn_rates"]):
        return Condition("critical", "burns fast")
    if left < LITTLE:
        return Condition("warning", "little left")
    return Condition("ok", "kept") if one["exhausts_at"] is None else Condition("warning", "burns")


def row_of(one: Mapping[str, Any]) -> dict[str, Any]:
    """An objective as a line."""
    left = one["remaining"]
    place = "/".join(part for part in (one["environment"], one["service"]) if part)
    name = str(one["name"])
    return {
        "id": name.replace("/", "-"),
        "name": name,
        "title": one["title"],
        "href": f"/slos/{quote(name)}",
        "points_href": f"/slos/-/points/{quote(name)}",
        "place": place,
        "what": one["description"],
        "condition": condition_of(one),
        "is": share(one["ratio"], _digits(one["target"])),
        "target": share(one["target"]),
        "over": left is not None and left <= 0,
        "left": "–" if left is None else f"{left * 100:.0f} %" if abs(left) >= 0.1 else f"{left * 100:.1f} %",
        "width": 0 if left is None else round(max(0.0, min(left, 1.0)) * 100, 1),
        "burns": "–" if one["burn_rate"] is None else f"{one['burn_rate']:.2g}×",
        "spent_at": one["exhausts_at"],
        "window": length(float(one["window"])),
    }


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
    one = _find(source, identity, name)
    row = row_of(one)
    placed = one["service"] in source.book().placed.get(one["environment"], {})
    assert source.objectives is not None
    row |= {
        "sentence": _sentence(one, row),
        "service_href": f"/environments/{row['place']}" if placed else "",
        "dashboard_href": f"/dashboards/services/{row['place']}" if placed else "",
        "rates": [
            {
                "over": f"{length(rate['long'])} and {length(rate['short'])}",
                "rate": f"{figure(rate['long_rate'])}× · {figure(rate['short_rate'])}×",
                "limit": f"{rate['limit']:g}×",
                "condition": Condition("critical" if rate["severity"] == "critical" else "warning", "fires")
                if rate["firing"]
                else Condition("ok", "below"),
            }
            for rate in one["burn_rates"]
        ],
        "facts": _facts(one, row),
        "queries": [(label, text) for label, text in one["queries"].items() if text],
    }
    return {"title": one["title"], "row": row, "table": _table(source.objectives.burn_down(name))}


def _facts(one: Mapping[str, Any], row: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [
        ("Indicator", str(one["indicator"])),
        ("Over", str(row["window"])),
        (
            "Budget",
            f"{share(1 - one['target'])} of {figure(one['total'])}"
            if one["total"]
            else share(1 - one["target"]),
        ),
        ("Went wrong", figure(one["bad"]) if one["bad"] is not None else "–"),
        ("Written in", str(one["source"] or "nowhere: every service has it")),
    ]
    return [(name, text) for name, text in found if text]


def _sentence(one: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    if one["remaining"] is None:
        return "There is nothing to judge it by yet."
    said = f"{row['is']} of the last {row['window']}, where {row['target']} is asked for: "
    if one["remaining"] <= 0:
        return said + "the budget is spent."
    going = (
        "and at this rate it lasts."
        if one["exhausts_at"] is None
        else "and at this rate it is spent before its time."
    )
    return f"{said}{row['left']} of the budget is left, {going}"


def _table(burn_down: Mapping[str, Any]) -> Table:
    """The burn-down as a table, the newest first."""
    points = [(float(at), left) for at, left in burn_down["points"] if left is not None]
    each = max(1, -(-len(points) // TABLE_ROWS))
    rows = tuple((at, (f"{left * 100:.1f} %",)) for at, left in points[::-1][::each])
    return Table(("left",), rows)
