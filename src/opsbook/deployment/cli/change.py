"""``opsbook rollback``, ``scale``, ``restart`` and ``abort``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from opsbook.deployment.cli import words
from opsbook.deployment.cli.deploy import finish
from opsbook.terminal import Session
from opsbook.terminal.commands import Command
from opsbook.terminal.names import complete_environment, complete_service


def _in_environment(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and options that these commands have in common."""
    for add in (
        click.option("--json", "as_json", is_flag=True, help="NDJSON: each state of the deployment."),
        click.option("--no-wait", is_flag=True, help="Return as soon as it is accepted."),
        click.option("--in", "environment", required=True, metavar="ENV", shell_complete=complete_environment,
                     help="The environment."),
        click.argument("service", shell_complete=complete_service),
    ):  # fmt: skip
        command = add(command)
    return command


@click.command(cls=Command)
@_in_environment
@click.option("--to", "version", metavar="V", help="A version that ran before (default: the previous one).")
@click.option("--yes", is_flag=True, help="For scripts: the way back never asks anyway.")
@click.pass_obj
def rollback(
    session: Session,
    *,
    service: str,
    environment: str,
    version: str | None,
    yes: bool,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Go back to the version before; while that is still warm, it is one change of routes.

    \b
    Examples:
      opsbook rollback web --in production
      opsbook rollback web --in production --to 2.0
    """
    del yes
    body = {"service": service, "environment": environment, "to": version}
    _change(session, "rollbacks", body, no_wait=no_wait, as_json=as_json)


@click.command(cls=Command)
@_in_environment
@click.option(
    "--replicas", required=True, type=click.IntRange(0, 1000), metavar="N", help="How many instances."
)
@click.pass_obj
def scale(
    session: Session, *, service: str, environment: str, replicas: int, no_wait: bool, as_json: bool
) -> None:
    """Run more or fewer instances; the version stays.

    \b
    Examples:
      opsbook scale web --in production --replicas 4
      opsbook scale worker --in staging --replicas 0
    """
    body = {"service": service, "environment": environment, "replicas": replicas}
    _change(session, "scalings", body, no_wait=no_wait, as_json=as_json)


@click.command(cls=Command)
@_in_environment
@click.pass_obj
def restart(session: Session, *, service: str, environment: str, no_wait: bool, as_json: bool) -> None:
    """Replace all instances by new ones of the same release, without losing a request.

    \b
    Examples:
      opsbook restart web --in production
    """
    body = {"service": service, "environment": environment}
    _change(session, "restarts", body, no_wait=no_wait, as_json=as_json)


def _change(session: Session, kind: str, body: dict[str, Any], *, no_wait: bool, as_json: bool) -> None:
    answer = session.api.post(f"/api/deployment/{kind}", body)
    finish(session, answer, no_wait=no_wait, as_json=as_json)


@click.command(cls=Command)
@click.argument("deployment_id", metavar="ID")
@click.option("--reason", default="", help="Why; the journal keeps it.")
@click.option("--json", "as_json", is_flag=True, help="The deployment as JSON.")
@click.pass_obj
def abort(session: Session, deployment_id: str, reason: str, as_json: bool) -> None:
    """Take a running deployment back, in whatever phase it is.

    \b
    Examples:
      opsbook abort d-91
      opsbook abort d-91 --reason "wrong version"
    """
    deployment = session.api.post(f"/api/deployment/deployments/{deployment_id}/abort", {"reason": reason})
    terminal = session.terminal
    if as_json:
        terminal.json(deployment)
        return
    terminal.message(
        f"{terminal.message_style.state('running', 'aborting')}  {words.title(deployment)}",
        f"{terminal.message_style.paint('hint:', 'cyan')} opsbook deployments watch {deployment_id}",
    )
