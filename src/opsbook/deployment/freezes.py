"""Freezes: those of the handbook, and those that somebody adds for now."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from opsbook.book.freezes import Freeze
from opsbook.deployment.gates import ActiveFreeze
from opsbook.deployment.model import Document, Phase
from opsbook.deployment.site import Site
from opsbook.errors import Conflict, Invalid, NotFound
from opsbook.security.model import Identity

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


class AddedFreeze(Document):
    """A freeze that is not in the handbook. `environments` and `services` None: all."""

    name: str
    reason: str
    environments: tuple[str, ...] | None = None
    services: tuple[str, ...] | None = None
    until: float
    roles: tuple[str, ...] = ()
    incidents: bool = False
    by: str
    at: float

    def covers(self, environment: str, service: str) -> bool:
        where, what = self.environments, self.services
        return (where is None or environment in where) and (what is None or service in what)


def active_freezes(
    written: Sequence[Freeze], added: Sequence[AddedFreeze], environment: str, service: str, now: float
) -> tuple[ActiveFreeze, ...]:
    """Those that hold now for this service in this environment. Pure."""
    by_book = [
        ActiveFreeze(
            name=freeze.name,
            reason=freeze.reason,
            until=freeze.next_change(now),
            roles=freeze.exceptions.roles,
            incidents=freeze.exceptions.incidents,
        )
        for freeze in written
        if freeze.covers(environment, service) and freeze.active(now)
    ]
    by_people = [
        ActiveFreeze(
            name=freeze.name,
            reason=freeze.reason,
            until=freeze.until,
            roles=freeze.roles,
            incidents=freeze.incidents,
        )
        for freeze in added
        if freeze.covers(environment, service) and now < freeze.until
    ]
    return (*by_book, *by_people)


class Freezes:
    """Adding, lifting, listing."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def add(
        self,
        name: str,
        who: Identity,
        *,
        reason: str,
        until: float,
        environments: Sequence[str] | None = None,
        services: Sequence[str] | None = None,
        roles: Sequence[str] = (),
        incidents: bool = False,
    ) -> AddedFreeze:
        """Forbid deployments from now until `until`. What has passed its gates goes on; rollbacks always may.

        Raises:
            Invalid: the name, the time, or an environment or service that is not known. Conflict: the name is taken.
        """
        book, now = self._site.book(), self._site.clock.now()
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name!r} is no name for a freeze", hint="lower case letters, digits and hyphens")
        if until <= now:
            raise Invalid("the freeze would be over already", hint="--until 2027-01-02T08:00, or --until 4h")
        for environment in environments or ():
            book.environment(environment)
        for service in services or ():
            book.service(service)
        if name in {freeze.name for freeze in book.freezes} | {freeze.name for freeze in self.added()}:
            raise Conflict(f"there is a freeze {name} already", hint="opsbook freeze list", where=name)
        freeze = AddedFreeze(
            name=name,
            reason=reason.strip() or "no reason given",
            environments=tuple(environments) if environments else None,
            services=tuple(services) if services else None,
            until=until,
            roles=tuple(roles),
            incidents=incidents,
            by=who.actor,
            at=now,
        )
        shown = ("name", "reason", "environments", "services", "until")
        about = {key: value for key, value in freeze.to_json().items() if key in shown}
        self._site.journal.append(
            "freeze.added",
            _subject(freeze),
            about | {"under_way": self._under_way(freeze)},
            actor=who.actor,
            put={_key(name): freeze.to_json()},
        )
        return freeze

    def _under_way(self, freeze: AddedFreeze) -> list[str]:
        return [
            deployment.id
            for deployment in self._site.records.unfinished()
            if freeze.covers(deployment.environment, deployment.service)
            and deployment.phase not in (Phase.PENDING, Phase.GATED)
        ]

    def get(self, name: str) -> AddedFreeze:
        """One that somebody added.

        Raises:
            Invalid: it is the handbook's, where alone it can be changed. NotFound.
        """
        if any(freeze.name == name for freeze in self._site.book().freezes):
            raise Invalid(
                f"the freeze {name} is written in the handbook",
                hint="change it there: deployment/freezes.yaml",
                where=name,
            )
        found = next((freeze for freeze in self.added() if freeze.name == name), None)
        if found is None:
            raise NotFound(f"there is no freeze {name}", hint="opsbook freeze list", where=name)
        return found

    def lift(self, name: str, who: Identity) -> AddedFreeze:
        """End it now. Raises as `get` does."""
        freeze = self.get(name)
        about = {"name": name}
        self._site.journal.append(
            "freeze.lifted", _subject(freeze), about, actor=who.actor, put={_key(name): None}
        )
        return freeze

    def added(self) -> list[AddedFreeze]:
        """Those that somebody added and that are not over."""
        now = self._site.clock.now()
        found = self._site.journal.state.items("freeze/").values()
        freezes = [AddedFreeze.model_validate(document) for document in found]
        return [freeze for freeze in freezes if now < freeze.until]

    def active(self, environment: str, service: str) -> tuple[ActiveFreeze, ...]:
        """Those that hold now."""
        book, now = self._site.book(), self._site.clock.now()
        return active_freezes(book.freezes, self.added(), environment, service, now)

    def listed(self) -> list[dict[str, Any]]:
        """All, those that hold now first, then by when they change next."""
        now = self._site.clock.now()
        rows = [_of_book(freeze, now) for freeze in self._site.book().freezes]
        rows += [_of_person(freeze) for freeze in self.added()]
        return sorted(rows, key=lambda row: (not row["active"], row["until"] or row["next"] or float("inf")))


def _of_book(freeze: Freeze, now: float) -> dict[str, Any]:
    active, change = freeze.active(now), freeze.next_change(now)
    return {
        "name": freeze.name,
        "reason": freeze.reason,
        "environments": freeze.environments,
        "services": freeze.services,
        "active": active,
        "until": change if active else None,
        "next": None if active else change,
        "weekly": freeze.weekly is not None,
        "roles": freeze.exceptions.roles,
        "incidents": freeze.exceptions.incidents,
        "by": "handbook",
    }


def _of_person(freeze: AddedFreeze) -> dict[str, Any]:
    return {
        "name": freeze.name,
        "reason": freeze.reason,
        "environments": freeze.environments,
        "services": freeze.services,
        "active": True,
        "until": freeze.until,
        "next": None,
        "weekly": False,
        "roles": freeze.roles,
        "incidents": freeze.incidents,
        "by": freeze.by,
    }


def _subject(freeze: AddedFreeze) -> str:
    """Where one environment is meant, its own; so that whoever looks at it alone sees it."""
    where = freeze.environments
    return where[0] if where is not None and len(where) == 1 else "freezes"


def _key(name: str) -> str:
    return f"freeze/{name}"
