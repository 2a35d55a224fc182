"""``opsbook promote`` and ``opsbook approve``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from opsbook.deployment.cli import words
from opsbook.deployment.cli.deploy import finish
from opsbook.terminal import Session, Style, clock_time, table
from opsbook.terminal.commands import Command
from opsbook.terminal.names import complete_environment, complete_service

STATES = {"open": ("ok", "open"), "waiting": ("waiting", "waiting"), "refused": ("failed", "refused")}


@click.command(cls=Command)
@click.argument("service", shell_complete=complete_service)
@click.option("--to", "environment", required=True, metavar="ENV", shell_complete=complete_environment,
              help="The environment.")  # fmt: skip
@click.option("--incident", default="", metavar="ID", help="The open incident that this is for.")
@click.option("--no-wait", is_flag=True, help="Return as soon as it is accepted.")
@click.option("--json", "as_json", is_flag=True, help="NDJSON: each state of the deployment.")
@click.pass_obj
def promote(
    session: Session, *, service: str, environment: str, incident: str, no_wait: bool, as_json: bool
) -> None:
    """Deploy exactly what runs in the environment before (`promote_from`): the same sealed source.

    \b
    Examples:
      opsbook promote web --to staging
      opsbook promote web --to production
    """
    body = {"service": service, "environment": environment, "incident": incident}
    answer = session.api.post("/api/deployment/promotions", body)
    finish(session, answer, no_wait=no_wait, as_json=as_json)


@click.command(cls=Command)
@click.argument("deployment_id", metavar="ID")
@click.option("--comment", default="", help="Why, or what you looked at; the journal keeps it.")
@click.option("--withdraw", is_flag=True, help="Take your approval back, while it still waits.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="The deployment as JSON.")
@click.pass_obj
def approve(
    session: Session, *, deployment_id: str, comment: str, withdraw: bool, yes: bool, as_json: bool
) -> None:
    """Say yes to a deployment of somebody else, or to a canary that the analysis cannot decide.

    It needs a token of your own ($OPSBOOK_TOKEN): nobody approves their own, and the local operator could be anybody.

    \b
    Examples:
      opsbook approve d-91
      opsbook approve d-91 --yes --comment "read the diff"
      opsbook approve d-91 --withdraw
    """
    path, terminal = f"/api/deployment/deployments/{deployment_id}", session.terminal
    if withdraw:
        session.api.delete(f"{path}/approve")
        terminal.message(f"{terminal.message_style.state('ok', 'withdrawn')} {deployment_id}")
        return
    deployment, gates = session.api.get(path), session.api.get(f"{path}/gates")
    if not as_json:
        terminal.message(words.title(deployment), *gate_lines(gates["gates"], terminal.message_style))
    if not yes and terminal.interactive and not click.confirm(f"Approve {deployment_id}?", err=True):
        raise click.exceptions.Exit(1)
    answer = session.api.post(f"{path}/approve", {"comment": comment, "plan": gates.get("plan")})
    if as_json:
        terminal.json(answer)
        return
    style = terminal.message_style
    said = style.state("ok", f"approved by {answer['by']}")
    terminal.message("", f"{said} {words.title(deployment)}")
    if answer.get("gates"):
        terminal.message(*gate_lines(answer["gates"], style))
    terminal.message(f"{style.paint('next:', 'cyan')} opsbook deployments watch {deployment_id}")


def gate_lines(gates: list[Mapping[str, Any]], style: Style) -> list[str]:
    """One line a gate: state, name, what it waits for, until when."""
    rows = [
        (
            style.state(*STATES.get(str(gate["status"]), ("warning", str(gate["status"])))),
            str(gate["name"]),
            str(gate["detail"]),
            style.paint(f"until {clock_time(float(gate['until']))}", "dim") if gate.get("until") else "",
        )
        for gate in gates
    ]
    return [f"  {line}" for line in table(rows)]
