"""The console's pages about deployments, services and environments."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from fastapi.routing import APIRoute

from opsbook.deployment.pages import deployment_actions, deployments, service_actions, services
from opsbook.deployment.pages.source import Shell, Source


def routers(source: Source, shell: Shell, route_class: type[APIRoute]) -> Sequence[APIRouter]:
    """All of them. `route_class` makes pages of failures."""
    rooms = (deployments, deployment_actions, services, service_actions)
    return [room.router(source, shell, route_class) for room in rooms]
