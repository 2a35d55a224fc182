"""``opsbook lock``: who is working on what."""

from __future__ import annotations

import time
from typing import Any

import click

from opsbook.terminal import Session, age, duration, table
from opsbook.terminal.commands import Group
from opsbook.terminal.names import complete_environment, complete_service


@click.group(cls=Group, bare="status")
def lock() -> None:
    """Locks: one change per service and environment at a time.

    \b
    Examples:
      opsbook lock                                  who holds which
      opsbook lock release web --in production      take one away from a holder that is gone
    """


@lock.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def status(session: Session, as_json: bool = False) -> None:
    """Who holds which lock, why, and until when.

    \b
    Examples:
      opsbook lock status
    """
    answer = session.api.get("/api/deployment/locks")
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    if not answer["locks"]:
        terminal.message(f"{terminal.message_style.state('ok')} nothing is locked")
        return
    heading = [terminal.style.paint(word, "dim") for word in ("WHAT", "HOLDER", "REASON", "SINCE", "UNTIL")]
    terminal.data(*table([heading, *(_row(one, time.time()) for one in answer["locks"])]))


def _row(one: dict[str, Any], now: float) -> list[str]:
    left = float(one["expires_at"]) - now
    until = (
        f"in {duration(left)} unless renewed"
        if left > 0
        else f"expired {age(float(one['expires_at']), now)} ago"
    )
    since = age(float(one["acquired_at"]), now)
    return [str(one["subject"]), str(one["holder"]), str(one["reason"] or "-"), since, until]


@lock.command()
@click.argument("service", shell_complete=complete_service)
@click.option("--in", "environment", required=True, metavar="ENV", shell_complete=complete_environment,
              help="The environment.")  # fmt: skip
@click.pass_obj
def release(session: Session, service: str, environment: str) -> None:
    """Take a lock away; a holder that still lives is then refused to write, and its deployment stops.

    \b
    Examples:
      opsbook lock release web --in production
    """
    session.api.delete(f"/api/deployment/locks/{environment}/{service}")
    session.terminal.message(
        f"{session.terminal.message_style.state('ok', 'released')} {environment}/{service}"
    )
