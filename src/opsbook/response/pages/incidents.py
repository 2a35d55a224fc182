"""``/incidents``: what is open, the worst first; what was; how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from opsbook.errors import NotFound
from opsbook.response.incidents.model import SEVERITIES, STATES, Incident
from opsbook.response.pages.asking import Button, button
from opsbook.response.pages.incident_states import (
    condition_of,
    ended_at,
    place,
    rank,
    symptom,
)
from opsbook.response.pages.source import Shell, Source
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may, may_somewhere, sees, visible

LISTED = 100
SEARCHED = 2000
DAYS = 90


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """``/incidents``."""
    routes = APIRouter(prefix="/incidents", include_in_schema=False, route_class=route_class)

    @routes.get("")
    def listed(
        request: Request, state: str = "", severity: str = "", environment: str = "", service: str = ""
    ) -> Response:
        identity = signed_in(request)
        wanted = {"state": state, "severity": severity, "environment": environment, "service": service}
        return shell.page(
            request,
            "response/incidents.html",
            lambda: _listed(source, identity, wanted),
            topics=("incidents",),
        )

    return routes


def incident_for(source: Source, request: Request, name: str) -> Incident:
    """The incident, for somebody who may look at its environment. Raises NotFound."""
    incident = source.incidents.get(name)
    if not may(signed_in(request), "view", incident.environment or None).allowed:
        raise NotFound(f"there is no incident {name} that you may look at", where=name)
    return incident


def seen(source: Source, identity: Identity, *, limit: int = SEARCHED) -> list[Incident]:
    """Those that whoever is asking may know of, the newest first."""
    mine = visible(identity)
    return [one for one in source.incidents.listed(limit=limit) if sees(mine, one.environment)]


def card(source: Source, incident: Incident) -> dict[str, Any]:
    """An open incident as one should see it at a glance."""
    return {
        **row(incident),
        "symptom": symptom(incident) or next((one.text for one in incident.suspects), ""),
        "commander": incident.commander or "",
        "acknowledged_by": incident.acknowledged_by or "",
        "next": source.next_page(incident.id),
        "next_update_at": incident.next_update_at,
    }


def row(incident: Incident) -> dict[str, Any]:
    """An incident as a line of a table."""
    return {
        "id": incident.id,
        "condition": condition_of(incident),
        "severity": incident.severity,
        "title": incident.title,
        "place": place(incident),
        "at": incident.started_at,
        "until": ended_at(incident),
        "commander": incident.commander or incident.acknowledged_by or "",
        "postmortem": incident.postmortem or "",
        "open_actions": sum(1 for one in incident.actions if one.done_at is None),
    }


def open_incidents(source: Source, identity: Identity) -> list[dict[str, Any]]:
    """For the first screen: what needs somebody first."""
    mine = visible(identity)
    found = (one for one in source.incidents.listed("open") if sees(mine, one.environment))
    return [card(source, one) for one in sorted(found, key=rank)]


def _listed(source: Source, identity: Identity, wanted: Mapping[str, str]) -> dict[str, Any]:
    every = [one for one in seen(source, identity) if _matches(one, wanted)]
    state = wanted["state"]
    chosen = [one for one in every if not state or one.state == state or (state == "open" and one.open)]
    ended = [one for one in chosen if not one.open]
    mine, book = visible(identity), source.book()
    return {
        "title": "Incidents",
        "wanted": wanted,
        "open": [card(source, one) for one in sorted((one for one in chosen if one.open), key=rank)],
        "rows": [row(one) for one in ended[:LISTED]],
        "more": max(0, len(ended) - LISTED),
        "states": ("open", *STATES),
        "environments": [name for name in book.environments if sees(mine, name)],
        "services": sorted(book.services),
        "figures": figures(source) if mine is None else (),  # of all environments together
        "days": DAYS,
        "declare": _declare(identity),
        "severities": SEVERITIES,
        "filtered": any(wanted.values()),
    }


def _declare(identity: Identity) -> Button:
    if may_somewhere(identity, "run").allowed:
        return Button("declare", "Declare…", "/incidents/declare", look="danger")
    return button(identity, "run", None, "declare", "Declare…", "/incidents/declare", "danger")


def figures(source: Source) -> Sequence[tuple[str, str, Mapping[str, Any]]]:
    """Median and p90 of how long it took, of the last `DAYS` days."""
    found = source.incidents.figures(source.now() - DAYS * 86_400)
    names = (("mttd", "To detect"), ("mtta", "To acknowledge"), ("mttr", "To resolve"))
    return [(key, word, found[key]) for key, word in names if found.get(key)]


def _matches(incident: Incident, wanted: Mapping[str, str]) -> bool:
    return (
        wanted["severity"] in ("", incident.severity)
        and wanted["environment"] in ("", incident.environment)
        and (not wanted["service"] or wanted["service"] in incident.services)
    )
