"""``opsbook deployments``: those that were, and the one that is."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import Any

import click

from opsbook.deployment.cli import canary, words
from opsbook.deployment.cli.chart import chart
from opsbook.deployment.cli.follow import analysis_of, follow, report
from opsbook.terminal import Session, Style, age, clock_time, duration, table
from opsbook.terminal.commands import Group
from opsbook.terminal.names import complete_environment, complete_service

PLOT_COLUMNS, PLOT_ROWS = 120, 13


@click.group(cls=Group, bare="list")
def deployments() -> None:
    """Deployments: list them, look at one, watch one.

    \b
    Examples:
      opsbook deployments                    the last ones
      opsbook deployments show d-91          what happened, and why
      opsbook deployments watch d-91         until it ends; exit code as of deploy
      opsbook deployments judge d-91         what the rules would have said, afterwards
    """


@deployments.command(name="list")
@click.option(
    "--in", "environment", metavar="ENV", shell_complete=complete_environment, help="Of one environment."
)
@click.option("--service", metavar="S", shell_complete=complete_service, help="Of one service.")
@click.option("--limit", default=20, type=click.IntRange(1, 1000), show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(
    session: Session,
    environment: str | None = None,
    service: str | None = None,
    limit: int = 20,
    as_json: bool = False,
) -> None:
    """The last deployments, newest first.

    \b
    Examples:
      opsbook deployments list --in production --service web
    """
    query = {"environment": environment, "service": service, "limit": limit}
    answer = session.api.get("/api/deployment/deployments", query)
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    found = answer["deployments"]
    if not found:
        terminal.message("no deployment yet", f"{terminal.message_style.paint('hint:', 'cyan')} opsbook plan")
        return
    heading = [
        terminal.style.paint(word, "dim") for word in ("ID", "WHAT", "WHERE", "STATE", "TOOK", "WHEN", "BY")
    ]
    now = time.time()
    terminal.data(*table([heading, *(_row(one, terminal.style, now) for one in found)]))


def _row(one: Mapping[str, Any], style: Style, now: float) -> list[str]:
    started, ended = one.get("started_at"), one.get("finished_at")
    kind = str(one.get("kind", "deploy"))
    return [
        str(one["id"]),
        f"{words.VERBS.get(kind, kind)} {words.name_of(one)}",
        str(one["environment"]),
        style.state(*words.state_of(one)),
        duration((ended or now) - started) if started else "-",
        age(started, now),
        str(one.get("requested_by") or "-"),
    ]


@deployments.command()
@click.argument("deployment_id", metavar="ID")
@click.option("--plot", "with_plot", is_flag=True, help="Draw how a canary differed from stable.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(session: Session, deployment_id: str, with_plot: bool, as_json: bool) -> None:
    """What a deployment did and why: every transition with its evidence, every rule with its verdict.

    \b
    Examples:
      opsbook deployments show d-91
      opsbook deployments show d-91 --plot   a canary's errors against stable's, within their bounds
    """
    one = session.api.get(f"/api/deployment/deployments/{deployment_id}")
    terminal = session.terminal
    if as_json:
        terminal.json(one)
        return
    style = terminal.style
    terminal.data(style.paint(words.title(one), "bold"), style.state(*words.state_of(one)))
    if one.get("reason"):
        terminal.data(f"reason: {one['reason']}")
    if one.get("steps"):
        terminal.data("", *words.steps(one, style))
    if one.get("kind") == "deploy":
        terminal.data(*_analysis(analysis_of(session, deployment_id), style, with_plot=with_plot))
    if one.get("transitions"):
        terminal.data("", *_transitions(one["transitions"], style))
    if one.get("log_tail"):
        terminal.data("", style.paint("last log lines:", "dim"), *(f"  {line}" for line in one["log_tail"]))
    if one.get("serving"):
        terminal.data("", f"serving now: {one['serving']}")
    next_one = f"opsbook logs {one['service']} --in {one['environment']}"
    if not words.finished(one):
        next_one = f"opsbook deployments watch {one['id']} · opsbook abort {one['id']}"
    terminal.message("", f"{terminal.message_style.paint('next:', 'cyan')} {next_one}")


def _analysis(analysis: Mapping[str, Any], style: Style, *, with_plot: bool) -> list[str]:
    """The rules as a table, and how the canary differed."""
    rules = canary.rules(analysis, style)
    points = analysis.get("points") or []
    lines = ["", *rules] if rules else []
    if rules and (rests_on := canary.summary(points)):
        lines.append(style.paint(rests_on, "dim"))
    if with_plot:
        columns = shutil.get_terminal_size((100, 24)).columns
        drawn = chart(points, columns=min(columns, PLOT_COLUMNS) - 1, rows=PLOT_ROWS, style=style)
        lines += ["", *(drawn if points else ["nothing was measured of it: there is nothing to draw"])]
    return lines


def _transitions(transitions: list[Mapping[str, Any]], style: Style) -> list[str]:
    heads = table(
        [
            (clock_time(float(one["at"])), str(one["phase"]).replace("_", " "), str(one.get("message") or ""))
            for one in transitions
        ]
    )
    lines = []
    for head, one in zip(heads, transitions, strict=True):
        lines.append(head)
        evidence = one.get("evidence")
        if isinstance(evidence, Mapping):
            lines += [style.paint(f"    {name}: {value}", "dim") for name, value in evidence.items()]
        elif evidence:
            lines.append(style.paint(f"    {evidence}", "dim"))
    return lines


@deployments.command()
@click.argument("deployment_id", metavar="ID")
@click.option("--strategy", metavar="NAME", help="By the rules of another strategy than its own.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def judge(session: Session, deployment_id: str, strategy: str | None, as_json: bool) -> None:
    """Judge once more what was measured of a deployment: what would the rules have said, and when?

    \b
    Examples:
      opsbook deployments judge d-91                       by its own rules
      opsbook deployments judge d-91 --strategy careful    before you trust a new strategy
    """
    query = {"strategy": strategy}
    found = session.api.get(f"/api/deployment/deployments/{deployment_id}/retrospective", query)
    terminal = session.terminal
    if as_json:
        terminal.json(found)
        return
    terminal.data(*words.judged_again(found, terminal.style))


@deployments.command()
@click.argument("deployment_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="NDJSON: each state.")
@click.pass_obj
def watch(session: Session, deployment_ids: tuple[str, ...], as_json: bool) -> None:
    """Follow deployments to their end. Ctrl-C only stops the watching.

    \b
    Examples:
      opsbook deployments watch d-91         a canary as a live tree, with its errors against stable's
      opsbook deployments watch d-91 --json | jq .weights
    """
    to_stdout = not session.terminal.moves
    report(session, follow(session, deployment_ids, as_json=as_json, data=to_stdout), as_json=as_json)
