"""``opsbook ack`` and ``opsbook escalations``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from opsbook.errors import NotFound
from opsbook.terminal import Session, Style, age, clock_time, count, duration, table
from opsbook.terminal.commands import Command, Group

API = "/api/response/escalations"
STATES = {"paging": "waiting", "exhausted": "failed", "acknowledged": "running", "ended": "ok"}
SAID = {"paging": "paging", "exhausted": "nobody answers", "acknowledged": "acknowledged", "ended": "over"}


@click.command(cls=Command)
@click.argument("incident", required=False, metavar="[ID]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def ack(session: Session, incident: str | None, as_json: bool) -> None:
    """Say that you have an incident: nobody else is paged for now.

    \b
    Examples:
      opsbook ack           the only one that nobody has
      opsbook ack inc-7

    Again, it counts from then. Exit codes: 0 done; 1 it is over; 2 there is none, or several; 4 not allowed.
    """
    answer = session.api.post(f"{API}/acknowledge", {"incident": incident or ""})
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    style = terminal.message_style
    waited = (answer["acknowledged_at"] or answer["begun_at"]) - answer["begun_at"]
    said = f"{answer['incident']} is {answer['acknowledged_by']}'s, {duration(waited)} after the first page"
    terminal.message(f"{style.state('ok', 'acknowledged')} {said} · {answer['title']}")
    if answer["again_at"] is not None:
        left = duration(answer["again_at"] - time.time())
        terminal.message(
            style.paint(f"in {left} it pages anew, unless it is solved or acknowledged again", "dim")
        )
    terminal.message(f"{style.paint('hint:', 'cyan')} opsbook incidents show {answer['incident']}")


@click.group(cls=Group, bare="list")
def escalations() -> None:
    """Who is being paged about what, who is next, and when.

    \b
    Examples:
      opsbook escalations                 those that are open
      opsbook escalations show inc-7      every page of one
      opsbook escalations next inc-7      page the next step now
      opsbook escalations chain           whom each escalation would page now
    """


@escalations.command(name="list")
@click.option("--all", "over", is_flag=True, help="Also those that are over.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(session: Session, over: bool = False, limit: int = 20, as_json: bool = False) -> int:
    """Those that are open, the ones that nobody has answered first.

    \b
    Examples:
      opsbook escalations list --all --json

    Exit codes: 0 somebody has each of them; 1 one waits for an answer.
    """
    answer = session.api.get(API, {"over": "true" if over else None, "limit": limit})
    terminal, found = session.terminal, answer["escalations"]
    waiting = [one for one in found if one["state"] in {"paging", "exhausted"}]
    if as_json:
        terminal.json(answer)
        return 1 if waiting else 0
    if answer["trouble"]:
        terminal.message(
            f"{terminal.message_style.state('warning')} not written down yet: {answer['trouble']}"
        )
    if not found:
        terminal.message("nobody is being paged")
        return 0
    at = time.time()
    order = list(SAID)
    found = sorted(
        found,
        key=lambda one: (one["state"] == "ended", one["state"] == "acknowledged", order.index(one["state"])),
    )
    terminal.data(*table([_row(one, at, terminal.style) for one in found]))
    if waiting:
        terminal.message(
            f"{terminal.message_style.paint('hint:', 'cyan')} opsbook ack {waiting[0]['incident']}"
        )
    return 1 if waiting else 0


@escalations.command()
@click.argument("incident", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(session: Session, incident: str, as_json: bool) -> None:
    """One of them, with every page of its present turn.

    \b
    Examples:
      opsbook escalations show inc-7
    """
    one = session.api.get(f"{API}/{incident}")
    terminal = session.terminal
    if as_json:
        terminal.json(one)
        return
    style = terminal.style
    place = " ".join(filter(None, (one["severity"], one["environment"], ", ".join(one["services"]))))
    terminal.data(f"{style.paint(one['incident'], 'bold')} {one['title']} {style.paint(place, 'dim')}")
    terminal.data(f"{_state(one, style)} {_then(one, time.time())}".rstrip())
    rows = [
        [clock_time(page["at"]), str(page["step"]), page["person"] or page["name"], page["channel"]]
        for page in one["pages"]
    ]
    if rows:
        heading = [style.paint(word, "dim") for word in ("WHEN", "STEP", "WHO", "BY")]
        terminal.data("", *table([heading, *rows]))
    terminal.message(f"{count(one['paged'], 'page')} since {clock_time(one['begun_at'])}, by {one['chain']}")


@escalations.command(name="next")
@click.argument("incident", required=False, metavar="[ID]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def next_(session: Session, incident: str | None, as_json: bool) -> None:
    """Page the next step now, instead of waiting.

    \b
    Examples:
      opsbook escalations next inc-7
    """
    answer = session.api.post(f"{API}/next", {"incident": incident or ""})
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    last = max((page["step"] for page in answer["pages"]), default=0)
    names = [page["person"] or page["channel"] for page in answer["pages"] if page["step"] == last]
    said = f"{answer['incident']}: {', '.join(names) or 'nobody could be paged'}"
    terminal.message(f"{terminal.message_style.state('ok', 'paged')} {said}")


@escalations.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def chain(session: Session, name: str | None, as_json: bool) -> int:
    """Whom each escalation of the handbook would page now.

    \b
    Examples:
      opsbook escalations chain
      opsbook escalations chain usual --json

    Exit codes: 0 every step reaches somebody; 1 one reaches nobody now.
    """
    found = session.api.get(f"{API}/chains")["chains"]
    if name is not None:
        found = [one for one in found if one["name"] == name]
        if not found:
            raise NotFound(f"there is no escalation {name}", hint="opsbook escalations chain")
    terminal = session.terminal
    deaf = any(not step["now"] for one in found for step in one["steps"])
    if as_json:
        terminal.json({"chains": found})
        return 1 if deaf else 0
    for number, one in enumerate(found):
        if number:
            terminal.data("")
        terminal.data(
            _heading(one, terminal.style), *table([_step(step, terminal.style) for step in one["steps"]])
        )
    return 1 if deaf else 0


def _heading(one: Mapping[str, Any], style: Style) -> str:
    repeated = (
        f", {count(one['repeat'], 'time')} more after {duration(one['repeat_after'])}"
        if one["repeat"]
        else ""
    )
    said = f"{one['description']}{repeated}".strip(", ")
    return f"{style.paint(one['name'], 'bold')} {style.paint(said, 'dim')}".rstrip()


def _step(step: Mapping[str, Any], style: Style) -> list[str]:
    people = [f"{one['person'] or 'channel'} by {one['channels'][0]}" for one in step["now"]]
    reached = style.state("ok", ", ".join(people)) if people else style.state("failed", "reaches nobody now")
    after = f"after {duration(step['after'])}" if step["after"] else "at once"
    return [f"  {after}", ", ".join(step["page"]), reached]


def _row(one: Mapping[str, Any], at: float, style: Style) -> list[str]:
    place = " ".join(filter(None, (one["severity"], one["environment"], ", ".join(one["services"]))))
    return [
        _state(one, style),
        one["incident"],
        place,
        age(one["begun_at"], at),
        _then(one, at),
        style.paint(one["title"], "dim"),
    ]


def _state(one: Mapping[str, Any], style: Style) -> str:
    return style.state(STATES[one["state"]], SAID[one["state"]])


def _then(one: Mapping[str, Any], at: float) -> str:
    if one["state"] == "ended":
        return str(one["why"])
    if one["state"] == "acknowledged":
        again = f", again in {duration(one['again_at'] - at)}" if one["again_at"] is not None else ""
        return f"by {one['acknowledged_by']}{again}"
    return f"next {one['next']['words']}" if one["next"] else ""
