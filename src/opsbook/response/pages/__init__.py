"""The console's pages about runbooks, runs, incidents and post-mortems."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from fastapi.routing import APIRoute

from opsbook.response.pages import (
    incident,
    incident_actions,
    incidents,
    postmortems,
    run_actions,
    runbooks,
    runs,
)
from opsbook.response.pages.source import Shell, Source


def routers(source: Source, shell: Shell, route_class: type[APIRoute]) -> Sequence[APIRouter]:
    """All of them. `route_class` makes pages of failures."""
    rooms = (runs, run_actions, runbooks, incidents, incident_actions, postmortems, incident)
    return [room.router(source, shell, route_class) for room in rooms]
