"""The verbs of an incident: what each does, what it asks for, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opsbook.book import Book
from opsbook.errors import Conflict
from opsbook.response.incidents.model import SEVERITIES, Incident, severity_of
from opsbook.response.pages.asking import Field, asked_at
from opsbook.response.pages.incidents import seen
from opsbook.response.pages.source import Source
from opsbook.security.model import Identity

ROLES = ("commander", "scribe", "liaison", "responder")
Filled = dict[str, str]
Choices = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One thing to do.

    Args:
        asks: the form's inputs. effect: what it does, in words.
        refused: why nobody can do it now; empty when somebody can.
    """

    title: str
    submit: str
    effect: Callable[[Source, Incident], tuple[str, ...]]
    command: str
    do: Callable[[Source, Incident, Filled, str], object]
    way_back: str = ""
    danger: bool = False
    asks: Callable[[Source, Identity, Incident], tuple[Field, ...]] = lambda source, identity, incident: ()
    refused: Callable[[Incident], str] = lambda incident: ""


def severities(book: Book) -> Choices:
    """To choose from, the worst first, with what the policy means by them."""
    means = {name: spec.description for name, spec in book.severities.items() if spec.description}
    return tuple((one, f"{one}: {means[one]}" if one in means else one) for one in SEVERITIES)


def _people(source: Source, identity: Identity, incident: Incident) -> tuple[Field, ...]:
    del incident
    book = source.book()
    people = tuple((name, name) for name, one in sorted(book.contacts.items()) if not one.members)
    me = identity.name if identity.name in book.contacts else ""
    return (
        Field("role", "Role", "choice", "commander", tuple((one, one) for one in ROLES)),
        Field("person", "Who", "choice", me, people),
    )


def _others(source: Source, identity: Identity, incident: Incident) -> tuple[Field, ...]:
    found = tuple(
        (one.id, f"{one.id} · {one.severity} · {one.title}")
        for one in seen(source, identity)
        if one.open and one.id != incident.id
    )
    return (
        Field("into", "Into", "choice", "", found or (("", "no other incident is open"),), required=True),
    )


def _owners(source: Source, identity: Identity, incident: Incident) -> tuple[Field, ...]:
    del identity, incident
    contacts = tuple((name, name) for name in sorted(source.book().contacts))
    return (
        Field("text", "What is to be done", required=True),
        Field("owner", "By whom", "choice", "", (("", "nobody yet"), *contacts)),
        Field("due", "Until", "date"),
    )


def _merge(source: Source, incident: Incident, filled: Filled, actor: str) -> object:
    return source.incidents.merge(incident.id, filled.get("into", ""), actor)


def _update(source: Source, incident: Incident, filled: Filled, actor: str) -> object:
    text = filled.get("text", "")
    if any((one.text, one.by) == (text, actor) and one.at >= asked_at(filled) for one in incident.updates):
        return incident
    return source.incidents.update(incident.id, text, "public" in filled, actor)


def _promise(source: Source, incident: Incident, filled: Filled, actor: str) -> object:
    said = (filled.get("text", ""), filled.get("owner", ""), filled.get("due", ""))
    if any((one.text, one.owner, one.due) == said and one.done_at is None for one in incident.actions):
        return incident
    return source.incidents.add_action(incident.id, *said, actor)


def _escalate(source: Source, incident: Incident, filled: Filled, actor: str) -> object:
    del filled
    if source.escalations is None:
        raise Conflict("nobody is paged by this opsbook", hint="escalations: in incidents/policy.yaml")
    return source.escalations.escalate(incident.id, actor)


def _closed(incident: Incident) -> str:
    return "" if incident.open else f"it is {incident.state} already"


def _reason(source: Source, identity: Identity, incident: Incident) -> tuple[Field, ...]:
    del source, identity, incident
    return (Field("reason", "What did it", hint="goes into the timeline"),)


VERBS: dict[str, Verb] = {
    "acknowledge": Verb(
        title="Acknowledge {id}?",
        submit="I have it",
        effect=lambda source, incident: (
            "you have it: nobody else is paged, until the policy's acknowledge_timeout",
            *([f"{page.who} is not paged"] if (page := source.next_page(incident.id)) else []),
        ),
        way_back="escalate it: the next step is paged at once",
        command="opsbook ack {id}",
        do=lambda source, incident, filled, actor: source.acknowledge(incident.id, actor),
        refused=_closed,
    ),
    "escalate": Verb(
        title="Page the next step of {id} now?",
        submit="Escalate",
        effect=lambda source, incident: (
            f"{page.who} is paged now"
            if (page := source.next_page(incident.id))
            else "whoever the chain names next is paged now",
        ),
        way_back="none: a page that is sent is sent",
        command="opsbook escalations next {id}",
        do=_escalate,
        danger=True,
        refused=_closed,
    ),
    "mitigate": Verb(
        title="Is {id} mitigated?",
        submit="It is mitigated",
        effect=lambda source, incident: ("users notice no more; the cause may still be there",),
        way_back="an alert that fires again makes it active",
        command="opsbook incidents mitigate {id}",
        do=lambda source, incident, filled, actor: source.incidents.mitigate(
            incident.id, actor, reason=filled.get("reason", "")
        ),
        asks=_reason,
        refused=_closed,
    ),
    "resolve": Verb(
        title="Is {id} resolved?",
        submit="It is resolved",
        effect=lambda source, incident: ("paging ends", "a draft of its post-mortem is written"),
        way_back="reopen it",
        command="opsbook resolve {id}",
        do=lambda source, incident, filled, actor: source.incidents.resolve(
            incident.id, actor, reason=filled.get("reason", "")
        ),
        asks=_reason,
        refused=_closed,
    ),
    "reopen": Verb(
        title="Reopen {id}?",
        submit="Reopen",
        effect=lambda source, incident: ("it is active again, and people are paged again",),
        way_back="resolve it",
        command='opsbook incidents reopen {id} --reason "…"',
        do=lambda source, incident, filled, actor: source.incidents.reopen(
            incident.id, filled.get("reason", ""), actor
        ),
        danger=True,
        asks=lambda source, identity, incident: (Field("reason", "Why", required=True),),
        refused=lambda incident: "it is open" if incident.open else "",
    ),
    "close": Verb(
        title="Close {id}?",
        submit="Close",
        effect=lambda source, incident: ("it is over, its post-mortem is done", *_left(incident)),
        way_back="reopen it",
        command="opsbook incidents close {id}",
        do=lambda source, incident, filled, actor: source.incidents.close(incident.id, actor),
    ),
    "severity": Verb(
        title="How severe is {id}?",
        submit="Change it",
        effect=lambda source, incident: (
            f"it is {incident.severity} now",
            "when it is worse, those are paged whom the policy names for that",
        ),
        way_back="change it back",
        command="opsbook incidents severity SEV1 --incident {id}",
        do=lambda source, incident, filled, actor: source.incidents.set_severity(
            incident.id, severity_of(filled.get("severity", "")), actor
        ),
        asks=lambda source, identity, incident: (
            Field(
                "severity",
                "Severity",
                "choice",
                incident.severity,
                severities(source.book()),
                hint="when unsure, the higher",
            ),
        ),
    ),
    "role": Verb(
        title="Who does what in {id}?",
        submit="Give the role",
        effect=lambda source, incident: ("it stands in the room and in the timeline",),
        way_back="give it to somebody else",
        command="opsbook incidents role commander PERSON --incident {id}",
        do=lambda source, incident, filled, actor: source.incidents.set_role(
            incident.id, filled.get("role", ""), filled.get("person", ""), actor
        ),
        asks=_people,
    ),
    "merge": Verb(
        title="Merge {id} into another?",
        submit="Merge",
        effect=lambda source, incident: ("its alerts, suspects and runs go to the other; its paging ends",),
        way_back="none: declare it anew",
        command="opsbook incidents merge {id} --into OTHER",
        do=_merge,
        danger=True,
        asks=_others,
        refused=_closed,
    ),
    "update": Verb(
        title="Tell others about {id}",
        submit="Send",
        effect=lambda source, incident: (
            "it goes to the channels of the policy; with the box below also to the status page",
        ),
        way_back="none: what is sent is sent",
        command='opsbook incidents update "…" --incident {id}',
        do=_update,
        asks=lambda source, identity, incident: (
            Field("text", "What they should know", "long", required=True),
            Field("public", "Customers too: on the status page", "check"),
        ),
    ),
    "action": Verb(
        title="What is to be done after {id}?",
        submit="Add",
        effect=lambda source, incident: ("opsbook keeps it in mind until it is done",),
        way_back="say that it is done",
        command='opsbook incidents action "…" --incident {id} --owner PERSON --due 2026-12-01',
        do=_promise,
        asks=_owners,
    ),
}


def _left(incident: Incident) -> list[str]:
    left = sum(1 for one in incident.actions if one.done_at is None)
    return [f"{left} of its actions stay open"] if left else []
