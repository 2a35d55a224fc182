"""The room's documents in the journal's state, typed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opsbook.deployment.model import Abort, Deployment, Placement, Release, Rollout
from opsbook.errors import NotFound
from opsbook.journal import Journal


class Records:
    """Reads the documents; the keys are made here and nowhere else. Writing goes through `Journal.append`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def placement(self, environment: str, service: str) -> Placement:
        """As recorded, or an empty one."""
        document = self._journal.state.get(placement_key(environment, service))
        if document is None:
            return Placement(environment=environment, service=service)
        return Placement.model_validate(document)

    def placements(self, environment: str | None = None) -> list[Placement]:
        prefix = f"placement/{environment}/" if environment else "placement/"
        return [Placement.model_validate(document) for document in self._journal.state.items(prefix).values()]

    def release(self, environment: str, service: str, release: str) -> Release:
        document = self._journal.state.get(release_key(environment, service, release))
        if document is None:
            raise NotFound(f"there is no release {release}", where=f"{environment}/{service}")
        return Release.model_validate(document)

    def releases(self, environment: str | None = None, service: str | None = None) -> list[Release]:
        prefix = "release/" + (f"{environment}/" + (f"{service}/" if service else "") if environment else "")
        return [Release.model_validate(document) for document in self._journal.state.items(prefix).values()]

    def deployment(self, name: str) -> Deployment:
        document = self._journal.state.get(deployment_key(name))
        if document is None:
            raise NotFound(f"there is no deployment {name}", hint="opsbook deployments list", where=name)
        return self._as_asked(Deployment.model_validate(document))

    def _as_asked(self, deployment: Deployment) -> Deployment:
        asked = self._journal.state.get(abort_key(deployment.id))
        allowed = self._journal.state.get(allowed_key(deployment.id))
        if asked is not None:
            deployment = deployment.but(abort=Abort.model_validate(asked))
        return deployment if allowed is None else deployment.but(allowed_step=int(allowed["step"]))

    def deployments(
        self, environment: str | None = None, service: str | None = None, limit: int = 50
    ) -> list[Deployment]:
        """Newest first."""
        found = (
            Deployment.model_validate(document)
            for document in sorted(
                self._journal.state.items("deployment/").values(),
                key=lambda document: document["requested_at"],
                reverse=True,
            )
            if environment in (None, document["environment"]) and service in (None, document["service"])
        )
        return [deployment for deployment, _ in zip(found, range(limit), strict=False)]

    def unfinished(self) -> list[Deployment]:
        documents: Iterable[dict[str, Any]] = self._journal.state.items("deployment/").values()
        return [Deployment.model_validate(d) for d in documents if d.get("finished_at") is None]

    def unfinished_rollouts(self) -> list[Rollout]:
        documents = self._journal.state.items("rollout/").values()
        return [Rollout.model_validate(document) for document in documents if document.get("outcome") is None]

    def rollout(self, name: str) -> Rollout:
        document = self._journal.state.get(rollout_key(name))
        if document is None:
            raise NotFound(f"there is no rollout {name}", where=name)
        return Rollout.model_validate(document)


def placement_key(environment: str, service: str) -> str:
    return f"placement/{environment}/{service}"


def release_key(environment: str, service: str, release: str) -> str:
    return f"release/{environment}/{service}/{release}"


def deployment_key(name: str) -> str:
    return f"deployment/{name}"


def abort_key(name: str) -> str:
    return f"abort/{name}"


def allowed_key(name: str) -> str:
    return f"allowed/{name}"


def rollout_key(name: str) -> str:
    return f"rollout/{name}"


def entry_port_key(environment: str, service: str) -> str:
    return f"entry-port/{environment}/{service}"
