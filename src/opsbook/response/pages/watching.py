"""Which pages of responding an event makes different, and what tells of changes that no event does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opsbook.errors import NotFound
from opsbook.journal import Event
from opsbook.response.pages.source import Source
from opsbook.security.model import Identity
from opsbook.security.plan import may, may_somewhere

TOPICS = ("runbooks", "incidents")


class ResponseWatch:
    """This room's part in live pages."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def topics(self, event: Event) -> Iterable[str]:
        room = event.kind.partition(".")[0]
        if room in {"runbook", "drill"}:
            yield "runbooks"
            name = event.data.get("id")
            if isinstance(name, str):
                yield f"run/{name}"
                yield from self._incidents_of(name)
        elif room in {"incident", "escalation"}:
            yield from ("incidents", "now")
            for field in ("id", "incident", "into"):
                name = event.data.get(field)
                if isinstance(name, str) and name.startswith("inc-"):
                    yield f"incident/{name}"
            if event.subject.startswith("inc-"):
                yield f"incident/{event.subject}"
        elif room == "postmortem":
            yield "incidents"
            name = str(event.data.get("incident", ""))
            yield from (f"postmortem/{name}", f"incident/{name}")
        elif room == "oncall":
            yield "now"
        elif room == "book":
            yield from TOPICS

    def _incidents_of(self, name: str) -> Iterable[str]:
        """The room that shows this run."""
        try:
            incident = self._source.runbooks.records.run(name).incident
        except NotFound:
            return
        if incident:
            yield f"incident/{incident}"

    def may_follow(self, identity: Identity, topic: str) -> bool | None:
        kind, _, name = topic.partition("/")
        if topic in TOPICS:
            return may_somewhere(identity, "view").allowed
        if kind == "run":
            try:
                run = self._source.runbooks.records.run(name)
            except NotFound:
                return False
            return may(identity, "view", run.environment).allowed
        if kind in {"incident", "postmortem"}:
            try:
                incident = self._source.incidents.get(name)
            except NotFound:
                return False
            return may(identity, "view", incident.environment or None).allowed
        return None

    def fingerprint(self, topic: str) -> str | None:
        kind, _, name = topic.partition("/")
        if topic in TOPICS:
            return ""  # all of it is in the journal
        if kind == "run":
            return _digest(self._source.runbooks.view(name, output=False))
        if kind == "incident":
            # Who is paged next is told with what else changes: the words run with the clock.
            return _digest(self._source.incidents.get(name).to_json())
        if kind == "postmortem":
            return ""
        return None

    def points(self, topic: str) -> Sequence[Mapping[str, Any]]:
        del topic
        return ()


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, default=str).encode(), digest_size=12).hexdigest()
