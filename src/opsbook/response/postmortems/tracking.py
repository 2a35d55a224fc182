"""What was promised after incidents, wherever it was written: in the incident, in its page, or in both. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from opsbook.book.postmortems import PageAction, PostmortemPage
from opsbook.response.incidents.model import Action, Incident
from opsbook.response.postmortems.model import Tracked


def tracked(incidents: Iterable[Incident], pages: Iterable[PostmortemPage], today: date) -> list[Tracked]:
    """Every action once: what is overdue first, then what is open by date, then what is done.

    One that is in an incident and in its page is done when either says so; otherwise the page's words count, because
    that is what people edit.
    """
    every = {incident.id: incident for incident in incidents}
    known = {(one.id, action.id): action for one in every.values() for action in one.actions}
    found: list[Tracked] = []
    for page in pages:
        for one in page.actions:
            name = page.head.incident or ""
            found.append(_of_page(page, name, one, known.pop((name, one.id), None), today))
    found += [_of_incident(every[name], action, today) for (name, _), action in known.items()]
    return sorted(found, key=lambda one: (one.done, not one.overdue, one.due or "9", one.incident, one.line))


def _of_page(
    page: PostmortemPage, incident: str, one: PageAction, other: Action | None, today: date
) -> Tracked:
    done = one.done or (other is not None and other.done_at is not None)
    return Tracked(
        incident=incident,
        environment=page.head.environment or "",
        file=page.file,
        line=one.line,
        text=one.text,
        owner=one.owner,
        due=one.due,
        done=done,
        overdue=not done and one.overdue(today),
        id=one.id,
    )


def _of_incident(incident: Incident, action: Action, today: date) -> Tracked:
    done = action.done_at is not None
    due = next(_dates(action.due), None)
    return Tracked(
        incident=incident.id,
        environment=incident.environment,
        file="",
        line=0,
        text=action.text,
        owner=action.owner or "",
        due=due.isoformat() if due else "",
        done=done,
        overdue=not done and due is not None and due < today,
        id=action.id,
    )


def _dates(text: str | None) -> Iterator[date]:
    try:
        yield date.fromisoformat(text or "")
    except ValueError:
        return
