"""What may not be begun or approved, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opsbook.book import Book
from opsbook.book.runbook_parameters import checked
from opsbook.book.runbooks import Runbook
from opsbook.errors import Conflict, Invalid, NotAllowed
from opsbook.response.runbooks.model import Run
from opsbook.response.runbooks.reach import environments_of
from opsbook.security.model import Identity

_HOUR = 3600.0


def asked(book: Book, page: str, params: Mapping[str, str]) -> tuple[Runbook, dict[str, str]]:
    """The page, and its parameters as they are checked. Raises NotFound, Invalid."""
    runbook = book.runbook(page)
    if not runbook.executable:
        hint = f"opsbook runbooks import {runbook.file}: proposes which blocks could"
        raise Invalid(
            f"{page} is a page to read: none of its blocks has a role", hint=hint, where=runbook.file
        )
    values = checked(runbook.head.params, params, services=book.services, environments=book.environments)
    return runbook, values


def refuse_unless_due(
    page: Runbook, recent: Iterable[Run], lock: str, params: Mapping[str, str], now: float
) -> None:
    """An alert may not start it here, or not so soon, or not so often. Raises Conflict.

    Args:
        recent: runs of the page, the newest first. now: epoch seconds.
    """
    for environment in environments_of(page, params) or ("",):
        if page.head.environments is not None and environment not in page.head.environments:
            raise Conflict(
                f"alerts may not start {page.name} in {environment or 'no environment'}", where=page.file
            )
    runs = [run for run in recent if not run.looking]
    last = next((run.ended_at for run in runs if run.lock == lock and run.ended_at is not None), None)
    if last is not None and now - last < page.head.rest:
        left = page.head.rest - (now - last)
        raise Conflict(
            f"{page.name} ran {now - last:.0f} s ago: it rests for {left:.0f} s more", where=page.name
        )
    lately = sum(1 for run in runs if run.automatic and now - run.requested_at < _HOUR)
    if lately >= page.head.automatic_per_hour:
        raise Conflict(
            f"alerts started {page.name} {lately} times within the hour; {page.head.automatic_per_hour} may be",
            hint=f"opsbook run {page.name}",
            where=page.name,
        )


def refuse_unless_approvable(book: Book, page: Runbook, actor: str) -> None:
    """Rather than wait, half done, for a yes that nobody can give. Raises NotAllowed."""
    for block in page.steps:
        if block.approve in book.contacts and book.people(str(block.approve)) <= {actor}:
            raise NotAllowed(
                f"{block.id} needs the approval of {block.approve}, and nobody approves a run of their own",
                hint="have somebody else start it, or name a team in the page: approve=TEAM",
                where=page.file,
            )


def refuse_unless_other(book: Book, run: Run, who: Identity, named: str | None) -> None:
    """Nobody approves their own, and the page may name who does. Raises NotAllowed."""
    if not who.authenticated:
        raise NotAllowed(
            "to approve it must be known who you are: the local operator could be anybody, also who asked",
            hint="use a token of your own: opsbook tokens create",
            where=run.id,
        )
    if run.requested_by in {who.actor, who.name}:
        raise NotAllowed(
            f"{who.name} started {run.id}: somebody else approves it",
            hint=f"opsbook runs cancel {run.id} ends it and undoes what it began",
            where=run.id,
        )
    if named is not None and named in book.contacts and who.name not in book.people(named):
        raise NotAllowed(f"{who.name} is not {named}, who approves this step", where=run.id)
