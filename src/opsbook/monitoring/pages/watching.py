"""Which pages of monitoring an event makes different, and what tells of changes that no event does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opsbook.journal import Event
from opsbook.monitoring.pages.source import Source
from opsbook.security.model import Identity
from opsbook.security.plan import may_somewhere

TOPICS = ("alerts", "figures", "probes", "slos")
_KINDS: Mapping[str, tuple[str, ...]] = {
    "alert": ("alerts", "now", "figures", "slos"),
    "silence": ("alerts", "now"),
    "notification": ("alerts",),
    "probe": ("probes",),
    "slo": ("slos", "now"),
    "book": TOPICS,
}


class MonitoringWatch:
    """This room's part in live pages."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def topics(self, event: Event) -> Iterable[str]:
        return _KINDS.get(event.kind.partition(".")[0], ())

    def may_follow(self, identity: Identity, topic: str) -> bool | None:
        return may_somewhere(identity, "view").allowed if topic in TOPICS else None

    def fingerprint(self, topic: str) -> str | None:
        match topic:
            case "alerts":
                # Values change with every look: they are told with what else changes, or when the page is opened.
                rules = [
                    (one["fingerprint"], one["state"], one["missing_since"])
                    for one in self._source.rules.alerts()
                ]
                known = [
                    (one.alert.fingerprint, one.state, [why.by for why in one.suppressions])
                    for one in self._source.alerting.alerts()
                ]
                return _digest([rules, known])
            case "figures":
                return _digest([line.to_json() for line in self._source.top.lines()])
            case "probes":
                return _digest(self._source.probes.listed() if self._source.probes is not None else ())
            case "slos":
                found = self._source.objectives.listed() if self._source.objectives is not None else ()
                return _digest(found)
        return None

    def points(self, topic: str) -> Sequence[Mapping[str, Any]]:
        del topic
        return ()


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, default=str).encode(), digest_size=12).hexdigest()
