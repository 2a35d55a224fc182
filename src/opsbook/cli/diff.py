"""``opsbook diff``: what differs between two environments of the handbook."""

from __future__ import annotations

import click

from opsbook.terminal import Session, table
from opsbook.terminal.commands import Command


@click.command(cls=Command)
@click.argument("left", metavar="ENV")
@click.argument("right", metavar="ENV")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def diff(session: Session, *, left: str, right: str, as_json: bool) -> None:
    """Show what differs between two environments as the handbook defines them; secrets by name only.

    \b
    Examples:
      opsbook diff staging production
    """
    found = _from_server(session, left, right) if session.remote else _from_files(session, left, right)
    terminal = session.terminal
    if as_json:
        terminal.json({"from": left, "to": right, "differences": found})
        return
    if not found:
        terminal.message(f"{terminal.message_style.state('ok')} {left} and {right} are the same")
        return
    style = terminal.style
    heading = [style.paint(word, "dim") for word in ("SERVICE", "FIELD", left.upper(), right.upper())]
    rows = [[one["service"], one["field"], one["left"], one["right"]] for one in found]
    terminal.data(*table([heading, *rows]))


def _from_files(session: Session, left: str, right: str) -> list[dict[str, str]]:
    from opsbook.book import FolderFiles, differences, load

    return [one.to_json() for one in differences(load(FolderFiles(session.book)), left, right)]


def _from_server(session: Session, left: str, right: str) -> list[dict[str, str]]:
    answer = session.api.get("/api/book/differences", {"from": left, "to": right})
    found: list[dict[str, str]] = answer["differences"]
    return found
