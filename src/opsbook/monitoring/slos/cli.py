"""``opsbook slo``: objectives, and what is left of their budgets."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from opsbook.terminal import Session, Style, Terminal, age, clock_time, duration, table
from opsbook.terminal.commands import Group
from opsbook.terminal.plot import Point, Words, plot

_STATES = {"ok": "ok", "burning": "warning", "spent": "failed", "unknown": "waiting"}
_HEIGHT = 10


@click.group(cls=Group, bare="list")
def slo() -> None:
    """Objectives of services, and what is left of their error budgets.

    \b
    Examples:
      opsbook slo                            the least budget first
      opsbook slo show web-availability      burn rates, and when it is spent
    """


@slo.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(session: Session, as_json: bool = False) -> None:
    """All objectives, the least budget first.

    \b
    Examples:
      opsbook slo list --json
    """
    answer = session.api.get("/api/monitoring/slos")
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    if not answer["slos"]:
        terminal.message("no service has an objective")
        hint = "services with HTTP have some by themselves; others: monitoring/slos.yaml"
        terminal.message(f"{terminal.message_style.paint('hint:', 'cyan')} {hint}")
        return
    now = time.time()
    head = ["", "objective", "is", "target", "budget left", "burns", "spent"]
    rows = [_row(one, terminal.style, now) for one in answer["slos"]]
    lines = table([head, *rows], right=(2, 3, 4, 5))
    terminal.data(terminal.style.paint(lines[0], "dim"), *lines[1:])


@slo.command()
@click.argument("name")
@click.option("--plot", "plotted", is_flag=True, help="Draw the budget over the window.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(session: Session, name: str, plotted: bool, as_json: bool) -> None:
    """One objective, by ENVIRONMENT/NAME, or by its name where that is enough.

    \b
    Examples:
      opsbook slo show production/web-availability --plot
    """
    found = session.api.get(f"/api/monitoring/slos/{quote(name)}")
    terminal = session.terminal
    if as_json:
        terminal.json(found)
        return
    style, now = terminal.style, time.time()
    what = f" · {found['description']}" if found["description"] else ""
    terminal.data(f"{_state(found, style)} {found['id']}{what}", "")
    facts = [
        ("is", f"{_percent(found['is'])} of {_target(found)} over {found['window']}"),
        ("events", f"{found['bad']:,.0f} bad of {found['total']:,.0f}, {found['allowed']:,.1f} allowed"),
        ("budget left", _percent(found["remaining"], 1)),
        ("burns", f"{_rate(found['burn_rate'])} over {duration(float(found['burn_window']))}"),
        ("spent", _spent(found, now)),
    ]
    if found["known"] < 0.999:
        facts.append(("known", f"{_percent(found['known'], 1)} of the window; nothing was measured before"))
    if found["gates"]:
        what = "nothing new is deployed" if found["blocks"] else f"no canary past {found['max_weight']} %"
        facts.append(("without budget", what))
    if found["problem"]:
        facts.append(("problem", found["problem"]))
    terminal.data(*table([[style.paint(key, "dim"), value] for key, value in facts]))
    terminal.data("", *_rates(found, style))
    if plotted:
        terminal.data("", *_plot(found["burn_down"], terminal))


def _row(one: Mapping[str, Any], style: Style, now: float) -> list[str]:
    return [
        _state(one, style),
        str(one["id"]),
        _percent(one["is"]),
        _target(one),
        _percent(one["remaining"], 1),
        _rate(one["burn_rate"]),
        _spent(one, now),
    ]


def _state(one: Mapping[str, Any], style: Style) -> str:
    return style.state(_STATES[one["state"]], one["state"])


def _target(one: Mapping[str, Any]) -> str:
    return f"{one['target'] * 100:.6g} %"


def _percent(ratio: float | None, digits: int = 3) -> str:
    return "–" if ratio is None else f"{ratio * 100:.{digits}f} %"


def _rate(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:.3g}x"


def _spent(one: Mapping[str, Any], now: float) -> str:
    if one["spent"]:
        return f"since {age(one['spent_at'], now)}" if one["spent_at"] else "spent"
    return f"in {duration(one['exhausted_at'] - now)}" if one["exhausted_at"] else "not in sight"


def _rates(found: Mapping[str, Any], style: Style) -> list[str]:
    head = ["over", "burns", "alerts above", ""]
    rows = []
    for one in found["rates"]:
        over = f"{duration(one['long'])} and {duration(one['short'])}"
        state = style.state("failed" if one["severity"] == "critical" else "warning", one["severity"])
        burns = f"{_rate(one['rate'])}, {_rate(one['short_rate'])}"
        rows.append([over, burns, f"{one['limit']:g}x", state if one["burning"] else ""])
    lines = table([head, *rows], right=(1, 2))
    return [style.paint(lines[0], "dim"), *lines[1:]]


def _plot(burn_down: Mapping[str, Any], terminal: Terminal) -> list[str]:
    points = [Point(float(at), None if left is None else left * 100) for at, left in burn_down["points"]]
    since, until = float(burn_down["since"]), float(burn_down["now"])
    return plot(
        points,
        since=since,
        until=until,
        width=min(shutil.get_terminal_size().columns, 100),
        height=_HEIGHT,
        style=terminal.style,
        words=Words(unit="%", begins=clock_time(since), ends=clock_time(until)),
    )
