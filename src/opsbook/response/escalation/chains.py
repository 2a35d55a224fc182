"""Which chain an incident has, and who is behind the names in it. Pure; asked anew at each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from opsbook.book import Book
from opsbook.book.escalations import NEXT_AFTER, EscalationSpec
from opsbook.response.escalation.model import Chain, Step, Subject, Target

DEFAULT = "default"
"""The name of the chain that a handbook has without writing one."""
LEADS = ("team-lead", "architect", "cto")
"""Contacts by these names are in the default chain, in this order."""

OnCall = Callable[[str], tuple[str, ...] | None]
"""The contacts who are on call by a schedule now; None: there is no such schedule."""


def chain_for(book: Book, subject: Subject) -> Chain:
    """The escalation that the incident names, else the first one of the handbook, else the default."""
    for spec in book.escalations:
        if spec.name == subject.escalation:
            return of_spec(spec)
    if book.escalations:
        return of_spec(book.escalations[0])
    return default_chain(book, subject.services)


def pages_somebody(book: Book, *, told: bool) -> bool:
    """Whether an incident is paged about at all.

    Args:
        told: its alerts went out to whoever answers for the service. Where the handbook says of nobody that they are
            on call, or that they come next, they would only hear the same again.
    """
    return not told or bool(
        book.escalations or book.schedules or any(lead in book.contacts for lead in LEADS)
    )


def of_spec(spec: EscalationSpec) -> Chain:
    """As the handbook says it."""
    steps = zip(spec.steps, spec.waits, strict=True)
    return Chain(
        spec.name,
        tuple(Step(step.page, wait) for step, wait in steps),
        spec.repeat,
        spec.repeat_after,
        spec.acknowledge_timeout,
    )


def default_chain(book: Book, services: tuple[str, ...] = ()) -> Chain:
    """On call, then the team's lead, the architect, the CTO, the handbook's owner: what there is of them."""
    schedules = [one.name for one in book.schedules]
    owner = next((found.owner for one in services if (found := book.services.get(one)) and found.owner), None)
    first = "on-call" if "on-call" in schedules else schedules[0] if schedules else owner
    lead = LEADS[0] if LEADS[0] in book.contacts else owner
    wanted = (first, lead, *(one for one in LEADS[1:] if one in book.contacts), book.owner)
    names = [name for name in dict.fromkeys(wanted) if name and (name in book.contacts or name in schedules)]
    steps = tuple(Step((name,), NEXT_AFTER if number else 0.0) for number, name in enumerate(names))
    return Chain(DEFAULT, steps or (Step((), 0.0),))


def reaching(book: Book, on_call: OnCall) -> Callable[[str], tuple[Target, ...]]:
    """A function from a name of a chain to those who are behind it at this moment; of ``""`` to everybody who
    answers for the handbook, which is never nobody as long as there is a channel."""

    def reach(name: str) -> tuple[Target, ...]:
        if not name:
            return _last_resort(book)
        people = on_call(name)
        if people is None:
            return tuple(_contact(book, name, name))
        return tuple(target for one in people for target in _contact(book, one, name))

    return reach


def _last_resort(book: Book) -> tuple[Target, ...]:
    if book.owner and (found := tuple(_contact(book, book.owner, book.owner))):
        return found
    return tuple(Target("", "every channel", (channel,)) for channel in book.channels)


def _contact(book: Book, contact: str, name: str) -> Iterator[Target]:
    """A contact that has channels of its own, else a team's members."""
    known = book.contacts.get(contact)
    if known is None:
        return
    if not known.members or known.channel or known.fallback:
        if ways := ways_of(book, contact):
            yield Target(contact, name, ways)
        return
    for person in sorted(book.people(contact)):
        if ways := ways_of(book, person):
            yield Target(person, name, ways)


def ways_of(book: Book, contact: str) -> tuple[str, ...]:
    """The channels that reach a contact, the best first: their own, further ones, those of their teams."""
    own = book.contacts[contact]
    teams = [
        team.channel
        for team_name, team in book.contacts.items()
        if team.members and team_name != contact and contact in book.people(team_name)
    ]
    # For somebody without any channel of their own the team's is no way: it would tell others, not them.
    wanted = (own.channel, *own.fallback, *(teams if own.channel or own.fallback else ()))
    return tuple(one for one in dict.fromkeys(wanted) if one and one in book.channels)
