"""``opsbook probes``: what opsbook does not run, and whether it is well."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from opsbook.errors import Failed
from opsbook.terminal import Session, Style, age, duration, table
from opsbook.terminal.commands import Group


@click.group(cls=Group, bare="list")
def probes() -> None:
    """Probes: things that opsbook does not run, looked at from here.

    \b
    Examples:
      opsbook probes                  what is down, first
      opsbook probes run payments     look now, and say what is seen
    """


@probes.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(session: Session, as_json: bool = False) -> None:
    """All probes, those that are down first.

    \b
    Examples:
      opsbook probes list --json
    """
    answer = session.api.get("/api/monitoring/probes")
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    if not answer["probes"]:
        terminal.message("the handbook has no probes")
        hint = "add probes: [{name: payments, http: https://...}] to monitoring/probes.yaml"
        terminal.message(f"{terminal.message_style.paint('hint:', 'cyan')} {hint}")
        return
    now = time.time()
    terminal.data(*table([_row(one, terminal.style, now) for one in answer["probes"]], right=(4,)))


@probes.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def run(session: Session, name: str, as_json: bool) -> None:
    """Look once, now. Exit code 1 when it is not well.

    \b
    Examples:
      opsbook probes run payments
    """
    found = session.api.post(f"/api/monitoring/probes/{name}/run", {})
    if as_json:
        session.terminal.json(found)
    elif found["ok"]:
        style = session.terminal.style
        took = duration(float(found["seconds"]))
        session.terminal.data(f"{style.state('ok')} {name} · {found['target']} · {found['detail']} · {took}")
    if not found["ok"]:
        raise Failed(f"{name} is not well: {found['detail']}", where=str(found["target"]))


def _row(one: Mapping[str, Any], style: Style, now: float) -> tuple[str, ...]:
    if one["problem"]:
        state = style.state("warning", "cannot look")
    elif one["up"] is None:
        state = style.state("waiting", "not known")
    else:
        state = style.state("ok", "up") if one["up"] else style.state("failed", "down")
    since = age(one["since"], now) if one["since"] else ""
    took = duration(float(one["seconds"])) if one["looked_at"] else ""
    said = str(one["problem"] or one["detail"])
    return (state, str(one["name"]), f"{one['kind']} {one['target']}", since, took, style.paint(said, "dim"))
