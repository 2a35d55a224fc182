"""``/journal``: what happened, by whom, and whether the chain of it is whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from opsbook.errors import Invalid
from opsbook.journal import Event, Journal, kinds
from opsbook.security.api import signed_in
from opsbook.security.plan import sees, visible
from opsbook.server.console.shell import Shell
from opsbook.server.console.trouble import pages
from opsbook.terminal import parse_duration

SHOWN = 100
READ = 5000  # events that one page looks through, at most


def router(journal: Journal, shell: Shell, now: Callable[[], float]) -> APIRouter:
    """``/journal``."""
    routes = APIRouter(include_in_schema=False, route_class=pages(shell))
    proof = Proof(journal, now)

    @routes.get("/journal")
    def events(
        request: Request,
        kind: str = "",
        subject: str = "",
        actor: str = "",
        since: str = "",
        before: str = "",
    ) -> Response:
        wanted = {"kind": kind, "subject": subject, "actor": actor, "since": since, "before": before}
        mine = visible(signed_in(request))
        context = lambda: _events(journal, wanted, mine, now(), proof)  # noqa: E731 - made only when rendered
        return shell.page(request, "journal.html", context, topics=("journal",))

    @routes.post("/journal/verification")
    def verify(request: Request) -> Response:
        signed_in(request)
        proof.look()
        return shell.see_other("/journal")

    return routes


class Proof:
    """What the last verification of the whole chain found; one at a time."""

    def __init__(self, journal: Journal, now: Callable[[], float]) -> None:
        self._journal = journal
        self._now = now
        self._one = threading.Lock()
        self.found: dict[str, Any] | None = None

    def look(self) -> None:
        """Verify now, unless nothing has come since the last time."""
        with self._one:
            head = self._journal.head().id
            if self.found is None or not self.found["ok"] or self.found["checked"] != head:
                outcome = self._journal.verify()
                self.found = {
                    "ok": outcome.ok, "checked": outcome.checked, "reason": outcome.reason, "at": self._now(),
                }  # fmt: skip


def _events(
    journal: Journal,
    wanted: Mapping[str, str],
    mine: frozenset[str] | None,
    now: float,
    proof: Proof,
) -> dict[str, Any]:
    found, oldest = _matching(journal, wanted, mine, now)
    return {
        "title": "Journal",
        "wanted": wanted,
        "events": found[:SHOWN],
        "older": found[SHOWN - 1].id if len(found) >= SHOWN else oldest,
        "kinds": _kinds(),
        "proof": proof.found,
        "head": journal.head().id,
    }


def _matching(
    journal: Journal, wanted: Mapping[str, str], mine: frozenset[str] | None, now: float
) -> tuple[list[Event], int | None]:
    """The newest events that match, at most `SHOWN`; where to go on looking when not all were looked through."""
    kind, subject, actor = wanted["kind"].strip(), wanted["subject"].strip(), wanted["actor"].strip().lower()
    before = _number(wanted["before"])
    since = _since(wanted["since"].strip(), now)
    exact = subject if "/" in subject or not subject else None
    found: list[Event] = []
    looked = 0
    while looked < READ:
        page = journal.events(
            before=before,
            kinds=(kind,) if kind else (),
            subject=exact or None,
            subject_prefix=subject if subject and exact is None else None,
            since=since,
            limit=500,
            newest=True,
        )
        looked += len(page)
        found += [event for event in page if sees(mine, event.subject) and actor in event.actor.lower()]
        if len(page) < 500:
            return found[:SHOWN], None if len(found) <= SHOWN else found[SHOWN - 1].id
        before = page[-1].id
        if len(found) >= SHOWN:
            return found[:SHOWN], found[SHOWN - 1].id
    return found, before


def _number(text: str) -> int | None:
    if not text:
        return None
    if not text.isdigit() or int(text) < 1:
        raise Invalid(f"before: expected the number of an event, got {text[:20]!r}")
    return min(int(text), 2**62)


def _since(text: str, now: float) -> float | None:
    """``2h`` is two hours ago; ``2026-11-20`` and ``2026-11-20T14:00`` are moments, in UTC."""
    if not text:
        return None
    try:
        if "-" in text:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return now - parse_duration(text)
    except (Invalid, ValueError, OverflowError) as error:
        raise Invalid(
            f"since: expected a duration or a date, got {text[:40]!r}",
            hint="2h, 3d, 2026-11-20 or 2026-11-20T14:00",
        ) from error


def _kinds() -> list[tuple[str, str]]:
    """What the filter offers: rooms first, as patterns, then single kinds."""
    names = [kind.name for kind in kinds()]
    rooms = sorted({name.split(".")[0] for name in names})
    return [*((f"{room}.*", f"{room}: all") for room in rooms), *((name, name) for name in names)]
