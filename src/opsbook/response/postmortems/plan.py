"""When a post-mortem is written by itself, and when again. Pure."""

from __future__ import annotations

import hashlib
import json

from opsbook.book.postmortems import PostmortemsSpec
from opsbook.response.incidents.model import Incident
from opsbook.response.postmortems.model import Record

OVER = ("resolved", "postmortem")
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 3600.0


def due(incident: Incident, record: Record | None, spec: PostmortemsSpec, now: float) -> bool:
    """Whether a post-mortem is to be written now: the incident is over, and what is written is not of this state.

    A closed incident's page is people's alone. What failed is tried again, with pauses that double.
    """
    if incident.state not in OVER or incident.severity not in spec.severities:
        return False
    if incident.self_resolved and not spec.self_resolved:
        return False
    if record is None:
        return True
    if record.failed:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(record.tries - 1, 10))
        return not record.written_at <= now < record.written_at + pause
    return record.state != state_of(incident)


def state_of(incident: Incident) -> str:
    """What a page depends on and people may still change afterwards, as a short digest."""
    said = [
        incident.title,
        incident.severity,
        incident.started_at,
        incident.mitigated_at,
        incident.resolved_at,
        incident.reopened,
        list(incident.merged),
        list(incident.runs),
        [[action.id, action.text, action.owner, action.due, action.done_at] for action in incident.actions],
    ]
    return hashlib.sha256(json.dumps(said).encode("utf-8", "surrogatepass")).hexdigest()[:16]
