"""The console's pages about what is watched: dashboards, queries, alerts, silences, objectives, probes."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from fastapi.routing import APIRoute

from opsbook.monitoring.pages import alerts, dashboards, explore, objectives, probes, silences
from opsbook.monitoring.pages.source import Shell, Source


def routers(source: Source, shell: Shell, route_class: type[APIRoute]) -> Sequence[APIRouter]:
    """All of them. `route_class` makes pages of failures."""
    rooms = (dashboards, explore, alerts, silences, objectives, probes)
    return [room.router(source, shell, route_class) for room in rooms]
