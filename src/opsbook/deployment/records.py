"""The room's documents in the journal's state, typed."""

from __future__ import annotations

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
        """Newest first. Their ids are numbered, so only as many are read as are wanted."""
        found: list[Deployment] = []
        for number in range(int(self._journal.state.get(COUNTER) or 0), 0, -1):
            document = self._journal.state.get(deployment_key(f"d-{number}"))
            if document is None or environment not in (None, document["environment"]):
                continue
            if service in (None, document["service"]):
                found.append(Deployment.model_validate(document))
                if len(found) >= limit:
                    break
        return found

    def unfinished(self) -> list[Deployment]:
        """All that have not ended; cheap however many there have been."""
        names = (key.removeprefix(open_key("")) for key in self._journal.state.items(open_key("")))
        return [self.deployment(name) for name in names]

    def unfinished_rollouts(self) -> list[Rollout]:
        documents = self._journal.state.items("rollout/").values()
        return [Rollout.model_validate(document) for document in documents if document.get("outcome") is None]

    def rollout(self, name: str) -> Rollout:
        document = self._journal.state.get(rollout_key(name))
        if document is None:
            raise NotFound(f"there is no rollout {name}", where=name)
        return Rollout.model_validate(document)


COUNTER = "counter/deployment"


def open_key(name: str) -> str:
    """There is such a document exactly while the deployment has not ended."""
    return f"open/{name}"


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
