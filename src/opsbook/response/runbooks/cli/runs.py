"""``opsbook runs``: what runs, what ran, and what people decide about it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from opsbook.response.runbooks.cli.following import SAID, STATES, follow, plain, way_on
from opsbook.response.runbooks.cli.run import complete_page, parameters
from opsbook.terminal import Session, Style, age, clock_time, duration, table
from opsbook.terminal.commands import Group

API = "/api/response/runs"


@click.group(cls=Group, bare="list")
def runs() -> None:
    """Runs of runbooks: those under way, and those that were.

    \b
    Examples:
      opsbook runs                                   the newest, those that wait first
      opsbook runs show run-12                       its steps and their output
      opsbook runs approve run-12                    say yes to the step that it waits with
      opsbook runs skip run-12 --reason "by hand"
    """


@runs.command(name="list")
@click.option("--page", metavar="PAGE", shell_complete=complete_page, help="Of this page only.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(session: Session, page: str | None = None, limit: int = 20, as_json: bool = False) -> None:
    """The newest runs, those that are not over first.

    \b
    Examples:
      opsbook runs list
      opsbook runs list --page disk-full --json
    """
    answer = session.api.get(API, {"page": page, "limit": limit})
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    found = sorted(answer["runs"], key=lambda run: run["state"] == "ended")
    if not found:
        terminal.message(
            "nothing has run yet", f"{terminal.message_style.paint('hint:', 'cyan')} opsbook runbooks list"
        )
        return
    heading = [
        terminal.style.paint(word, "dim")
        for word in ("RUN", "PAGE", "STATE", "WHERE", "BY", "AGO", "TOOK", "WHY")
    ]
    now = time.time()
    terminal.data(*table([heading, *(_row(run, terminal.style, now) for run in found)]))
    if waiting := next((run for run in found if run["state"] == "paused"), None):
        terminal.message(
            "", f"{terminal.message_style.paint('next:', 'cyan')} opsbook runs show {waiting['id']}"
        )


def _row(run: Mapping[str, Any], style: Style, now: float) -> list[str]:
    took = duration(float(run["seconds"])) if run["seconds"] is not None else "-"
    why = plain(str(run["waiting_for"] or run["reason"]))
    by = f"{run['requested_by']} ({run['alert']})" if run["alert"] else str(run["requested_by"])
    return [
        run["id"],
        run["page"],
        _state(run, style),
        "-"
        if str(run["subject"]).startswith("runbook/")
        else run["subject"],  # it works nowhere in particular
        by,
        age(run["requested_at"], now),
        took,
        why,
    ]


def _state(run: Mapping[str, Any], style: Style) -> str:
    if run["outcome"]:
        return style.state(*SAID.get(str(run["outcome"]), ("failed", str(run["outcome"]))))
    return style.state({"paused": "paused", "waiting": "waiting"}.get(str(run["state"]), "running"))


@runs.command()
@click.argument("run")
@click.option("--follow", "following", is_flag=True, help="Stay until it ends or waits.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(session: Session, run: str, following: bool, as_json: bool) -> int:
    """A run: its steps, what they wrote, what it waits for.

    \b
    Examples:
      opsbook runs show run-12
      opsbook runs show run-12 --follow
    """
    if following:
        return follow(session, run, as_json=as_json)
    answer = session.api.get(f"{API}/{run}")
    if as_json:
        session.terminal.json(answer)
    else:
        session.terminal.data(*_shown(answer, session.terminal.style))
        if waiting := answer["waiting"]:
            command = way_on(str(answer["id"]), str(waiting["what"]), answer["hidden"])
            session.terminal.message(f"{session.terminal.message_style.paint('next:', 'cyan')} {command}")
    return 0


def _shown(run: Mapping[str, Any], style: Style) -> list[str]:
    lines = [f"{style.paint(run['title'], 'bold')} · {run['id']} · {_state(run, style)}"]
    lines.append(
        style.paint(
            f"by {run['requested_by']}, {clock_time(run['requested_at'])} · locks {run['lock']}", "dim"
        )
    )
    lines += [f"  {name}={plain(value)}" for name, value in run["params"].items()]
    lines += [f"  {name}=***" for name in run["hidden"]]
    for step in run["steps"]:
        state = style.state(*STATES[str(step["state"])])
        again = f" (try {step['attempt']})" if step["attempt"] > 1 else ""
        reason = f" · {plain(step['reason'])}" if step["reason"] else ""
        yes = [one["by"] for one in run["approvals"] if one["step"] == step["step"]]
        by = f" · {step['by']}" if step["by"] else f" · approved by {', '.join(yes)}" if yes else ""
        lines.append(f"{state} {step['step']}{again}  {duration(step['seconds'])}{by}{reason}")
        output = step["output"]
        lines += [f"    {style.paint(plain(line), 'dim')}" for line in output["text"].splitlines()]
        lines += [f"    {style.paint('its output is sensitive', 'dim')}"] if output["sensitive"] else []
    lines += [f"{style.symbol('waiting')} {name}" for name in run["ahead"]]
    if waiting := run["waiting"]:
        lines += ["", f"{style.state('paused')} waits for {plain(waiting['text'])}"]
        lines += [f"    {plain(line)}" for line in (waiting["script"] or "").splitlines()]
    elif run["waiting_for"]:
        lines += ["", f"{style.state('waiting')} for {plain(run['waiting_for'])}"]
    if run["reason"]:
        lines += ["", plain(run["reason"])]
    if previous := run["previous"]:
        took = f" in {duration(previous['seconds'])}" if previous["seconds"] is not None else ""
        lines += ["", style.paint(f"the run before: {previous['id']}, {previous['outcome']}{took}", "dim")]
    return lines


def _decide(session: Session, run: str, verb: str, body: Mapping[str, Any], said: str) -> None:
    session.api.post(f"{API}/{run}/{verb}", body)
    style = session.terminal.message_style
    session.terminal.message(f"{style.state('ok', said)} {run}")
    session.terminal.message(f"{style.paint('next:', 'cyan')} opsbook runs show {run} --follow")


@runs.command()
@click.argument("run")
@click.argument("step", default="")
@click.option("--comment", default="", help="The journal keeps it.")
@click.pass_obj
def approve(session: Session, run: str, step: str, comment: str) -> None:
    """Say yes to a step of somebody else's run. It needs a token of your own ($OPSBOOK_TOKEN).

    The yes is for this text, these parameters and these machines, and for an hour.

    \b
    Examples:
      opsbook runs approve run-12
      opsbook runs approve run-12 vacuum --comment "seen"
    """
    found = session.api.get(f"{API}/{run}", {"output": False})
    waiting = found["waiting"] or {}
    bound = waiting.get("binding") if not step or step == waiting.get("step") else ""
    if waiting.get("script"):
        session.terminal.message(*(f"    {plain(line)}" for line in waiting["script"].splitlines()))
    _decide(session, run, "approve", {"step": step, "reason": comment, "binding": bound or ""}, "approved")


@runs.command()
@click.argument("run")
@click.option("--from", "step", default="", metavar="STEP", help="Everything from this step on, anew.")
@click.option(
    "--param",
    "-p",
    "given",
    multiple=True,
    metavar="K=V",
    help="A sensitive parameter that a restart forgot.",
)
@click.option("--note", default="", help="What you did, or saw; the journal keeps it.")
@click.pass_obj
def resume(session: Session, run: str, step: str, given: tuple[str, ...], note: str) -> None:
    """Say that what it waits for is done: by you, or by somebody you know of.

    \b
    Examples:
      opsbook runs resume run-12 --note "called the provider"
      opsbook runs resume run-12 --from vacuum
    """
    _decide(session, run, "resume", {"step": step, "reason": note, "params": parameters(given)}, "goes on")


@runs.command()
@click.argument("run")
@click.argument("step", default="")
@click.option("--reason", default="", help="The journal keeps it.")
@click.pass_obj
def retry(session: Session, run: str, step: str, reason: str) -> None:
    """Try a step anew that failed, or of which a crash left nobody knowing.

    \b
    Examples:
      opsbook runs retry run-12
      opsbook runs retry run-12 vacuum
    """
    _decide(session, run, "retry", {"step": step, "reason": reason}, "tries again")


@runs.command()
@click.argument("run")
@click.argument("step", default="")
@click.option("--reason", required=True, help="Why; the journal keeps it.")
@click.pass_obj
def skip(session: Session, run: str, step: str, reason: str) -> None:
    """Pass a step over, and go on behind it.

    \b
    Examples:
      opsbook runs skip run-12 --reason "done by hand"
    """
    _decide(session, run, "skip", {"step": step, "reason": reason}, "skipped")


@runs.command()
@click.argument("run")
@click.option("--reason", default="", help="The journal keeps it.")
@click.pass_obj
def cancel(session: Session, run: str, reason: str) -> None:
    """End a run, and undo the steps that it began.

    \b
    Examples:
      opsbook runs cancel run-12 --reason "wrong host"
    """
    _decide(session, run, "cancel", {"reason": reason}, "cancelling")
