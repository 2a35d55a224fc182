"""Which pages an event makes different, and what tells of looks that end meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

from opsbook.journal import Event
from opsbook.response.diagnosis import kinds
from opsbook.response.diagnosis.room import Diagnoses
from opsbook.security.model import Identity
from opsbook.security.plan import may

TOPIC = "diagnosis"


def topic_of(environment: str, service: str) -> str:
    return f"{TOPIC}/{environment}/{service}"


class DiagnosisWatch:
    """This room's part in live pages; see `opsbook.server.console.live.Watch`."""

    def __init__(self, room: Diagnoses) -> None:
        self._room = room

    def topics(self, event: Event) -> Iterable[str]:
        if event.kind == kinds.MADE.name:
            yield f"{TOPIC}/{event.subject}"

    def may_follow(self, identity: Identity, topic: str) -> bool | None:
        kind, _, rest = topic.partition("/")
        return may(identity, "view", rest.partition("/")[0]).allowed if kind == TOPIC else None

    def fingerprint(self, topic: str) -> str | None:
        kind, _, rest = topic.partition("/")
        if kind != TOPIC:
            return None
        environment, _, service = rest.partition("/")
        work = self._room.under_way(environment, service)
        return "" if work is None else f"{work.id} {len(work.checks)}"

    def points(self, topic: str) -> tuple[()]:
        del topic
        return ()
