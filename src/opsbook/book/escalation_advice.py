"""What is wrong with escalations in a handbook: names that are nobody's, steps that reach nobody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from opsbook.book.cover import Contact
from opsbook.book.document import Loc
from opsbook.book.draft import Draft
from opsbook.book.model import people
from opsbook.book.oncall import POLICY
from opsbook.book.problems import Problem, did_you_mean


def escalation_faults(draft: Draft) -> Iterator[Problem]:
    """Every name in `escalations:` that is none or means two things, and every step that reaches nobody."""
    if draft.cover is None:
        return
    document = draft.document(POLICY)
    contacts = draft.cover.contacts
    schedules = {one.name: one for one in draft.schedules}
    for number, escalation in enumerate(draft.escalations):
        loc: Loc = ("escalations", number)
        if escalation.name in contacts or escalation.name in schedules:
            what = "contact" if escalation.name in contacts else "schedule"
            yield document.problem(
                (*loc, "name"), f"{escalation.name} is a {what} already", "name the escalation otherwise"
            )
        steps_that_reach = 0
        for place, step in enumerate(escalation.steps):
            reached = False
            for index, name in enumerate(step.page):
                at: Loc = (*loc, "steps", place, "page", index)
                if name not in contacts and name not in schedules:
                    hint = did_you_mean(name, [*contacts, *schedules])
                    hint = hint or f"add {name} under contacts in opsbook.yaml, or under schedules here"
                    yield document.problem(at, f'no contact and no schedule is called "{name}"', hint)
                    reached = True  # one mistake, one problem
                    continue
                names = [name] if name in contacts else _everybody(draft, name)
                deaf = [one for one in names if not _has_a_way(one, contacts)]
                reached = reached or len(deaf) < len(names)
                if name in schedules and deaf:
                    said = f"{', '.join(deaf)} of {name} cannot be paged: there is no channel"
                    yield document.warning(at, said, f"channel: under {deaf[0]} in opsbook.yaml")
            steps_that_reach += reached
            if not reached:
                said = f"this step pages nobody: {', '.join(step.page)} has no channel"
                hint = f"channel: under {step.page[0]} in opsbook.yaml"
                yield document.warning((*loc, "steps", place), said, hint)
        if not steps_that_reach:
            said = f"{escalation.name} pages nobody: none of its people has a channel"
            yield document.problem((*loc, "steps"), said, "give contacts a channel: in opsbook.yaml")


def _everybody(draft: Draft, schedule: str) -> list[str]:
    found = next(one for one in draft.schedules if one.name == schedule)
    return list(dict.fromkeys(person for layer in found.layers for person in layer.people))


def _has_a_way(name: str, contacts: Mapping[str, Contact]) -> bool:
    """True also for a name that is none: that is said elsewhere."""
    behind = [contacts[one] for one in {name, *people(name, contacts)} if one in contacts]
    return not behind or any(one.channel or one.fallback for one in behind)
