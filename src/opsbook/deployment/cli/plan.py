"""``opsbook plan``: what would happen, and the command that makes exactly that happen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from opsbook.terminal import Session, Style, table
from opsbook.terminal.commands import Command
from opsbook.terminal.names import complete_environment

Plan = Mapping[str, Any]
SIGNS = {
    "+": ("add", "green"),
    "~": ("change", "yellow"),
    "-": ("remove", "red"),
    "!": ("attention", "yellow"),
}
ORDER = {"+": 0, "~": 1, "!": 2, "-": 3}  # deletions last
CHANGES = 2


@click.command(cls=Command)
@click.argument("environment", required=False, shell_complete=complete_environment)
@click.option("--exit-code", is_flag=True, help="Exit 2 when there are changes, 0 when there are none.")
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON.")
@click.pass_obj
def plan(session: Session, environment: str | None, exit_code: bool, as_json: bool) -> int:
    """Show what deploying the handbook would change; nothing is done.

    \b
    Examples:
      opsbook plan                            all environments
      opsbook plan production                 one
      opsbook plan production --exit-code     for scripts: 2 when something differs
    """
    answer = session.api.get("/api/deployment/plan", {"environment": environment})
    plans = plans_of(answer)
    if as_json:
        session.terminal.json(answer)
    else:
        session.terminal.data(*show(plans, session.terminal.style))
    return CHANGES if exit_code and any(one.get("changes") for one in plans) else 0


def plans_of(answer: Mapping[str, Any]) -> list[Plan]:
    """The plans in an answer of the API, which holds one or a list of them under ``plans``."""
    return list(answer["plans"]) if "plans" in answer else [answer]


def show(plans: Sequence[Plan], style: Style) -> list[str]:
    """The plans as lines, each ending with the command that applies it."""
    lines: list[str] = []
    for one in plans:
        changes = sorted(one.get("changes") or [], key=lambda change: ORDER.get(change["symbol"], 2))
        if lines:
            lines.append("")
        if not changes:
            lines.append(
                f"{style.paint(one['environment'], 'bold')} · {style.state('ok', 'nothing to change')}"
            )
            continue
        lines.append(style.paint(one["environment"], "bold"))
        lines += _changes(changes, style)
        lines += ["", footer(one)]
        services = [change["service"] for change in changes if change["symbol"] in {"+", "~"}]
        if services:
            index = f" --check-index {one['check_index']}" if one.get("check_index") is not None else ""
            command = f"opsbook deploy {' '.join(services)} --to {one['environment']}{index}"
            lines.append(f"{style.paint('apply:', 'cyan')} {command}")
    return lines


def footer(one: Plan) -> str:
    """``2 to add, 1 to change, 0 to remove``."""
    total = one.get("summary") or {}
    return f"{total.get('add', 0)} to add, {total.get('change', 0)} to change, {total.get('remove', 0)} to remove"


def _changes(changes: Sequence[Mapping[str, Any]], style: Style) -> list[str]:
    heads = table(
        [
            (_sign(change["symbol"], style), str(change["service"]), str(change["summary"]))
            for change in changes
        ]
    )
    lines = []
    for head, change in zip(heads, changes, strict=True):
        lines += [f"  {head}", *(f"      {detail}" for detail in change.get("details") or [])]
    return lines


def _sign(symbol: str, style: Style) -> str:
    word, colour = SIGNS.get(symbol, ("", "dim"))
    return style.paint(f"{symbol} {word}", colour)
