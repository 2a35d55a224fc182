"""``opsbook query``: ask what was measured, in PromQL."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from opsbook.errors import Invalid
from opsbook.terminal import Point, Session, Terminal, Words, clock_time, parse_duration, plot, table
from opsbook.terminal.commands import Command

MOST_PLOTS = 5  # one under the other
COLUMNS = 5  # of a table over time: the newest steps


@click.command(cls=Command)
@click.argument("expression")
@click.option(
    "--at", metavar="TIME", help="At this time instead of now: 14:30, 2026-11-20T14:30, or 10m (ago)."
)
@click.option("--range", "span", metavar="1h", help="Over this last time, step by step.")
@click.option("--step", metavar="30s", help="Between two steps of --range; by itself about 120 steps.")
@click.option(
    "--plot", "plotted", is_flag=True, help="Draw it over time; the last hour unless --range says otherwise."
)
@click.option("--json", "as_json", is_flag=True, help="As Prometheus' API answers.")
@click.pass_obj
def query(
    session: Session,
    *,
    expression: str,
    at: str | None,
    span: str | None,
    step: str | None,
    plotted: bool,
    as_json: bool,
) -> None:
    """Ask what was measured, in PromQL.

    \b
    Examples:
      opsbook query 'up == 0'
      opsbook query 'sum by (service) (rate(http_requests_total[5m]))'
      opsbook query 'histogram_quantile(0.95, sum by (le) (rate(request_seconds_bucket[5m])))' --range 1h --plot
      opsbook query 'node_load1' --at 14:30 --json
    """
    end = time.time() if at is None else _moment(at)
    asked: dict[str, Any] = {"query": expression}
    if span is not None or plotted:
        seconds = parse_duration(span or "1h")
        every = parse_duration(step) if step else max(1.0, round(seconds / 120))
        asked |= {"start": f"{end - seconds:.3f}", "end": f"{end:.3f}", "step": f"{every:g}"}
    elif step is not None:
        raise Invalid("--step needs --range", where="--step", hint="add --range 1h")
    else:
        asked["time"] = f"{end:.3f}"
    answer = session.api.get("/api/monitoring/query", asked)
    terminal = session.terminal
    if as_json:
        terminal.json(answer["data"])
    else:
        _show(terminal, answer["data"], asked, plotted=plotted)
    for said in [*answer.get("warnings", []), *answer.get("infos", [])]:
        terminal.message(said)


def _moment(text: str) -> float:
    """A time of day, a date with one, seconds since the epoch, or how long ago."""
    ways: tuple[Callable[[str], float], ...] = (
        float,
        lambda given: datetime.fromisoformat(given).timestamp(),
        _time_of_day,
        lambda given: time.time() - parse_duration(given),
    )
    for read in ways:
        try:
            return read(text)
        except (ValueError, Invalid):
            continue
    raise Invalid(f"--at: {text!r} is no time", where="--at", hint="14:30, 2026-11-20T14:30 or 10m")


def _time_of_day(text: str) -> float:
    """Of today, by the clock of whoever asks."""
    today = datetime.now().astimezone()
    asked = time.strptime(text, "%H:%M")
    return today.replace(hour=asked.tm_hour, minute=asked.tm_min, second=0, microsecond=0).timestamp()


def _show(terminal: Terminal, data: dict[str, Any], asked: dict[str, Any], *, plotted: bool) -> None:
    kind, found = data["resultType"], data["result"]
    if kind in ("scalar", "string"):
        terminal.data(str(found[1]))
    elif not found:
        terminal.message("no series: nothing was measured that fits")
    elif kind == "vector":
        names = _names(found)
        rows = [[name, each["value"][1]] for name, each in zip(names, found, strict=True)]
        _table(terminal, ["series", "value"], rows)
    elif plotted:
        _plots(terminal, found, float(asked["start"]), float(asked["end"]))
    else:
        _over_time(terminal, found)


def _names(found: list[dict[str, Any]]) -> list[str]:
    return [_name(each["metric"]) for each in found]


def _name(metric: dict[str, str]) -> str:
    inside = ", ".join(f'{label}="{value}"' for label, value in metric.items() if label != "__name__")
    name = metric.get("__name__", "")
    return f"{name}{{{inside}}}" if inside or not name else name


def _over_time(terminal: Terminal, found: list[dict[str, Any]]) -> None:
    times = sorted({float(at) for each in found for at, _ in each["values"]})[-COLUMNS:]
    rows = []
    for name, each in zip(_names(found), found, strict=True):
        values = {float(at): value for at, value in each["values"]}
        rows.append([name, *(_short(values.get(at)) for at in times)])
    _table(terminal, ["series", *(clock_time(at, date=False) for at in times)], rows)


def _short(value: str | None) -> str:
    return "" if value is None else f"{float(value):.6g}"


def _table(terminal: Terminal, head: list[str], rows: list[list[str]]) -> None:
    # A series may be long and stands last, where nothing is padded.
    lines = table([[*row[1:], row[0]] for row in [head, *rows]], right=range(len(head) - 1))
    terminal.data(terminal.style.paint(lines[0], "dim"), *lines[1:])


def _plots(terminal: Terminal, found: list[dict[str, Any]], since: float, until: float) -> None:
    """Each series under its name; more than a few would say nothing."""
    width = min(shutil.get_terminal_size().columns, 100)
    for name, each in zip(_names(found)[:MOST_PLOTS], found, strict=False):
        terminal.data(name)
        points = [Point(float(at), _number(value)) for at, value in each["values"]]
        words = Words(unit="", begins=clock_time(since), ends=clock_time(until))
        for line in plot(
            points, since=since, until=until, width=width, height=10, style=terminal.style, words=words
        ):
            terminal.data(line)
    if len(found) > MOST_PLOTS:
        terminal.message(
            f"{len(found) - MOST_PLOTS} more series are not drawn: aggregate, or choose by labels"
        )


def _number(value: str) -> float | None:
    number = float(value)
    return number if number - number == 0 else None  # not of NaN and infinity
