"""``opsbook deploy``."""

from __future__ import annotations

from typing import Any

import click

from opsbook.deployment.cli import plan as plans
from opsbook.deployment.cli.follow import follow, report
from opsbook.errors import NeedsApproval
from opsbook.terminal import Session
from opsbook.terminal.commands import Command
from opsbook.terminal.names import complete_environment, complete_service


@click.command(cls=Command)
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...", shell_complete=complete_service)
@click.option("--to", "environment", required=True, metavar="ENV", shell_complete=complete_environment,
              help="The environment.")  # fmt: skip
@click.option("--version", metavar="V", help="Instead of the version that the handbook names.")
@click.option("--strategy", metavar="S", help="Instead of the strategy that the handbook names.")
@click.option(
    "--check-index", type=int, metavar="N", help="Refuse when the plan is not the one with this index."
)
@click.option("--when-busy", type=click.Choice(["refuse", "queue", "supersede"]),
              help="When another deployment of the service is under way.")  # fmt: skip
@click.option("--together", is_flag=True, help="When one service is taken back, take back all.")
@click.option("--incident", metavar="ID", help="The open incident that this is for.")
@click.option("--no-wait", is_flag=True, help="Return as soon as it is accepted.")
@click.option("--yes", is_flag=True, help="Do not ask, where the environment is protected.")
@click.option("--json", "as_json", is_flag=True, help="NDJSON: each state of each deployment.")
@click.pass_obj
def deploy(
    session: Session,
    *,
    services: tuple[str, ...],
    environment: str,
    version: str | None,
    strategy: str | None,
    check_index: int | None,
    when_busy: str | None,
    together: bool,
    incident: str | None,
    no_wait: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Deploy services, and wait until they serve.

    Several services are deployed in the order of their dependencies. Ctrl-C stops the waiting only.

    \b
    Examples:
      opsbook deploy web --to production
      opsbook deploy web --to staging --version 2.1
      opsbook deploy web api --to production --together
      opsbook deploy web --to production --check-index 41    exactly what `opsbook plan` showed

    Exit codes: 0 it serves, 1 failed, 3 rolled back, 4 not allowed, 5 another is under way, 6 needs
    approval: without a terminal the command ends there, and the deployment waits on.
    """
    if not yes:
        check_index = _confirmed(session, services, environment, version, check_index)
    answer = session.api.post(
        "/api/deployment/deployments",
        {
            "services": list(services),
            "environment": environment,
            "version": version,
            "strategy": strategy,
            "check_index": check_index,
            "when_busy": when_busy,
            "together": together,
            **({"incident": incident} if incident else {}),
        },
    )
    finish(session, answer, no_wait=no_wait, as_json=as_json)


def _confirmed(
    session: Session,
    services: tuple[str, ...],
    environment: str,
    version: str | None,
    check_index: int | None,
) -> int | None:
    """Where the environment is protected, the plan is shown and agreed to; returns its index."""
    query = {"environment": environment, "service": list(services), "version": version}
    shown = plans.plans_of(session.api.get("/api/deployment/plan", query))
    if not any(one.get("protected") for one in shown):
        return check_index
    terminal = session.terminal
    terminal.message(*plans.show(shown, terminal.message_style))
    if not terminal.interactive:
        raise NeedsApproval(
            f"{environment} is protected, and nobody is here to be asked",
            hint="look at the plan, then add --yes",
        )
    if not click.confirm(f"Deploy to {environment}?", err=True):
        raise click.exceptions.Exit(1)
    return check_index if check_index is not None or len(shown) != 1 else shown[0].get("check_index")


def finish(session: Session, answer: dict[str, Any], *, no_wait: bool, as_json: bool) -> None:
    """Wait for what the server has accepted, or say how to; ends every command that changes something."""
    deployments = answer["deployments"]
    names = [str(deployment["id"]) for deployment in deployments]
    terminal = session.terminal
    if not names:
        terminal.message(terminal.message_style.state("ok", "nothing to do"))
    elif no_wait:
        if as_json:
            terminal.json(answer)
        else:
            terminal.message(f"{terminal.message_style.state('waiting', 'accepted')}  {' '.join(names)}")
            terminal.message(
                f"{terminal.message_style.paint('hint:', 'cyan')} opsbook deployments watch {' '.join(names)}"
            )
    else:
        ended = follow(
            session,
            names,
            as_json=as_json,
            known=deployments,
            after=answer.get("head"),
            patient=terminal.interactive,
        )
        report(session, ended, as_json=as_json)
