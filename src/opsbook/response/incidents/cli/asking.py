"""What the commands of incidents have in common: which incident is meant, and how one is shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from opsbook.errors import Invalid, NotFound
from opsbook.terminal import Session, Style

API = "/api/response/incidents"
OPEN = ("triage", "active", "mitigated")
_LOOKS = {"mitigated": "waiting", "resolved": "ok", "postmortem": "ok", "closed": "ok", "merged": "paused"}
_WORDS = {"postmortem": "post-mortem"}


def path(incident: str, *further: str) -> str:
    """The API's path of an incident."""
    return "/".join([API, *(quote(one, safe="") for one in (incident, *further))])


def meant(session: Session, incident: str | None) -> str:
    """The incident that was named, or the only one that is open.

    Raises:
        NotFound: none is named, and none is open. Invalid: several are.
    """
    if incident:
        return incident
    found = session.api.get(API, {"state": "open", "limit": 6})["incidents"]
    if not found:
        raise NotFound("no incident is open", hint="opsbook incidents list --all")
    if len(found) > 1:
        raise Invalid(
            "several incidents are open", hint=f"name one of {', '.join(one['id'] for one in found)}"
        )
    return str(found[0]["id"])


def is_id(text: str) -> bool:
    """Whether a word can be the id of an incident."""
    digits = text.removeprefix("inc-")
    return digits != text and digits.isascii() and digits.isdigit()


def seen(text: object) -> str:
    """What others wrote, on one line, without what a terminal would obey."""
    kept = "".join(" " if unicodedata.category(one)[0] in "CZ" else one for one in str(text))
    return " ".join(kept.split())


def state(incident: Mapping[str, Any], style: Style) -> str:
    """How it is: a symbol and a word."""
    word = _WORDS.get(incident["state"], incident["state"])
    if incident["self_resolved"]:
        word = "resolved itself"
    if incident["state"] in {"triage", "active"}:
        look = "running" if incident["acknowledged_at"] is not None else "failed"
        return style.state(look, word)
    return style.state(_LOOKS[incident["state"]], word)


def where(incident: Mapping[str, Any]) -> str:
    """``production web, api``"""
    return seen(" ".join(filter(None, (incident["environment"], ", ".join(incident["services"])))))


def said(session: Session, incident: Mapping[str, Any], word: str, what: str, *, as_json: bool) -> None:
    """That it is done."""
    terminal = session.terminal
    if as_json:
        terminal.json(incident)
        return
    terminal.message(f"{terminal.message_style.state('ok', word)} {seen(what)}")


def hint(session: Session, command: str) -> None:
    """What one may want to do next."""
    session.terminal.message(f"{session.terminal.message_style.paint('hint:', 'cyan')} {command}")
