"""``opsbook hold``: releases that were taken back."""

from __future__ import annotations

import time

import click

from opsbook.errors import Invalid, NotFound
from opsbook.terminal import Session, age, table
from opsbook.terminal.commands import Group
from opsbook.terminal.names import complete_environment, complete_service


@click.group(cls=Group, bare="list")
def hold() -> None:
    """Holds: a release that was taken back is not promoted until a person says so.

    \b
    Examples:
      opsbook hold                                   which are held, and why
      opsbook hold release web --in production       it may be deployed again
    """


@hold.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(session: Session, as_json: bool = False) -> None:
    """What is held, and why.

    \b
    Examples:
      opsbook hold list
    """
    answer = session.api.get("/api/deployment/holds")
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    if not answer["holds"]:
        terminal.message(f"{terminal.message_style.state('ok')} nothing is held")
        return
    heading = [terminal.style.paint(word, "dim") for word in ("WHERE", "VERSION", "SINCE", "BY", "REASON")]
    now = time.time()
    rows = [
        [
            f"{one['environment']}/{one['service']}",
            str(one["version"]),
            age(float(one["at"]), now),
            str(one["deployment"]),
            str(one["reason"]),
        ]
        for one in answer["holds"]
    ]
    terminal.data(*table([heading, *rows]))
    terminal.message(
        "", f"{terminal.message_style.paint('next:', 'cyan')} opsbook hold release SERVICE --in ENV"
    )


@hold.command()
@click.argument("service", shell_complete=complete_service)
@click.option("--in", "environment", required=True, metavar="ENV", shell_complete=complete_environment,
              help="The environment.")  # fmt: skip
@click.option("--version", default="", metavar="V", help="Which version, or release, when several are held.")
@click.pass_obj
def release(session: Session, service: str, environment: str, version: str) -> None:
    """Say that a release which was taken back may be deployed again.

    \b
    Examples:
      opsbook hold release web --in production
      opsbook hold release web --in production --version 2.1
    """
    held = [
        one
        for one in session.api.get("/api/deployment/holds")["holds"]
        if (one["environment"], one["service"]) == (environment, service)
        and version in ("", one["version"], one["release"])
    ]
    if not held:
        raise NotFound("nothing is held there", where=f"{environment}/{service}", hint="opsbook hold list")
    if len(held) > 1:
        names = ", ".join(f"{one['version']} ({one['release']})" for one in held)
        raise Invalid(f"several releases are held: {names}", hint="say which: --version RELEASE")
    session.api.delete(f"/api/deployment/holds/{environment}/{service}/{held[0]['release']}")
    said = f"{service} {held[0]['version']} may be deployed to {environment} again"
    session.terminal.message(f"{session.terminal.message_style.state('ok', 'released')} {said}")
