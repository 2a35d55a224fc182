"""The kinds of events that escalation writes, registered when the room is opened."""

from __future__ import annotations

from opsbook.journal import register

_OF = {"incident": "the incident's id", "turn": "counts how often the chain began"}

register(
    "escalation.begun",
    "An incident begins to page people.",
    _OF | {"title": "of the incident", "severity": "of the incident", "chain": "the chain's name"},
)
register(
    "escalation.paged",
    "Somebody is paged.",
    _OF
    | {
        "page": "the page's id",
        "person": "whom",
        "name": "what the chain calls them",
        "channel": "by which channel",
        "step": "the step's number from 1 on, counted through all repetitions",
    },
)
register(
    "escalation.skipped",
    "A step of an escalation reaches nobody; the next one is due at once.",
    _OF
    | {
        "page": "the names that it pages",
        "position": "its number from 0 on, counted through all repetitions",
    },
)
register(
    "escalation.acknowledged",
    "Somebody has an incident: nobody else is paged for now.",
    _OF | {"by": "who", "seconds": "since the chain began", "title": "of the incident"},
)
register(
    "escalation.retriggered",
    "An escalation begins anew.",
    _OF | {"why": "why"},
)
register(
    "escalation.hurried",
    "Somebody asked that the next step be paged now.",
    _OF | {"by": "who"},
)
register(
    "escalation.exhausted",
    "Nobody has answered in all steps and repetitions; the handbook's owner is paged.",
    _OF | {"pages": "how many there were"},
)
register(
    "escalation.ended",
    "An incident pages nobody any more.",
    _OF | {"why": "why", "pages": "how many there were"},
)
register(
    "escalation.overdue",
    "The watchdog found an escalation that did not go on, and paged the handbook's owner.",
    {"incident": "the incident's id", "seconds": "by how much it is late", "said": "in words"},
)
