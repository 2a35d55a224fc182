"""Incidents as people look at them: one state, one word, one sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from opsbook.book import Book
from opsbook.response.incidents.model import Incident
from opsbook.response.pages.runbooks import GIVEN
from opsbook.response.pages.states import Condition, Look

_WORDS: Mapping[str, str] = {"postmortem": "post-mortem"}
_SEVERE: Mapping[str, Look] = {"SEV1": "critical", "SEV2": "critical", "SEV3": "warning", "SEV4": "running"}


def condition_of(incident: Incident) -> Condition:
    """How an incident is."""
    word = _WORDS.get(incident.state, incident.state)
    if incident.state in {"triage", "active"}:
        return Condition(_SEVERE.get(incident.severity, "critical"), word)
    if incident.state == "mitigated":
        return Condition("warning", word)
    if incident.state == "merged":
        return Condition("paused", f"merged into {incident.merged_into}")
    return Condition("ok", "resolved itself" if incident.self_resolved else word)


def ended_at(incident: Incident) -> float | None:
    """When users noticed no more."""
    return incident.resolved_at or incident.mitigated_at or incident.closed_at


def place(incident: Incident) -> str:
    """``checkout, web in production``."""
    services = ", ".join(incident.services)
    return " in ".join(part for part in (services, incident.environment) if part)


def symptom(incident: Incident) -> str:
    """What is wrong, in a sentence that says more than the title; empty where there is none."""
    said = next((one.summary for one in (*incident.firing, *incident.alerts) if one.summary), "")
    return "" if said.strip().casefold() == incident.title.strip().casefold() else said


def rank(incident: Incident) -> tuple[Any, ...]:
    """What needs somebody first."""
    return (
        incident.state == "mitigated",
        incident.acknowledged_at is not None,
        incident.severity,
        -incident.started_at,
    )


def runbook_links(incident: Incident, book: Book) -> list[dict[str, str]]:
    """The pages that are about it, with what is known filled in; the first step of each."""
    names = dict.fromkeys([incident.runbook, *(one.runbook for one in incident.alerts)])
    found = []
    for name in names:
        page = book.runbooks.get((name or "").removeprefix("runbooks/").removesuffix(".md"))
        if page is None:
            continue
        known = {"environment": incident.environment, "service": next(iter(incident.services), "")}
        given = {
            GIVEN + parameter: known[spec.type]
            for parameter, spec in page.head.params.items()
            if known.get(spec.type)
        }
        step = next(iter(page.steps), None)
        found.append({
            "name": page.name,
            "title": page.title,
            "step": (step.title or step.id) if step is not None else "",
            "href": f"/runbooks/{quote(page.name)}?{urlencode({**given, 'incident': incident.id})}",
        })  # fmt: skip
    return found


def roles(incident: Incident) -> Sequence[tuple[str, str]]:
    """Who does what; a role that nobody has is empty."""
    return (
        ("commander", incident.commander or ""),
        ("scribe", incident.scribe or ""),
        ("liaison", incident.liaison or ""),
        ("responders", ", ".join(incident.responders)),
    )
