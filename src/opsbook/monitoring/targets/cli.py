"""``opsbook targets``: what is scraped, and how it goes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from opsbook.terminal import Session, age, count, duration, table
from opsbook.terminal.commands import Command


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="In the shape of Prometheus' API.")
@click.pass_obj
def targets(session: Session, *, as_json: bool) -> int:
    """Show what is scraped and how it goes; what does not answer first.

    \b
    Examples:
      opsbook targets
      opsbook targets --json

    Exit codes: 0 everything answers, 1 something does not.
    """
    found = session.api.get("/prometheus/api/v1/targets")["data"]["activeTargets"]
    down = [target for target in found if target["health"] == "down"]
    terminal = session.terminal
    if as_json:
        terminal.json({"targets": found})
        return 1 if down else 0
    order = {"down": 0, "unknown": 1, "up": 2}
    found.sort(key=lambda target: (order[target["health"]], target["scrapePool"], _place(target)))
    now = datetime.now().astimezone().timestamp()
    states = {"down": "failed", "unknown": "waiting", "up": "ok"}
    rows = []
    for target in found:
        at = datetime.fromisoformat(target["lastScrape"]).timestamp()
        scraped = f"{age(at, now)}, took {duration(target['lastScrapeDuration'])}" if at else "not yet"
        rows.append(
            [
                terminal.style.state(states[target["health"]], target["health"]),
                terminal.style.paint(target["scrapePool"], "bold"),
                _place(target),
                scraped,
                target["lastError"] or target["scrapeUrl"],
            ]
        )
    terminal.data(*table(rows))
    told = terminal.message_style
    state = told.state("failed", f"{len(down)} down") if down else told.state("ok")
    terminal.message(f"{state} · {count(len(found), 'target')}")
    return 1 if down else 0


def _place(target: dict[str, Any]) -> str:
    labels = target["labels"]
    return " ".join(
        labels[name] for name in ("environment", "service", "instance", "host") if labels.get(name)
    )
