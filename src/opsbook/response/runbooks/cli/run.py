"""``opsbook run``: do what a page of the handbook says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from opsbook.errors import Invalid, NotFound, OpsbookError
from opsbook.response.runbooks.cli.following import follow, plain
from opsbook.terminal import Session, Style, duration
from opsbook.terminal.commands import Command


def complete_page(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The pages of the handbook's folder."""
    del parameter
    session: Session = ctx.obj
    try:
        return sorted(path.stem for path in (session.book / "runbooks").glob(f"{incomplete}*.md"))
    except (OpsbookError, OSError):
        return []


def not_there(session: Session, page: str, error: NotFound) -> NotFound:
    """The error with its reason, where the page lies in the handbook's folder and opsbook does not have it."""
    try:
        there = (session.book / "runbooks" / f"{page}.md").is_file()
    except (OpsbookError, OSError):
        there = False
    if not there or error.message != f"no runbook {page}":
        return error
    return NotFound(
        f"opsbook does not have runbooks/{page}.md yet: it goes by the last commit, and by nothing that is not sound",
        hint="opsbook check; where the handbook is in git, commit the page",
        where=error.where,
    )


def parameters(words: Sequence[str]) -> dict[str, str]:
    """``K=V`` words as a mapping. Raises Invalid."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Invalid(f"expected NAME=VALUE, got {word[:60]!r}", hint="--param host=web-1")
        if name in found:
            raise Invalid(f"the parameter {name} is given twice")
        found[name] = value
    return found


@click.command(cls=Command)
@click.argument("page", shell_complete=complete_page)
@click.option("--param", "-p", "given", multiple=True, metavar="K=V", help="A parameter; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Show what would run; nothing is done.")
@click.option(
    "--incident", default="", metavar="ID", help="Left out: the open one whose alert leads to the page."
)
@click.option("--step", "stepwise", is_flag=True, help="Ask before each step.")
@click.option("--detach", is_flag=True, help="Start it, and do not wait.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; while it runs one line each.")
@click.pass_obj
def run(
    session: Session,
    *,
    page: str,
    given: tuple[str, ...],
    incident: str,
    dry_run: bool,
    stepwise: bool,
    detach: bool,
    as_json: bool,
) -> int:
    """Run a page of the handbook, step by step, and undo it when a step fails.

    \b
    Examples:
      opsbook run disk-full --param directory=/var/log/shop --dry-run    what would be done
      opsbook run disk-full --param directory=/var/log/shop
      opsbook run disk-full --param directory=/var/log/shop --step       asks before each step

    Exit codes: 0 done, 1 failed, 3 taken back or cancelled, 4 a precheck does not hold, 6 needs approval. Ctrl-C
    detaches; the run goes on.
    """
    if stepwise and not session.terminal.interactive and not detach:
        raise Invalid(
            "there is nobody to ask before each step", hint="--step --detach, then: opsbook runs resume RUN"
        )
    body: dict[str, Any] = {
        "page": page,
        "params": parameters(given),
        "dry_run": dry_run,
        "stepwise": stepwise,
        "incident": incident,
    }
    try:
        answer = session.api.post("/api/response/runs", body)
    except NotFound as error:
        raise not_there(session, page, error) from None
    terminal = session.terminal
    if dry_run:
        terminal.json(answer) if as_json else terminal.data(*_planned(answer, terminal.style))
        return 0
    attached = f"it was under way: {answer['requested_by']} started it" if answer["attached"] else ""
    part = f"part of {answer['incident']}" if answer["incident"] else ""
    if detach:
        if as_json:
            terminal.json(answer)
            return 0
        terminal.data(str(answer["id"]))
        if notes := " · ".join(filter(None, (attached, part))):
            terminal.message(notes)
        terminal.message(
            f"{terminal.message_style.paint('next:', 'cyan')} opsbook runs show {answer['id']} --follow"
        )
        return 0
    if not as_json:
        title = terminal.style.paint(str(answer["title"]), "bold")
        terminal.data(" · ".join(filter(None, (title, str(answer["id"]), attached, part))))
    return follow(session, str(answer["id"]), as_json=as_json, ask=stepwise)


def _planned(plan: Mapping[str, Any], style: Style) -> list[str]:
    lines = [f"{style.paint(plan['title'], 'bold')} · locks {plan['lock']}"]
    lines += [f"  {name}={plain(value)}" for name, value in plan["variables"].items()]
    for step in plan["steps"]:
        notes = [str(step["role"]), f"risk {step['risk']}", f"at most {duration(step['timeout'])}"]
        notes += [f"on {step['on']}"] if step["on"] != "local" else []
        notes += (
            [f"needs the approval of {step['approve'] or 'somebody else'}"] if step["needs_approval"] else []
        )
        notes += [f"undone by {', '.join(step['undone_by'])}"] if step["undone_by"] else []
        lines += ["", f"{style.symbol('waiting')} {step['id']}  {style.paint(' · '.join(notes), 'dim')}"]
        lines += [f"    {plain(line)}" for line in str(step["script"]).rstrip("\n").split("\n")]
    count = sum(1 for step in plan["steps"] if step["role"] in {"run", "manual"})
    return [*lines, "", f"{count} {'step' if count == 1 else 'steps'}; nothing was done"]
