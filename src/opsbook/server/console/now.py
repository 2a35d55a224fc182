"""``/``: how things are now, the worst first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Request, Response

from opsbook.deployment.model import Phase
from opsbook.deployment.pages.sentences import RANK, Condition, condition_of, sentence
from opsbook.deployment.pages.services import service_rows, summary
from opsbook.deployment.pages.source import Source
from opsbook.journal import Event, Journal
from opsbook.monitoring.pages.alerts import all_alerts, headline
from opsbook.monitoring.pages.objectives import at_risk
from opsbook.monitoring.pages.source import Source as Watched
from opsbook.response.pages.now import headline as open_headline
from opsbook.response.pages.now import now as responding
from opsbook.response.pages.source import Source as Responded
from opsbook.security.api import signed_in
from opsbook.security.model import Identity
from opsbook.security.plan import sees, visible
from opsbook.server.console.shell import Shell
from opsbook.server.console.trouble import pages
from opsbook.terminal import count

CHANGES = 12
FIRING = 5
TOLD = (
    "deployment.requested", "deployment.succeeded", "deployment.rolled_back", "deployment.failed", "deployment.aborted",
    "deployment.superseded", "deployment.reverted", "deployment.approved", "freeze.added", "freeze.lifted",
    "hold.released", "book.changed", "book.broken",
)  # fmt: skip
"""The kinds of events that people would tell each other."""


def router(
    source: Source,
    journal: Journal,
    shell: Shell,
    watched: Watched | None = None,
    responded: Responded | None = None,
) -> APIRouter:
    """``/``. `watched`: what fires; None: nothing is watched. `responded`: what is open; None: nobody responds."""
    routes = APIRouter(include_in_schema=False, route_class=pages(shell))

    @routes.get("/")
    def now(request: Request) -> Response:
        identity = signed_in(request)
        topics = ("now",) if watched is None else ("now", "alerts")
        return shell.page(
            request, "now.html", lambda: _now(source, journal, identity, watched, responded), topics=topics
        )

    return routes


def _now(
    source: Source,
    journal: Journal,
    identity: Identity,
    watched: Watched | None,
    responded: Responded | None,
) -> dict[str, Any]:
    mine = visible(identity)
    status = source.room.status(None)["environments"]
    shown = {name: one for name, one in status.items() if sees(mine, name)}
    environments = [(name, one["entry"], service_rows(name, one["services"])) for name, one in shown.items()]
    environments.reverse()  # the last to be promoted to is what people depend on most
    environments.sort(
        key=lambda one: min((RANK[row["condition"].state] for row in one[2]), default=len(RANK))
    )
    rows = [row for _, _, group in environments for row in group]
    views = [source.room.view(one.id) for one in source.records.unfinished() if sees(mine, one.environment)]
    views.sort(key=lambda view: -view["requested_at"])
    freezes = [one for one in source.gates.freezes.listed() if _concerns(one["environments"], shown)]
    holds = [
        {"environment": placement.environment, "service": placement.service, "hold": hold}
        for placement in source.records.placements()
        if sees(mine, placement.environment)
        for hold in placement.holds
    ]
    found, rest = summary(rows, len(shown)), ""
    alerts = all_alerts(watched, identity) if watched is not None else ()
    firing = [alert for alert in alerts if alert.state == "firing"]
    if firing and RANK[firing[0].condition.state] < RANK[found.state]:
        rest = (found.word if found.word.endswith(".") else found.detail).rstrip(".")
        found = Condition(firing[0].condition.state, headline(firing))
    answered = responding(responded, identity)
    worst = open_headline(answered["open"], answered["more_open"])
    if worst is not None and RANK[worst.state] <= RANK[found.state]:
        rest = " · ".join(
            part
            for part in ((found.word if found.word.endswith(".") else found.detail).rstrip("."), rest)
            if part
        )
        found = Condition(worst.state, worst.word)
    return {
        "title": "Now",
        "summary": found,
        "more": " · ".join(part for part in (rest, _more(views, freezes)) if part),
        "at_risk": at_risk(watched, identity)[:FIRING] if watched is not None else [],
        **answered,
        "firing": firing[:FIRING],
        "also_firing": max(0, len(firing) - FIRING),
        "environments": environments,
        "running": [{**view, "condition": condition_of(view), "sentence": sentence(view)} for view in views],
        "freezes": freezes,
        "holds": holds,
        "changes": [told(event) for event in _changes(journal, mine)],
    }


def _concerns(environments: Iterable[str] | None, shown: Iterable[str]) -> bool:
    return not environments or not set(environments).isdisjoint(shown)


def _more(views: list[dict[str, Any]], freezes: list[Any]) -> str:
    """What else one should know at a glance."""
    waiting = sum(1 for view in views if view["phase"] == Phase.GATED)
    running = len(views) - waiting
    active = sum(1 for one in freezes if one["active"])
    parts = [
        f"{count(running, 'deployment')} under way" if running else "",
        f"{waiting} {'waits' if waiting == 1 else 'wait'} at the gates" if waiting else "",
        f"{count(active, 'freeze')} in force" if active else "",
    ]
    return " · ".join(part for part in parts if part) or "Nothing is under way."


def _changes(journal: Journal, mine: frozenset[str] | None) -> list[Event]:
    found = journal.events(kinds=TOLD, limit=CHANGES * 4, newest=True)
    return [event for event in found if sees(mine, event.subject)][:CHANGES]


_MARKS = {
    "succeeded": "ok", "rolled_back": "critical", "failed": "critical", "aborted": "warning", "reverted": "critical",
    "broken": "warning", "approved": "ok",
}  # fmt: skip
_WORDS = {
    "deployment.requested": "asked for", "deployment.succeeded": "serves", "deployment.rolled_back": "was taken back",
    "deployment.failed": "failed", "deployment.aborted": "was aborted", "deployment.superseded": "was superseded",
    "deployment.reverted": "was taken back in its watch window", "deployment.approved": "was approved",
    "freeze.added": "frozen", "freeze.lifted": "freeze lifted", "hold.released": "hold released",
    "book.changed": "the handbook changed", "book.broken": "the handbook has errors",
}  # fmt: skip


def told(event: Event) -> dict[str, Any]:
    """An event as a line that people would say."""
    mark = _MARKS.get(event.kind.partition(".")[2], "unknown")
    word = _WORDS.get(event.kind, event.kind)
    return {
        "event": event,
        "condition": Condition(mark, word),  # type: ignore[arg-type]  # the marks are states
        "version": str(event.data.get("version", "")),
        "deployment": event.data["id"] if str(event.data.get("id", "")).startswith("d-") else "",
        "reason": str(event.data.get("reason", "")),
    }
