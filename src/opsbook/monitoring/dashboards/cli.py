"""``opsbook dashboards``: which there are, and one of them as Grafana's JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from opsbook.errors import Failed
from opsbook.terminal import Session, count, table
from opsbook.terminal.commands import Command, Group

ORDER = ("handbook", "environment", "service", "probe", "host")


@click.group(cls=Group, bare="list")
def dashboards() -> None:
    """Dashboards: list them, take one to Grafana.

    \b
    Examples:
      opsbook dashboards
      opsbook dashboards export services/production/web --grafana > web.json
    """


@dashboards.command(name="list", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(session: Session, as_json: bool = False) -> None:
    """Every dashboard: the handbook's, and those of environments, services, probes and hosts.

    \b
    Examples:
      opsbook dashboards list --json
    """
    found = session.api.get("/api/monitoring/dashboards")["dashboards"]
    terminal = session.terminal
    if as_json:
        terminal.json({"dashboards": found})
        return
    rows = [
        [
            terminal.style.paint(one["name"], "bold"),
            one["title"],
            count(one["panels"], "chart"),
            one["source"] or "by itself",
        ]
        for one in sorted(found, key=lambda one: (ORDER.index(one["kind"]), one["name"]))
    ]
    terminal.data(*table(rows))
    terminal.message(f"{count(len(found), 'dashboard')} · opsbook dashboards export NAME --grafana")


@dashboards.command(cls=Command)
@click.argument("name")
@click.option("--grafana", is_flag=True, help="The JSON that Grafana imports; else opsbook's own.")
@click.option(
    "--to",
    "target",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Into a file instead of on stdout.",
)
@click.pass_obj
def export(session: Session, *, name: str, grafana: bool, target: Path | None) -> None:
    """A dashboard as JSON, with the expressions that opsbook draws.

    Grafana needs a data source of the kind Prometheus: opsbook's own address with /prometheus behind it.

    \b
    Examples:
      opsbook dashboards export services/production/web --grafana > web.json
      opsbook dashboards export orders --grafana --to orders.json
    """
    from urllib.parse import quote

    query = {"format": "grafana" if grafana else None}
    found: dict[str, Any] = session.api.get(f"/api/monitoring/dashboards/{quote(name)}", query)
    if target is None:
        session.terminal.json(found)
        return
    import json

    try:
        target.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise Failed(f"cannot be written: {error.strerror or error}", where=str(target)) from error
    session.terminal.message(f"{session.terminal.message_style.state('ok', 'written')} · {target}")
