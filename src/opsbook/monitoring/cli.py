"""``opsbook logs``: what the instances wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import click

from opsbook.errors import Invalid
from opsbook.terminal import Session, Style, clock_time, parse_duration
from opsbook.terminal.commands import Command
from opsbook.terminal.names import complete_environment, complete_service

COLOURS = ("cyan", "green", "yellow", "blue", "bold")


@click.command(cls=Command)
@click.argument("service", shell_complete=complete_service)
@click.option(
    "--in",
    "environment",
    required=True,
    metavar="ENV",
    shell_complete=complete_environment,
    help="The environment.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on showing lines as they come, of new instances too.")
@click.option("--since", metavar="10m", help="Only lines of this last time.")
@click.option("--grep", metavar="X", help="Only lines that match this regular expression.")
@click.option("-n", "--lines", "limit", default=200, show_default=True, type=click.IntRange(1, 100_000),
              help="At most so many, the newest.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="NDJSON: one object a line.")
@click.pass_obj
def logs(
    session: Session,
    *,
    service: str,
    environment: str,
    follow: bool,
    since: str | None,
    grep: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show what a service wrote, all instances in the order of time.

    \b
    Examples:
      opsbook logs web --in production
      opsbook logs web --in production -f
      opsbook logs web --in production --since 10m --grep 'error|timeout'
    """
    if since is not None:
        parse_duration(since)  # a mistyped one is said here, in the words of the command line
    if grep is not None:
        _check_pattern(grep)
    query = {"service": service, "environment": environment, "since": since, "grep": grep, "limit": limit}
    terminal = session.terminal
    shown = 0
    try:
        for line in _follow(session, query) if follow else _read(session, query):
            shown += 1
            if as_json:
                terminal.json(line, indent=None)
            else:
                terminal.data(_show(line, terminal.style))
    except KeyboardInterrupt:
        if not follow:
            raise
        return  # the way to end -f
    if not shown and not as_json:
        terminal.message(
            f"{service} in {environment} wrote nothing" + (" that fits" if since or grep else "")
        )


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise Invalid(
            f"--grep: not a regular expression: {error}", where=pattern, hint="quote it: --grep 'a|b'"
        ) from None


def _read(session: Session, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from session.api.get("/api/monitoring/logs", query)["lines"]


def _follow(session: Session, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for line in session.api.lines("/api/monitoring/logs", {**query, "follow": True}):
        if line:
            yield json.loads(line)


def _show(line: dict[str, Any], style: Style) -> str:
    """Time, instance, text; the instances can be told apart by colour too."""
    instance = str(line["instance"])
    colour = COLOURS[sum(instance.encode()) % len(COLOURS)]
    return (
        f"{style.paint(clock_time(float(line['at'])), 'dim')} {style.paint(instance, colour)} {line['text']}"
    )
