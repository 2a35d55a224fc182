"""``opsbook freeze``: times in which nothing is deployed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from opsbook.errors import Invalid
from opsbook.terminal import Session, Style, clock_time, parse_duration, table
from opsbook.terminal.commands import Group
from opsbook.terminal.names import complete_environment, complete_service


@click.group(cls=Group, bare="list")
def freeze() -> None:
    """Freezes: times in which nothing is deployed. What has begun goes on to its end; rollbacks always may.

    \b
    Examples:
      opsbook freeze                                         which there are, and which hold now
      opsbook freeze add sale --environment production --until 2026-11-30T08:00 --reason "Sale"
      opsbook freeze lift sale
    """


@freeze.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(session: Session, as_json: bool = False) -> None:
    """Those of the handbook and those that somebody added; the ones that hold now first.

    \b
    Examples:
      opsbook freeze list
    """
    answer = session.api.get("/api/deployment/freezes")
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    if not answer["freezes"]:
        terminal.message(f"{terminal.message_style.state('ok')} nothing is frozen, and nothing will be")
        hint = "opsbook freeze add NAME --until 4h, or write deployment/freezes.yaml"
        terminal.message(f"{terminal.message_style.paint('hint:', 'cyan')} {hint}")
        return
    words = ("STATE", "NAME", "WHERE", "WHEN", "BY", "REASON")
    heading = [terminal.style.paint(word, "dim") for word in words]
    terminal.data(*table([heading, *(_row(one, terminal.style) for one in answer["freezes"])]))


def _row(one: Mapping[str, Any], style: Style) -> list[str]:
    where = ", ".join(one["environments"] or ["everywhere"])
    if one["services"]:
        where += f": {', '.join(one['services'])}"
    when = "over"
    if one["until"]:
        when = f"until {clock_time(float(one['until']))}"
    elif one["next"]:
        when = f"from {clock_time(float(one['next']))}"
    state = (
        style.state("paused", "frozen")
        if one["active"]
        else style.paint("later" if one["next"] else "over", "dim")
    )
    weekly = ", weekly" if one["weekly"] else ""
    return [state, str(one["name"]), where, when + weekly, str(one["by"]), str(one["reason"])]


@freeze.command()
@click.argument("name")
@click.option("--environment", "environments", multiple=True, metavar="E", shell_complete=complete_environment,
              help="Where; may be repeated (default: everywhere).")  # fmt: skip
@click.option("--service", "services", multiple=True, metavar="S", shell_complete=complete_service,
              help="What; may be repeated (default: all services).")  # fmt: skip
@click.option(
    "--until", required=True, metavar="T", help="2026-12-24T18:00 by this machine's clock, or 4h from now."
)
@click.option("--reason", required=True, metavar="R", help="Why; shown to who is stopped.")
@click.option(
    "--except-role", "roles", multiple=True, metavar="ROLE", help="People with this role may deploy."
)
@click.option(
    "--except-incidents", "incidents", is_flag=True, help="Deployments for an open incident may go on."
)
@click.pass_obj
def add(
    session: Session,
    *,
    name: str,
    environments: tuple[str, ...],
    services: tuple[str, ...],
    until: str,
    reason: str,
    roles: tuple[str, ...],
    incidents: bool,
) -> None:
    """Forbid deployments from now until a time.

    \b
    Examples:
      opsbook freeze add sale --environment production --until 2026-11-30T08:00 --reason "Sale"
      opsbook freeze add database-move --until 4h --reason "The database moves" --except-incidents
    """
    end = moment(until, time.time())
    body = {
        "name": name,
        "reason": reason,
        "until": end,
        "environments": list(environments) or None,
        "services": list(services) or None,
        "roles": list(roles),
        "incidents": incidents,
    }
    session.api.post("/api/deployment/freezes", body)
    terminal, where = session.terminal, ", ".join(environments) or "everywhere"
    terminal.message(
        f"{terminal.message_style.state('paused', 'frozen')} {where} until {clock_time(end)}: {reason}"
    )
    terminal.message(f"{terminal.message_style.paint('hint:', 'cyan')} opsbook freeze lift {name}")


@freeze.command()
@click.argument("name")
@click.pass_obj
def lift(session: Session, name: str) -> None:
    """End a freeze that somebody added. One of the handbook is changed there: deployment/freezes.yaml.

    \b
    Examples:
      opsbook freeze lift sale
    """
    session.api.delete(f"/api/deployment/freezes/{name}")
    session.terminal.message(f"{session.terminal.message_style.state('ok', 'lifted')} {name}")


def moment(text: str, now: float) -> float:
    """UTC epoch seconds of ``2026-12-24T18:00`` (local, or with an offset) or of ``4h`` from now.

    Raises:
        Invalid: it is neither.
    """
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        pass
    try:
        return now + parse_duration(text)
    except Invalid:
        raise Invalid(
            f"expected a time or a duration, got {text!r}", hint="write 2026-12-24T18:00, or 4h"
        ) from None
