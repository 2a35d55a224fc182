"""Which pages an event makes different, and what tells of changes that no event does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opsbook.deployment.pages.source import Source
from opsbook.errors import NotFound
from opsbook.journal import Event
from opsbook.security.model import Identity
from opsbook.security.plan import may, may_somewhere

OVERALL = ("now", "deployments")
_ROOMS = ("deployment.", "instance.", "traffic.", "placement.", "rollout.", "release.", "book.", "freeze.", "hold.",
          "checklist.", "lease.")  # fmt: skip


class DeploymentWatch:
    """This room's part in live pages."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def topics(self, event: Event) -> Iterable[str]:
        if not event.kind.startswith(_ROOMS):
            return
        yield from OVERALL
        environment, _, service = event.subject.removeprefix("deploy/").partition("/")
        yield f"environment/{environment}"
        if service:
            yield f"service/{environment}/{service}"
        for field in ("id", "deployment", "by"):
            name = event.data.get(field)
            if isinstance(name, str) and name.startswith("d-"):
                yield f"deployment/{name}"

    def may_follow(self, identity: Identity, topic: str) -> bool | None:
        kind, _, rest = topic.partition("/")
        if topic in OVERALL:
            return may_somewhere(identity, "view").allowed
        if kind in ("environment", "service"):
            return may(identity, "view", rest.partition("/")[0]).allowed
        if kind == "deployment":
            try:
                return may(identity, "view", self._source.records.deployment(rest).environment).allowed
            except NotFound:
                return False
        return None

    def fingerprint(self, topic: str) -> str | None:
        kind, _, rest = topic.partition("/")
        match kind:
            case "now":
                running = [self._of_deployment(one.id) for one in self._source.records.unfinished()]
                return _digest([self._source.room.status(None)["environments"], running])
            case "deployments":
                return ""  # all of it is in the journal
            case "environment" | "service":
                environment, _, service = rest.partition("/")
                found = self._source.room.status(environment)["environments"][environment]["services"]
                return _digest(found.get(service) if service else found)
            case "deployment":
                return _digest(self._of_deployment(rest))
        return None

    def points(self, topic: str) -> Sequence[Mapping[str, Any]]:
        kind, _, name = topic.partition("/")
        if kind != "deployment" or not self._source.records.deployment(name).strategy.analysis:
            return ()
        points: Sequence[Mapping[str, Any]] = self._source.room.analysis(name).get("points") or ()
        return points

    def _of_deployment(self, name: str) -> Any:
        view = self._source.room.view(name)
        analysis = self._source.room.analysis(name)
        # `steps` are the transitions once more, with clocks that run.
        kept = {key: value for key, value in view.items() if key not in ("steps", "transitions", "log_tail")}
        return kept, analysis.get("verdict"), analysis.get("reason")


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, default=str).encode(), digest_size=12).hexdigest()
