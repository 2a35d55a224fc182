"""``opsbook traces``: search traces, and show one as a waterfall."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import click

from opsbook.terminal import Session, Style, clock_time, count, cut, table, width
from opsbook.terminal.commands import Command, Group
from opsbook.terminal.names import complete_environment, complete_service

BAR = 32  # cells
_EIGHTHS = "▏▎▍▌▋▊▉█"
_COLOURS = ("cyan", "green", "blue", "yellow")


@click.group(cls=Group, bare="list")
def traces() -> None:
    """Traces that programs sent: search them, show one.

    \b
    Examples:
      opsbook traces
      opsbook traces list web --error --since 1h
      opsbook traces show 4bf92f3577b34da6a3ce929d0e0e4736
    """


@traces.command(name="list", cls=Command)
@click.argument("service", required=False, shell_complete=complete_service)
@click.option(
    "--in", "environment", metavar="ENV", shell_complete=complete_environment, help="The environment."
)
@click.option("--name", metavar="TEXT", help="With a span whose name has this in it.")
@click.option(
    "--field",
    "field",
    metavar="K=V",
    multiple=True,
    help="With a span that has this attribute; can be repeated.",
)
@click.option("--error", is_flag=True, help="With a span that failed.")
@click.option("--min", "shortest", metavar="250ms", help="That took so long at least.")
@click.option("--max", "longest", metavar="10s", help="That took so long at most.")
@click.option("--since", metavar="1h", help="That began in this last time, or since then.")
@click.option("--until", metavar="10m", help="That began before.")
@click.option("--slowest", is_flag=True, help="The slowest first, instead of the newest.")
@click.option(
    "-n", "--lines", "limit", default=50, show_default=True, type=click.IntRange(1, 500), help="At most."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(
    session: Session,
    *,
    service: str | None = None,
    environment: str | None = None,
    name: str | None = None,
    field: tuple[str, ...] = (),
    error: bool = False,
    shortest: str | None = None,
    longest: str | None = None,
    since: str | None = None,
    until: str | None = None,
    slowest: bool = False,
    limit: int = 50,
    as_json: bool = False,
) -> None:
    """Traces with a span that fits everything that is asked for, the newest first.

    \b
    Examples:
      opsbook traces list web --min 250ms --since 1h
      opsbook traces list --field http.route=/orders --error
      opsbook traces list --slowest -n 5 --json
    """
    asked = {
        "service": service, "environment": environment, "name": name, "field": list(field) or None,
        "error": error or None, "min": shortest, "max": longest, "since": since, "until": until,
        "slowest": slowest or None, "limit": limit,
    }  # fmt: skip
    found = session.api.get("/api/monitoring/traces", asked)["traces"]
    terminal = session.terminal
    if as_json:
        terminal.json({"traces": found})
        return
    terminal.data(*table([_line(one, terminal.style) for one in found], right=(3, 4)))
    if found:
        terminal.message(f"{count(len(found), 'trace')} · opsbook traces show ID")
    else:
        terminal.message("no trace fits · how programs send them: docs/howto/send-telemetry.md")


def _line(one: Mapping[str, Any], style: Style) -> list[str]:
    failed = style.state("failed", count(one["errors"], "error")) if one["errors"] else style.state("ok")
    return [
        style.paint(clock_time(one["start"]), "dim"),
        failed,
        f"{style.paint(one['service'] or '–', 'bold')} {one['name']}",
        took(one["seconds"]),
        count(one["spans"], "span"),
        one["trace_id"],
    ]


@traces.command(cls=Command)
@click.argument("trace_id", metavar="ID")
@click.option("--attributes", is_flag=True, help="With what each span says of itself.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(session: Session, *, trace_id: str, attributes: bool, as_json: bool) -> None:
    """One trace as a waterfall: who called whom, when, for how long.

    \b
    Examples:
      opsbook traces show 4bf92f3577b34da6a3ce929d0e0e4736
      opsbook traces show 4bf92f3577b34da6a3ce929d0e0e4736 --attributes
    """
    from urllib.parse import quote

    found = session.api.get(f"/api/monitoring/traces/{quote(trace_id, safe='')}")
    terminal = session.terminal
    if as_json:
        terminal.json(found)
        return
    errors = f" · {count(found['errors'], 'error')}" if found["errors"] else ""
    terminal.data(
        f"{found['service'] or '–'} {found['name']} · {took(found['seconds'])} · "
        f"{count(len(found['spans']), 'span')}{errors} · {clock_time(found['start'])}"
    )
    columns = shutil.get_terminal_size((120, 24)).columns
    terminal.data(*waterfall_lines(found, terminal.style, columns, attributes=attributes))
    terminal.message(f"its log lines: opsbook logs --trace {found['trace_id']}")


def waterfall_lines(
    found: Mapping[str, Any], style: Style, columns: int, *, attributes: bool = False
) -> Iterator[str]:
    """One line a span: symbol, name within its parent, bar, time taken; and why it failed below."""
    names = sorted({span["service"] for span in found["spans"]})
    most = max(20, min(64, columns - BAR - 14))
    labels = [_label(span, most) for span in found["spans"]]
    wide = max(map(width, labels), default=0)
    for span, label in zip(found["spans"], labels, strict=True):
        colour = (
            "red" if span["status"] == "error" else _COLOURS[names.index(span["service"]) % len(_COLOURS)]
        )
        symbol = style.symbol("failed") if span["status"] == "error" else " "
        bar = _bar(span["offset"], span["share"], unicode=style.unicode)
        padded = label + " " * (wide - width(label))
        yield f"{symbol} {padded}  {style.paint(bar, colour)}  {took(span['seconds']):>8}"
        inset = "  " * (span["depth"] + 2)
        if span["status"] == "error" and span["message"]:
            yield f"{inset}{style.paint(span['message'], 'red')}"
        if attributes:
            said = {**span["attributes"], "span": span["span_id"]}
            yield from (f"{inset}{style.paint(name, 'dim')} {value}" for name, value in sorted(said.items()))
            for event in span["events"]:
                yield f"{inset}{style.paint(clock_time(event['at']), 'dim')} {event['name']}"


def _label(span: Mapping[str, Any], most: int) -> str:
    orphan = " (its parent is missing)" if span["orphan"] else ""
    return cut(f"{'  ' * min(span['depth'], 12)}{span['service'] or '–'} {span['name']}{orphan}", most)


def _bar(offset: float, share: float, *, unicode: bool) -> str:
    """A bar on `BAR` cells, to an eighth of a cell at its end where the terminal can show that."""
    begin = min(int(offset / 100 * BAR), BAR - 1)
    length = share / 100 * BAR
    if not unicode:
        return ("." * begin + "#" * max(1, round(length))).ljust(BAR, ".")[:BAR]
    whole, part = int(length), int(length % 1 * 8)
    bar = "█" * whole + (_EIGHTHS[part - 1] if part else "")
    return f"{' ' * begin}{bar or _EIGHTHS[0]}".ljust(BAR)[:BAR]


def took(seconds: float) -> str:
    """A duration at the scale of traces: ``830 µs``, ``12.4 ms``, ``1.25 s``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.2f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
