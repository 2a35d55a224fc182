"""What channels are told of an incident: that it began, how it goes, that it is over. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from opsbook.response.incidents.model import Incident
from opsbook.terminal import duration


@dataclass(frozen=True, slots=True)
class Telling:
    """Words for a channel. `id` stays the same however often it is tried."""

    id: str
    channel: str
    incident: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Words:
    """The same for every channel. `key` tells it from all else that is said of the incident."""

    key: str
    title: str
    text: str


def words_for(incident: Incident, kinds: Collection[str]) -> Words | None:
    """What is said after a change; None: nothing.

    Args:
        kinds: of the notes of that change.
    """
    where = " ".join(one for one in (incident.environment, ", ".join(incident.services)) if one)
    head = f"{incident.severity} {incident.id} {incident.title}"
    if "opened" in kinds:
        return Words("opened", head, f"An incident began: {where or 'no place is known'}.")
    if "reopened" in kinds:
        return Words(f"reopened-{incident.reopened}", head, "It was not over: the incident is open again.")
    if "updated" in kinds and incident.updates:
        return Words(f"update-{len(incident.updates)}", head, incident.updates[-1].text)
    if "state" in kinds and incident.state == "resolved" and incident.resolved_at is not None:
        lasted = duration(max(0.0, incident.resolved_at - incident.started_at))
        own = " by itself" if incident.self_resolved else ""
        return Words(f"resolved-{incident.reopened}", head, f"Resolved{own} after {lasted}.")
    return None
