"""What the pages need of the room and of the console's shell; all handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import Request, Response

from opsbook.book import Book
from opsbook.deployment.gatekeeper import Gatekeeper
from opsbook.deployment.model import Deployment, Placement, Release, Rollout
from opsbook.deployment.requests import DeployRequest

Json = dict[str, Any]


class Shell(Protocol):
    """Renders pages; `opsbook.server.console.shell.Shell` is one."""

    def page(
        self,
        request: Request,
        template: str,
        make: Callable[[], Mapping[str, Any]],
        *,
        topics: tuple[str, ...] = (),
        status: int = 200,
    ) -> Response: ...

    def see_other(self, path: str) -> Response: ...


class Verbs(Protocol):
    """What a person may ask of the room; `opsbook.deployment.requests.Requests` has them."""

    def deploy(self, request: DeployRequest, actor: str) -> Rollout: ...

    def rollback(self, service: str, environment: str, to: str | None, actor: str) -> Rollout: ...

    def scale(self, service: str, environment: str, replicas: int, actor: str) -> Rollout: ...

    def restart(self, service: str, environment: str, actor: str) -> Rollout: ...

    def promote(self, service: str, environment: str, actor: str) -> Rollout: ...

    def abort(self, name: str, reason: str, actor: str) -> Deployment: ...

    def allow(self, name: str, actor: str, comment: str = "") -> Deployment: ...


class Records(Protocol):
    """The room's documents; `opsbook.deployment.records.Records` has them."""

    def deployment(self, name: str) -> Deployment: ...

    def deployments(
        self, environment: str | None = None, service: str | None = None, limit: int = 50
    ) -> list[Deployment]: ...

    def unfinished(self) -> list[Deployment]: ...

    def placement(self, environment: str, service: str) -> Placement: ...

    def placements(self, environment: str | None = None) -> list[Placement]: ...

    def release(self, environment: str, service: str, release: str) -> Release: ...

    def releases(self, environment: str | None = None, service: str | None = None) -> list[Release]: ...


class Room(Protocol):
    """`opsbook.deployment.room.Deployments`, as far as pages need it."""

    def view(self, name: str) -> Json: ...

    def status(self, environment: str | None = None) -> Json: ...

    def plans(self, environment: str | None, services: frozenset[str]) -> list[Json]: ...

    def analysis(self, name: str) -> Json: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """All of it, and the handbook and the clock."""

    room: Room
    verbs: Verbs
    records: Records
    gates: Gatekeeper
    book: Callable[[], Book]
    now: Callable[[], float]
