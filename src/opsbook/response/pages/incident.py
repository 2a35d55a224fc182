"""``/incidents/ID``: the room of one incident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import Response as Plain
from fastapi.routing import APIRoute

from opsbook.errors import NotFound, OpsbookError
from opsbook.response.incidents.model import Incident
from opsbook.response.pages.asking import Button, button, refusals
from opsbook.response.pages.incident_states import (
    condition_of,
    ended_at,
    place,
    roles,
    runbook_links,
    symptom,
)
from opsbook.response.pages.incidents import incident_for
from opsbook.response.pages.prose import part_of_a_page
from opsbook.response.pages.runbooks import run_row
from opsbook.response.pages.source import Shell, Source
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import may

SUSPECTS = 5
SHOWN = 4000  # characters of an attachment on the page; the rest is a click away
MOMENTS = 50
READ = 2  # attachments whose text is on the page
RUNS = 8
UPDATES = 5
TYPES = {"text": "text/plain; charset=utf-8", "json": "application/json", "svg": "image/svg+xml"}
_BESIDE = 300.0  # seconds that are drawn before and after an incident that is over
_SPANS = ((2700, "1h"), (5 * 3600, "6h"), (20 * 3600, "24h"))
QUIET = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "Cache-Control": "private, no-cache",
}
"""For what others wrote: whatever is in it, nothing of it runs, and nothing is fetched."""


def router(source: Source, shell: Shell, route_class: type[APIRoute]) -> APIRouter:
    """The room, and what is attached there."""
    routes = APIRouter(prefix="/incidents/{name}", include_in_schema=False, route_class=route_class)

    @routes.get("")
    def room(request: Request, name: str, whole: bool = False) -> Response:
        """The room; with `whole` everything that it has, however long the page gets."""
        incident_for(source, request, name)
        return room_page(source, shell, request, name, whole=whole)

    @routes.get("/attachments/{attachment}")
    def attachment(request: Request, name: str, attachment: str) -> Response:
        incident = incident_for(source, request, name)
        found = next((one for one in incident.attachments if one.id == attachment), None)
        if found is None:
            raise NotFound(f"{name} has no attachment {attachment}", where=name)
        body = source.incidents.attachment(name, attachment)
        return Plain(body, headers=QUIET, media_type=TYPES.get(found.kind, TYPES["text"]))

    return routes


def room_page(
    source: Source,
    shell: Shell,
    request: Request,
    name: str,
    *,
    whole: bool = False,
    typed: str = "",
    error: OpsbookError | None = None,
) -> Response:
    """The room. `typed`: the note that was refused by `error`."""
    identity = signed_in(request)
    return shell.page(
        request,
        "response/incident.html",
        lambda: {**_room(source, identity, name, whole=whole), "typed": typed, "error": error},
        topics=(f"incident/{name}",) if error is None else (),
        status=error.http_status if error is not None else 200,
    )


def _room(source: Source, identity: Identity, name: str, *, whole: bool) -> dict[str, Any]:
    incident = source.incidents.get(name)
    postmortem = _postmortem(source, incident)
    buttons, further = _buttons(identity, incident, escalates=source.escalations is not None)
    timeline, runs = _timeline(source, name), _runs(source, identity, incident)
    most = len(timeline) + len(runs) if whole else 0
    noting = may(identity, "run", incident.environment or None)
    return {
        "title": f"{incident.id} · {incident.title}",
        "incident": incident,
        "condition": condition_of(incident),
        "open": incident.open,
        "ended_at": ended_at(incident),
        "place": place(incident),
        "symptom": symptom(incident),
        "next": source.next_page(name) if incident.open else None,
        "runbooks": runbook_links(incident, source.book()),
        "roles": roles(incident),
        "buttons": [
            *(
                [Button("postmortem", "Post-mortem", postmortem, look="first", sheet=False)]
                if postmortem
                else []
            ),
            *buttons,
        ],
        "further": further,
        "refused": refusals([*buttons, *further]),
        "noting": noting,
        "asked_at": source.now(),
        "chart": _chart(source, incident),
        "suspects": [_suspect(one) for one in incident.suspects[:SUSPECTS]],
        "runs": runs[: max(RUNS, most)],
        "attachments": [
            _attachment(source, incident, one, read=whole or number < READ)
            for number, one in enumerate(reversed(incident.attachments))
        ],
        "timeline": timeline[: max(MOMENTS, most)],
        "older": 0 if whole else max(0, len(timeline) - MOMENTS),
        "updates": list(reversed(incident.updates))[: None if whole else UPDATES],
        "late": incident.next_update_at is not None and incident.next_update_at < source.now(),
        "diagnose": [
            f"/diagnose/{quote(incident.environment)}/{quote(service)}" for service in incident.services
        ]
        if incident.environment
        else [],
        "postmortem": postmortem,
    }


def _chart(source: Source, incident: Incident) -> dict[str, Any] | None:
    """What the first alert's condition compares: lately, or, of one that is over, around its own time."""
    first = next(iter(incident.alerts), None)
    if first is None or not source.charts:
        return None
    now, start, end = source.now(), incident.started_at, incident.resolved_at
    around = None
    if not incident.open and end is not None and end >= start:
        beside = max(_BESIDE, (end - start) / 2)
        around = (round(start - beside), round(min(now, end + beside)))
    elapsed = now - start
    return {
        "around": around,
        "href": f"/alerts/{quote(first.fingerprint)}",
        "name": first.labels.get("alertname", "alert"),
        "range": next((span for limit, span in _SPANS if elapsed < limit), "7d"),
    }


def _suspect(suspect: Any) -> dict[str, Any]:
    """A suspect with where one looks at it."""
    href = ""
    if suspect.event:
        href = f"/journal?before={int(suspect.event) + 1}#event-{int(suspect.event)}"
    return {
        "suspect": suspect,
        "href": href,
        "likely": "likely" if suspect.score >= 0.6 else "possible" if suspect.score >= 0.3 else "unlikely",
    }


def _runs(source: Source, identity: Identity, incident: Incident) -> Sequence[dict[str, Any]]:
    # Of those whose record was cleared away the timeline tells.
    known = source.runbooks.records.several(list(incident.runs))
    return [run_row(run) for run in known.values() if may(identity, "view", run.environment).allowed]


def _attachment(source: Source, incident: Incident, attachment: Any, *, read: bool) -> dict[str, Any]:
    """With its text where that is to be read; a picture stands for itself."""
    text, cut = "", False
    if read and attachment.kind != "svg":
        try:
            whole = source.incidents.attachment(incident.id, attachment.id)
        except OpsbookError:
            whole = ""
        text, cut = whole[:SHOWN], len(whole) > SHOWN
    return {
        "attachment": attachment,
        "href": f"/incidents/{incident.id}/attachments/{quote(attachment.id)}",
        "read": read,
        "text": text,
        # A diagnosis is written to be read; what stands in it of other people's is escaped there, and once more here.
        "prose": part_of_a_page(text.partition("\n")[2]) if text.startswith("### ") else "",
        "cut": cut,
    }


def _timeline(source: Source, name: str) -> Sequence[Mapping[str, Any]]:
    """The newest first."""
    found = list(source.incidents.timeline(name))
    return list(reversed(found))


def _postmortem(source: Source, incident: Incident) -> str:
    """The address of its post-mortem, where it has one or may get one."""
    has = incident.postmortem or (
        source.postmortems is not None and not incident.open and incident.state != "merged"
    )
    return f"/incidents/{incident.id}/postmortem" if has else ""


def _buttons(identity: Identity, incident: Incident, *, escalates: bool) -> tuple[list[Button], list[Button]]:
    """What one most likely wants now, and everything else."""

    def one(name: str, label: str, look: str = "") -> Button:
        where = incident.environment or None
        return button(identity, "run", where, name, label, f"/incidents/{incident.id}/{name}", look)

    if incident.state == "merged":
        return [], []
    if not incident.open:
        closing = [] if incident.state == "closed" else [one("close", "Close…")]
        return [one("reopen", "Reopen…")], [
            *closing,
            one("action", "Add an action…"),
            one("severity", "Severity…"),
        ]
    escalate = [one("escalate", "Escalate…")] if escalates else []
    mitigate = [] if incident.state == "mitigated" else [one("mitigate", "Mitigated…")]
    resolve = one("resolve", "Resolve…")
    further = [
        one("update", "Send an update…"),
        one("role", "Give a role…"),
        one("severity", "Severity…"),
        one("action", "Add an action…"),
        one("merge", "Merge…"),
    ]
    if incident.acknowledged_at is None and incident.state != "mitigated":
        return [one("acknowledge", "Acknowledge…", "first"), *escalate], [*mitigate, resolve, *further]
    now = (
        [one("mitigate", "Mitigated…", "first"), resolve]
        if mitigate
        else [one("resolve", "Resolve…", "first")]
    )
    return now, [*escalate, *further]
