"""The page before each action: what it does, to what, the way back, and the command that does the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Request, Response

from opsbook.deployment.pages.source import Shell
from opsbook.errors import NotAllowed, OpsbookError
from opsbook.security.api import signed_in
from opsbook.security.model import Action
from opsbook.security.plan import may


@dataclass(frozen=True, slots=True)
class Field:
    """An input of the form. `choices` are values and labels."""

    name: str
    label: str
    kind: Literal["text", "number", "choice"] = "text"
    value: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    hint: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What is asked.

    Args:
        command: what does the same at the command line.
        back: the page one came from.
        impossible: why nobody can do it now.
    """

    action: Action
    environment: str
    title: str
    target: str
    effect: tuple[str, ...]
    way_back: str
    command: str
    submit: str
    back: str
    danger: bool = False
    fields: tuple[Field, ...] = ()
    hidden: Mapping[str, str] | None = None
    impossible: str = ""


async def _fields(request: Request) -> dict[str, str]:
    form = await request.form()
    return {key: value.strip() for key, value in form.items() if isinstance(value, str)}


Fields = Annotated[dict[str, str], Depends(_fields)]
"""What was filled in; the server has checked that the form came from a page of ours."""


def ask(shell: Shell, request: Request, asked: Confirmation, error: OpsbookError | None = None) -> Response:
    """The page; with `error` the same page, saying why it was not done."""
    decision = may(signed_in(request), asked.action, asked.environment)
    why = asked.impossible or ("" if decision.allowed else decision.why)
    context = {"title": asked.title, "asked": asked, "why": why, "error": error}
    status = error.http_status if error is not None else 200
    return shell.page(request, "deployment/confirm.html", lambda: context, status=status)


def act(
    shell: Shell, request: Request, asked: Confirmation, do: Callable[[], str | None], then: str
) -> Response:
    """Do it and show what came of it: the page `then`, or the one that `do` names."""
    try:
        decision = may(signed_in(request), asked.action, asked.environment)
        if not decision.allowed:
            raise NotAllowed(decision.why)
        return shell.see_other(do() or then)
    except OpsbookError as error:
        return ask(shell, request, asked, error)
