"""``opsbook top``: every service and host with its figures, live."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from opsbook.errors import Unreachable
from opsbook.terminal import Session, Style, Terminal, clock_time, count, share, table
from opsbook.terminal.commands import Command

EVERY = 2.0  # seconds
HEAD = ("", "service", "rate", "errors", "p95", "cpu", "memory", "up", "alerts")
_NUMBERS = range(2, 8)
_STATES = {"critical": "failed", "warning": "warning", "info": "running"}


@click.command(cls=Command)
@click.option("--in", "environment", metavar="ENV", help="Only of one environment.")
@click.option("--once", is_flag=True, help="Once, instead of every two seconds.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; without --once one line for each look.")
@click.pass_obj
def top(session: Session, *, environment: str | None, once: bool, as_json: bool) -> None:
    """Watch all services and hosts: requests, errors, duration, CPU, memory, alerts; worst first.

    \b
    Examples:
      opsbook top
      opsbook top --in production
      opsbook top --once --json
    """
    terminal = session.terminal

    def look() -> dict[str, Any]:
        found: dict[str, Any] = session.api.get("/api/monitoring/top")
        if environment is not None:
            found["lines"] = [line for line in found["lines"] if line["environment"] == environment]
        return found

    if once:
        found = look()
        if as_json:
            terminal.json(found)
        else:
            terminal.data(*shown(found["lines"], terminal.style))
        return
    try:
        _follow(look, terminal, as_json=as_json)
    except KeyboardInterrupt:
        return  # the way to end it


def _follow(look: Callable[[], dict[str, Any]], terminal: Terminal, *, as_json: bool) -> None:
    region = terminal.region() if terminal.moves and not as_json else None
    lines: Sequence[Mapping[str, Any]] = ()
    while True:
        note = ""
        try:
            found = look()
            lines, at = found["lines"], float(found["at"])
        except Unreachable:
            if region is None:
                raise
            note, at = "opsbook does not answer; these figures are old", time.time()
        if as_json:
            terminal.json(found, indent=None)
        elif region is not None:
            style = terminal.message_style
            head = f"{clock_time(at, date=False)} · {count(len(lines), 'line')} · Ctrl-C ends"
            text = f"{style.state('warning')} {note}" if note else style.paint(head, "dim")
            rows = region.size.lines - 2
            table_lines = shown(lines, style)
            left = len(table_lines) - rows
            more = [style.paint(f"{left} more: opsbook top --once", "dim")] if left > 0 else []
            region.draw([text, *table_lines[: rows - len(more)], *more])
        else:
            terminal.data(*shown(lines, terminal.style), "")
        time.sleep(EVERY)


def shown(lines: Sequence[Mapping[str, Any]], style: Style) -> list[str]:
    """The table, its head first."""
    rows = [[style.paint(word, "dim") for word in HEAD]]
    rows += [_row(line, style) for line in lines]
    return table(rows, right=_NUMBERS)


def _row(line: Mapping[str, Any], style: Style) -> list[str]:
    state = _STATES.get(line["worst"], "ok")
    known = any(line[name] is not None for name in ("rate", "cpu", "memory"))
    if not line["alerts"] and not known:
        state = "paused"
    name = f"{line['environment']}/{line['name']}" if line["environment"] else f"host {line['name']}"
    return [
        style.symbol(state),
        style.paint(name, "bold"),
        _figure(line["rate"], lambda value: f"{value:.3g}/s" if value < 1000 else f"{value:,.0f}/s"),
        _figure(line["errors"], share),
        _figure(line["p95"], seconds),
        _figure(line["cpu"], share),
        _figure(line["memory"], size),
        _figure(line["up"], lambda value: f"{value:.0f}"),
        style.state(state, f"{line['alerts']} {line['worst']}".strip()) if line["alerts"] else "-",
    ]


def _figure(value: float | None, word: Callable[[float], str]) -> str:
    return "-" if value is None else word(value)


def seconds(value: float) -> str:
    """``12 ms``, ``1.4 s``."""
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def size(value: float) -> str:
    """``96 MiB``, ``1.2 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"
