"""``opsbook diagnose``: every look that applies, live; then the suspects, the page and the next command."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import click

from opsbook.errors import Failed, Invalid, NotFound, OpsbookError, from_json
from opsbook.terminal import Session, Style, age, clock_time, table
from opsbook.terminal.commands import Command
from opsbook.terminal.names import complete_environment, complete_service

ROOM = "/api/response/diagnoses"
STATES = {
    "ok": ("ok", "ok"), "warning": ("warning", "warning"), "failed": ("failed", "failed"),
    "unknown": ("waiting", "unknown"), "skipped": ("paused", "skipped"),
}  # fmt: skip
LINES = 8  # of one look at the terminal; --json has all of them


@click.command(cls=Command)
@click.argument("service", required=False, default="", shell_complete=complete_service)
@click.option(
    "--in",
    "environment",
    metavar="ENV",
    shell_complete=complete_environment,
    help="Left out: the only environment that it is deployed to.",
)
@click.option("--no-runbooks", is_flag=True, help="Do not run the diagnose blocks of pages.")
@click.option(
    "--budget",
    type=click.FloatRange(0.5, 120.0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="What is not found by then is unknown.",
)
@click.option(
    "--last", is_flag=True, help="Show the last one instead, such as the one made when the alert fired."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="As Markdown.")
@click.pass_obj
def diagnose(
    session: Session,
    *,
    service: str,
    environment: str | None,
    no_runbooks: bool,
    budget: float,
    last: bool,
    as_json: bool,
    as_markdown: bool,
) -> int:
    """Look at a service (without one: at the machines) in every way that changes nothing, and name suspects.

    \b
    Examples:
      opsbook diagnose web --in production
      opsbook diagnose web --in production --last
      opsbook diagnose                                the machines, and what belongs to no service
      opsbook diagnose web --in production --markdown > web.md

    Exit codes: 0 nothing is wrong; 1 something is, or could not be looked at.
    """
    if as_json and as_markdown:
        raise Invalid("expected --json or --markdown, not both")
    terminal = session.terminal
    environment = environment or (_only(session, service) if service else "")
    quiet = as_json or as_markdown
    if last:
        made = _last(session, environment, service)
        for check in () if quiet else made["checks"]:
            terminal.data(*_check(check, terminal.style))
    else:
        body = {
            "environment": environment, "service": service, "runbooks": not no_runbooks, "budget": budget,
        }  # fmt: skip
        begun = session.api.post(ROOM, body)
        if not (begun["runbooks"] or no_runbooks or quiet):
            terminal.message("without the pages' own looks: you may not run runbooks here")
        made = _followed(session, str(begun["id"]), quiet=quiet)
    if as_json:
        terminal.json(made)
    elif as_markdown:
        terminal.data(*session.api.lines(f"{ROOM}/{made['id']}/markdown"))
    else:
        _conclude(session, made)
    return 0 if made["state"] == "ok" else 1


def _only(session: Session, service: str) -> str:
    """The one environment that a service is deployed to."""
    found = session.api.get("/api/status")["environments"]
    names = [name for name, one in found.items() if (one["services"].get(service) or {}).get("release")]
    names = names or [name for name, one in found.items() if service in one["services"]]
    if len(names) == 1:
        return str(names[0])
    if not names:
        raise NotFound(f"no environment has a service {service}", hint="opsbook status")
    raise Invalid(
        f"{service} is in several environments", hint=f"--in {names[0]}, or another of {', '.join(names)}"
    )


def _last(session: Session, environment: str, service: str) -> dict[str, Any]:
    found = session.api.get(ROOM, {"environment": environment, "service": service})["diagnoses"]
    if not found:
        raise NotFound(
            f"{f'{service} in {environment}' if service else 'that'} was never diagnosed",
            hint=f"opsbook diagnose {service} --in {environment}" if service else "opsbook diagnose",
        )
    made: dict[str, Any] = found[0]
    session.terminal.message(
        f"{made['id']}, made {clock_time(made['at'])}, {age(made['at'], time.time())} ago"
    )
    return made


def _followed(session: Session, name: str, *, quiet: bool) -> dict[str, Any]:
    """The diagnosis, once it is made; meanwhile each look in a line."""
    terminal = session.terminal
    for line in session.api.lines(f"{ROOM}/{name}/live"):
        if not line.strip():
            continue
        one: dict[str, Any] = json.loads(line)
        if one["type"] == "check" and not quiet:
            terminal.data(*_check(one, terminal.style))
        elif one["type"] == "diagnosis":
            del one["type"]
            if one["progress"] == "failed":
                raise _failure(one)
            return one
    raise Failed(f"{name} was not made: the server ended", hint="opsbook up --detach")


def _failure(one: Mapping[str, Any]) -> OpsbookError:
    return from_json(one["error"])


def _check(check: Mapping[str, Any], style: Style) -> list[str]:
    """A look in a line with its time, and below it what it found."""
    symbol, word = STATES[str(check["state"])]
    state = style.state(symbol, word) + " " * (7 - len(word))
    line = f"{state} {check['title']:<24} {check['seconds']:>5.1f}s  {check['text']}"
    if check["state"] in {"ok", "skipped"} and check["name"] not in {"runbooks", "changes"}:
        return [line]
    shown = [text for text in check["lines"] if text != check["text"]]
    lines = [f"    {style.paint(text, 'dim')}" for text in shown[:LINES]]
    more = [f"    {style.paint(f'{len(shown) - LINES} more: --json', 'dim')}"] if len(shown) > LINES else []
    return [line, *lines, *more]


def _conclude(session: Session, made: Mapping[str, Any]) -> None:
    terminal = session.terminal
    style = terminal.style
    symbol, word = STATES[str(made["state"])]
    since = f" · since {clock_time(made['since'])}" if made["since"] is not None else ""
    terminal.data("", f"{style.state(symbol, word)} {made['symptom']}{style.paint(since, 'dim')}")
    if made["affected"] and made["state"] != "ok":
        terminal.data(f"needed by {', '.join(made['affected'])}")
    if made["suspects"]:
        rows = [
            [f"{number}.", f"{one['score'] * 100:.0f} %", one["text"], style.paint(one["why"], "dim")]
            for number, one in enumerate(made["suspects"], 1)
        ]
        terminal.data("", style.paint("suspects", "bold"), *table(rows, right=(1,)))
    elif made["state"] != "ok":
        terminal.data("no suspect was found")
    pages = [page for page in (made["runbook"], *made["further"]) if page is not None]
    if pages:
        rows = [[page["title"], page["file"], style.paint(page["why"], "dim")] for page in pages]
        terminal.data("", style.paint("pages", "bold"), *table(rows))
    if made["unkept"]:
        terminal.message(
            f"{terminal.message_style.state('warning')} it could not be written down: {made['unkept']}"
        )
    paint = terminal.message_style.paint
    terminal.message(
        "", f"{paint('next:', 'cyan')} {made['next']['command']}  {paint(made['next']['why'], 'dim')}"
    )
