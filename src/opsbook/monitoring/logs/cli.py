"""``opsbook logs``: what the instances wrote, and what programs sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from opsbook.errors import Invalid
from opsbook.monitoring.logs.plan import known_level, moment, pairs_of
from opsbook.terminal import Session, Style, clock_time, count
from opsbook.terminal.commands import Command
from opsbook.terminal.names import complete_environment, complete_service
from opsbook.world.logs.query import LEVELS, compiled

COLOURS = ("cyan", "green", "yellow", "blue", "bold")
LEVEL_COLOURS = {"critical": "red", "error": "red", "warning": "yellow", "debug": "dim", "trace": "dim"}
_WORDS = {"warning": "WARN", "critical": "CRIT"}


@click.command(cls=Command)
@click.argument("services", metavar="[SERVICE...]", nargs=-1, shell_complete=complete_service)
@click.option("--env", "--in", "environments", metavar="ENV", multiple=True, shell_complete=complete_environment,
              help="Of this environment; can be repeated.")  # fmt: skip
@click.option(
    "--instance", "instances", metavar="NAME", multiple=True, help="Of this instance; can be repeated."
)
@click.option("-f", "--follow", is_flag=True, help="Go on showing lines as they come, of new instances too.")
@click.option("--grep", metavar="RE", help="Only lines that match this regular expression (RE2).")
@click.option("--text", metavar="TEXT", help="Only lines in which this stands, in upper or lower case.")
@click.option("--level", metavar="LEVEL", help=f"Only of this level or a worse one: {', '.join(LEVELS)}.")
@click.option("--since", metavar="10m", help="Only lines of this last time, or since a time.")
@click.option("--until", metavar="5m", help="Only lines from before.")
@click.option("--field", "fields", metavar="K=V", multiple=True, help="With this field; can be repeated.")
@click.option("--trace", metavar="ID", help="Only lines of this trace.")
@click.option("-n", "--lines", "limit", default=200, show_default=True, type=click.IntRange(0, 100_000),
              help="At most so many, the newest.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="NDJSON: one object a line.")
@click.pass_obj
def logs(
    session: Session,
    *,
    services: tuple[str, ...],
    environments: tuple[str, ...],
    instances: tuple[str, ...],
    follow: bool,
    grep: str | None,
    text: str | None,
    level: str | None,
    since: str | None,
    until: str | None,
    fields: tuple[str, ...],
    trace: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Search what services wrote and sent, all instances in the order of time.

    \b
    Examples:
      opsbook logs web --env production
      opsbook logs web api --level warning --since 1h
      opsbook logs --grep 'timeout|refused' --field http.route=/orders
      opsbook logs --trace 4bf92f3577b34da6a3ce929d0e0e4736
      opsbook logs web -f --json
    """
    _check(grep, level, since, until, fields)
    asked: dict[str, Any] = {
        "service": list(services) or None, "environment": list(environments) or None,
        "instance": list(instances) or None, "grep": grep, "text": text, "level": level, "since": since,
        "until": until, "field": list(fields) or None, "trace": trace,
    }  # fmt: skip
    terminal = session.terminal
    shown = 0
    try:
        for record in _follow(session, asked, limit) if follow else _read(session, asked, limit):
            shown += 1
            if as_json:
                terminal.json(record, indent=None)
            else:
                terminal.data(show(record, terminal.style))
    except KeyboardInterrupt:
        if not follow:
            raise
        return  # the way to end -f
    if not shown and not as_json:
        terminal.message("no line fits" if any(asked.values()) else "no line was written or sent yet")


def _check(
    grep: str | None, level: str | None, since: str | None, until: str | None, fields: tuple[str, ...]
) -> None:
    """What is mistyped is said here, in the words of the command line."""
    try:
        if grep is not None:
            compiled(grep)
    except Invalid as error:
        raise Invalid(f"--grep: {error.message}", where=grep or "", hint="quote it: --grep 'a|b'") from None
    known_level(level or "")
    pairs_of(fields)
    moment(since or "", 0.0, "--since")
    moment(until or "", 0.0, "--until")


def _read(session: Session, asked: Mapping[str, Any], limit: int) -> Iterator[dict[str, Any]]:
    """The newest, page after page, told oldest first."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = session.api.get(
            "/api/monitoring/logs/search", {**asked, "limit": min(5000, limit - len(found)), "cursor": cursor}
        )
        found += page["records"]
        cursor = page["next"]
        if cursor is None or len(found) >= limit:
            break
        if page["partial"]:
            session.terminal.message(
                f"searched back to {clock_time(page['back_to'])}, {count(len(found), 'line')} so far"
            )
    yield from reversed(found)


def _follow(session: Session, asked: Mapping[str, Any], limit: int) -> Iterator[dict[str, Any]]:
    for line in session.api.lines("/api/monitoring/logs/follow", {**asked, "limit": min(limit, 10_000)}):
        if line.strip():
            yield json.loads(line)


def show(record: Mapping[str, Any], style: Style) -> str:
    """Time, origin, level, text, fields; the instances can be told apart by colour too."""
    origin = str(record["instance"] or record["service"] or "–")
    level = str(record["level"])
    word = _WORDS.get(level, level.upper()).ljust(5)
    fields = " ".join(
        f"{style.paint(f'{name}=', 'dim')}{_quoted(value)}"
        for name, value in record["fields"].items()
        if f"{name}={value}" not in record["text"]
    )
    return " ".join(
        part
        for part in (
            style.paint(clock_time(float(record["at"])), "dim"),
            style.paint(origin, COLOURS[sum(origin.encode()) % len(COLOURS)]),
            style.paint(word, LEVEL_COLOURS[level]) if level in LEVEL_COLOURS else word,
            str(record["text"]),
            fields,
            style.paint(f"trace={record['trace_id']}", "dim") if record["trace_id"] else "",
        )
        if part
    )


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if not value or any(c in value for c in ' "\n') else value
