"""The page behind the link of a page: seen at night, on a phone, by somebody who is not signed in.

Opening it changes nothing, for mail scanners and previews open links too; its buttons do. It is one answer of a few
kilobytes, without scripts, and shows one incident to whoever holds the link. It does not load itself anew: where there
is no network that would take away what is known. So it says of when it is, and a button counts for what was seen.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import jinja2
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from opsbook.book import Book
from opsbook.errors import Conflict, OpsbookError
from opsbook.response.escalation.links import PATH, Claim
from opsbook.response.escalation.model import Escalation
from opsbook.response.escalation.room import Escalations
from opsbook.terminal import duration

Spark = Callable[[str, str], tuple[float | None, ...]]
"""The last hour of what an environment's service suffers from, evenly spaced; empty: not known."""
Seen = Annotated[str, Form(max_length=300)]
"""How it stood on the page whose button was pressed."""
_POINTS: Final = 60
_WIDTH, _HEIGHT = 300.0, 40.0


@dataclass(frozen=True, slots=True)
class Look:
    """How it stands: shape and colour, and the word."""

    state: str
    word: str


def router(
    room: Escalations,
    book: Callable[[], Book],
    *,
    now: Callable[[], float],
    spark: Spark = lambda environment, service: (),
) -> APIRouter:
    """``/answer/...``. The server lets these in without anybody signed in; the link says who it is."""
    routes = APIRouter(prefix=PATH.rstrip("/"), include_in_schema=False)
    one_by_one = threading.Lock()

    def page(request: Request, token: str, error: OpsbookError | None = None) -> Response:
        try:
            claim, escalation = room.claim(token)
        except OpsbookError as refused:
            return _answer("refused.html", {"error": refused, "title": "Not this way"}, refused.http_status)
        context = _shown(request, room, book(), claim, escalation, now(), spark)
        context |= {"error": error, "token": token}
        return _answer("answer.html", context, error.http_status if error else 200)

    def acting(request: Request, token: str, act: Callable[[str, str], object], seen: str) -> Response:
        try:
            with one_by_one:  # a second tap is asked after the first was done
                claim, escalation = room.claim(token)
                _refuse_when_overtaken(escalation, actor_of(claim), seen, paging=act == room.escalate)
                act(claim.incident, actor_of(claim))
        except OpsbookError as error:
            return page(request, token, error)
        return RedirectResponse(f"{PATH}{token}", status_code=303, headers=_headers())

    @routes.get("/{token}")
    def look(request: Request, token: str) -> Response:
        return page(request, token)

    @routes.post("/{token}/acknowledge")
    def acknowledge(request: Request, token: str, seen: Seen = "") -> Response:
        return acting(request, token, room.acknowledge, seen)

    @routes.post("/{token}/next")
    def hurry(request: Request, token: str, seen: Seen = "") -> Response:
        return acting(request, token, room.escalate, seen)

    return routes


def actor_of(claim: Claim) -> str:
    """The name in the journal: whoever holds the link may be somebody else."""
    return f"{claim.person} (link)" if claim.person else "link"


def _seen(escalation: Escalation) -> str:
    return f"{escalation.paged} {escalation.acknowledged_by}".strip()[:300]


def _refuse_when_overtaken(escalation: Escalation, actor: str, seen: str, *, paging: bool) -> None:
    """Raises Conflict, when somebody has answered, or was paged, since the page was loaded."""
    if not seen or not escalation.open:
        return
    paged, _, had = seen.partition(" ")
    if had != escalation.acknowledged_by and escalation.acknowledged_by not in ("", actor):
        raise Conflict(f"{escalation.acknowledged_by} has it by now")
    if paging and paged != str(escalation.paged):
        last = next((one for one in reversed(escalation.pages)), None)
        raise Conflict(f"{(last.person or last.name) if last else 'the next'} was paged meanwhile")


def _zone(book: Book, person: str) -> tzinfo:
    """Where whoever holds the link is."""
    contact = book.contacts.get(person)
    return ZoneInfo(contact.timezone) if contact is not None and contact.timezone else UTC


def _clock(at: float, now: float, zone: tzinfo) -> str:
    """A time of day; with its day, when that is another."""
    found, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone)
    return found.strftime("%H:%M %Z" if found.date() == today.date() else "%d %b %H:%M %Z")


def _shown(
    request: Request,
    room: Escalations,
    book: Book,
    claim: Claim,
    escalation: Escalation,
    now: float,
    spark: Spark,
) -> dict[str, Any]:
    subject = escalation.subject
    runbook = book.runbooks.get(subject.runbook)
    first = next(iter(runbook.steps), None) if runbook is not None else None
    service = subject.services[0] if subject.services else ""
    zone = _zone(book, claim.person)
    return {
        "title": f"{subject.severity} {subject.title}".strip(),
        "subject": subject,
        "look": _look(escalation),
        "sentence": _sentence(escalation, room.next_in_words(escalation), now),
        "since": _clock(subject.started_at, now, zone) if subject.started_at else "",
        "lasts": duration(max(0.0, now - subject.started_at)),
        "as_of": _clock(now, now, zone),
        "seen": _seen(escalation),
        "person": claim.person,
        "open": escalation.open,
        "mine": escalation.acknowledged_by == actor_of(claim) and escalation.state == "acknowledged",
        "answered": escalation.state == "acknowledged",
        "pages": escalation.pages[-6:],
        "runbook": runbook.title if runbook is not None else "",
        "first": (first.title or first.id) if first is not None else "",
        "script": first.script if first is not None and first.role == "run" else "",
        "path": path_of(spark(subject.environment, service)),
        "csrf": str(getattr(request.state, "csrf", "") or ""),
        "duration": lambda at: duration(max(0.0, now - at)),
    }


def _look(escalation: Escalation) -> Look:
    if escalation.state == "ended":
        return Look("ok", escalation.why or "over")
    if escalation.state == "acknowledged":
        return Look("running", "acknowledged")
    return Look("critical", "nobody has answered")


def _sentence(escalation: Escalation, words: str, now: float) -> str:
    if escalation.state == "ended":
        return f"It is over ({escalation.why}); nobody is paged any more."
    if escalation.state == "acknowledged":
        had = now - (escalation.acknowledged_at or now)
        return f"{escalation.acknowledged_by} has it{f', for {duration(had)}' if had >= 60 else ''}."
    if escalation.state == "exhausted":
        return "Everybody has been paged, and nobody has answered."
    return f"Nobody has answered yet. Next: {words}." if words else "Nobody has answered yet."


def path_of(points: tuple[float | None, ...]) -> str:
    """A sparkline as the path of an SVG of 300 by 40; gaps are gaps, the lowest line is 0."""
    known = [one for one in points if one is not None]
    if len(known) < 2 or len(points) < 2:
        return ""
    top = max(*known, 0.0) or 1.0
    step, words, pen = _WIDTH / (len(points) - 1), [], "M"
    for number, value in enumerate(points):
        if value is None:
            pen = "M"
            continue
        words.append(f"{pen}{number * step:.1f} {_HEIGHT - 2 - max(0.0, value) / top * (_HEIGHT - 4):.1f}")
        pen = "L"
    return " ".join(words)


@cache
def _templates() -> tuple[jinja2.Environment, str]:
    """The templates, and the hash by which browsers let their one style in."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("opsbook.response", "templates/escalation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = environment.get_template("style.css").render()
    environment.globals["style"] = style
    return environment, base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _answer(template: str, context: dict[str, Any], status: int) -> Response:
    environment, _ = _templates()
    return HTMLResponse(environment.get_template(template).render(context), status, headers=_headers())


def _headers() -> dict[str, str]:
    _, digest = _templates()
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",  # the address is a secret; with less, browsers send forms without origin
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }
