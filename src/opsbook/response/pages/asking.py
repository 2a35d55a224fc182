"""The page before each action: what it does, to what, the way back, and the command that does the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from fastapi import Depends, Request, Response

from opsbook.errors import NotAllowed, OpsbookError
from opsbook.response.pages.source import Shell
from opsbook.security.api import signed_in
from opsbook.security.model import Action, Identity
from opsbook.security.plan import may


@dataclass(frozen=True, slots=True)
class Field:
    """An input of the form. `choices` are values and labels."""

    name: str
    label: str
    kind: Literal["text", "long", "choice", "secret", "check", "date"] = "text"
    value: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    hint: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked.

    Args:
        environment: None: it is upon opsbook as a whole.
        shown: what would run, word for word.
        command: what does the same at the command line.
        back: the page one came from.
        impossible: why nobody can do it now.
    """

    action: Action
    environment: str | None
    title: str
    target: str
    effect: tuple[str, ...]
    way_back: str
    command: str
    submit: str
    back: str
    shown: str = ""
    danger: bool = False
    fields: tuple[Field, ...] = ()
    hidden: Mapping[str, str] | None = None
    impossible: str = ""


@dataclass(frozen=True, slots=True)
class Button:
    """Leads to a page that asks once more, or with `sheet` false to one of its own. `why` it cannot be used; empty when
    it can."""

    name: str
    label: str
    href: str
    why: str = ""
    look: str = ""  # "first" for what one most likely wants, "danger"
    sheet: bool = True


def button(
    identity: Identity,
    action: Action,
    environment: str | None,
    name: str,
    label: str,
    href: str,
    look: str = "",
) -> Button:
    """A button for `action`, which says why when this person's roles do not allow it."""
    decision = may(identity, action, environment)
    return Button(name, label, href, "" if decision.allowed else decision.why, look)


def refusals(buttons: list[Button]) -> list[tuple[str, str]]:
    """Why some cannot be used: their names together, and one reason."""
    lacking = [one for one in buttons if one.why]
    reasons = dict.fromkeys(one.why for one in lacking)
    return [(", ".join(one.label.rstrip("…") for one in lacking if one.why == why), why) for why in reasons]


def kept(asked: Question, filled: Mapping[str, str]) -> Question:
    """With what was filled in, which stays when it is refused; but nothing secret."""
    if not filled:
        return asked
    fields = tuple(
        one if one.kind == "secret" else replace(one, value=filled.get(one.name, "")) for one in asked.fields
    )
    return replace(asked, fields=fields)


ASKED_AT = "asked_at"
"""When a form was made: what was said since then in the same words came from a second tap on the same button."""


def asked_at(filled: Mapping[str, str]) -> float:
    """Epoch seconds; infinite where a form does not say it."""
    try:
        return float(filled.get(ASKED_AT, "inf"))
    except ValueError:
        return float("inf")


async def _fields(request: Request) -> dict[str, str]:
    form = await request.form()
    found = {key: value.strip() for key, value in form.items() if isinstance(value, str)}
    found.pop("csrf_token", None)
    return found


Fields = Annotated[dict[str, str], Depends(_fields)]
"""What was filled in; the server has checked that the form came from a page of ours."""


def ask(shell: Shell, request: Request, asked: Question, error: OpsbookError | None = None) -> Response:
    """The page; with `error` the same page, saying why it was not done."""
    decision = may(signed_in(request), asked.action, asked.environment)
    why = asked.impossible or ("" if decision.allowed else decision.why)
    context = {"title": asked.title, "asked": asked, "why": why, "error": error}
    status = error.http_status if error is not None else 200
    return shell.page(request, "response/ask.html", lambda: context, status=status)


def act(shell: Shell, request: Request, asked: Question, do: Callable[[], str | None], then: str) -> Response:
    """Do it and show what came of it: the page `then`, or the one that `do` names."""
    try:
        decision = may(signed_in(request), asked.action, asked.environment)
        if not decision.allowed:
            raise NotAllowed(decision.why)
        return shell.see_other(do() or then)
    except OpsbookError as error:
        return ask(shell, request, asked, error)
