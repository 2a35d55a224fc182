"""What is kept with an incident: promises, runs, what was looked at, its post-mortem. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from opsbook.errors import Conflict, Invalid, NotFound
from opsbook.response.incidents.model import ATTACHMENTS, Action, Attachment, Incident
from opsbook.response.incidents.plan import Changed, Note, refuse_when_merged, state_note
from opsbook.response.incidents.text import line

LARGEST: Final = 256 * 1024
"""Bytes of an attachment."""
_ATTACHMENTS, _ACTIONS, _RUNS = 100, 200, 500  # at most


def day(text: str) -> str:
    """A due date as it is kept. Raises Invalid."""
    if not text:
        return ""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date().isoformat()
    except ValueError:
        raise Invalid(
            f"expected a day such as 2026-12-01, got {line(text, 40)!r}", hint="--due 2026-12-01"
        ) from None


def action_added(incident: Incident, text: str, owner: str, due: str, actor: str) -> Changed:
    """Somebody promises to do something. Raises Invalid, Conflict (it was merged, or there are too many)."""
    refuse_when_merged(incident)
    said, until = line(text, 500), day(due)
    if not said:
        raise Invalid("an action needs words", hint='opsbook incidents action "TEXT"')
    if len(incident.actions) >= _ACTIONS:
        raise Conflict(f"{incident.id} has {_ACTIONS} actions already", where=incident.id)
    made = Action(f"a{len(incident.actions) + 1}", said, owner, until, by=actor)
    told = {"id": made.id, "text": said, "owner": owner, "due": until}
    return Changed(incident.but(actions=(*incident.actions, made)), (Note("action_added", told),))


def action_done(incident: Incident, name: str, now: float) -> Changed:
    """What was promised is done. Raises NotFound."""
    found = next((one for one in incident.actions if one.id == name), None)
    if found is None:
        raise NotFound(
            f"{incident.id} has no action {line(name, 40)}", hint=f"opsbook incidents show {incident.id}"
        )
    if found.done_at is not None:
        return Changed(incident)
    over = Action(found.id, found.text, found.owner, found.due, now, found.by)
    after = incident.but(actions=tuple(over if one is found else one for one in incident.actions))
    return Changed(after, (Note("action_done", {"id": name, "text": found.text}),))


def run_added(incident: Incident, run: str) -> Changed:
    """A run of a runbook belongs to it."""
    if run in incident.runs or len(incident.runs) >= _RUNS:
        return Changed(incident)
    return Changed(incident.but(runs=(*incident.runs, run)), (Note("run_added", {"run": run}),))


def sound(kind: str, body: str, where: str) -> None:
    """Raises Invalid when an attachment is of no known kind, too large, or not what it says."""
    if kind not in ATTACHMENTS:
        raise Invalid(f"there is no attachment of kind {kind!r}", hint=f"one of {', '.join(ATTACHMENTS)}")
    if len(body.encode("utf-8", "replace")) > LARGEST:
        raise Invalid("the attachment is too large", hint=f"at most {LARGEST // 1024} KiB", where=where)
    if kind == "json":
        try:
            json.loads(body)
        except ValueError as error:
            raise Invalid(f"the attachment is not JSON: {error}", where=where) from None


def attached(incident: Incident, name: str, kind: str, actor: str, now: float) -> Changed:
    """Something is kept with it: its last attachment then. Raises Conflict when there are too many."""
    if len(incident.attachments) >= _ATTACHMENTS:
        raise Conflict(f"{incident.id} has {_ATTACHMENTS} attachments already", where=incident.id)
    made = Attachment(f"{len(incident.attachments) + 1}", name, kind, now, actor)
    note = Note("attached", {"id": made.id, "name": name, "kind": kind})
    return Changed(incident.but(attachments=(*incident.attachments, made)), (note,))


def written_up(incident: Incident, path: str, impact: Mapping[str, Any] | None) -> Changed:
    """Its post-mortem lies in the handbook. Raises Conflict when it was merged."""
    refuse_when_merged(incident)
    after = incident.but(postmortem=path, impact=impact)
    if incident.state != "resolved":
        return Changed(after)
    return Changed(after.but(state="postmortem"), (state_note(incident, "postmortem", path, by_itself=True),))
