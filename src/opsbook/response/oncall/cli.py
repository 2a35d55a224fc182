"""``opsbook oncall``: who is on call, who is next, and changes to that."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from opsbook.errors import Invalid, NotFound
from opsbook.terminal import Session, Style, clock_time, count, duration, parse_duration, table
from opsbook.terminal.commands import Group

DAY = 86_400.0


@click.group(cls=Group, bare="now")
def oncall() -> None:
    """Who is on call, by the schedules of incidents/policy.yaml.

    \b
    Examples:
      opsbook oncall                            who it is now, who is next, and gaps ahead
      opsbook oncall schedule --days 28
      opsbook oncall override bob --for 8h --reason "alice is ill"
      opsbook oncall swap 2026-12-24T20:00 2026-12-31T20:00
    """


@oncall.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def now(session: Session, as_json: bool = False) -> int:
    """Who is on call at this moment, by each schedule.

    \b
    Examples:
      opsbook oncall now --json

    Exit codes: 0 somebody is, by every schedule; 1 nobody is, by one of them.
    """
    schedules = session.api.get("/api/response/oncall")["schedules"]
    terminal = session.terminal
    nobody = [one for one in schedules if not one["now"]["people"]]
    if as_json:
        terminal.json({"schedules": schedules})
        return 1 if nobody else 0
    if not schedules:
        terminal.message("the handbook has no schedules")
        terminal.message(
            f"{terminal.message_style.paint('hint:', 'cyan')} write schedules: into incidents/policy.yaml"
        )
        return 0
    at = time.time()
    terminal.data(*table([_now_row(one, at, terminal.style) for one in schedules]))
    for one in schedules:
        _say_gaps(session, one)
    return 1 if nobody else 0


@oncall.command(name="next")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def next_(session: Session, as_json: bool) -> None:
    """Who takes over, and when.

    \b
    Examples:
      opsbook oncall next
    """
    schedules = session.api.get("/api/response/oncall")["schedules"]
    terminal = session.terminal
    found = [{"name": one["name"], **(one["next"] or {"people": []})} for one in schedules]
    if as_json:
        terminal.json({"schedules": found})
        return
    at = time.time()
    rows = [
        [one["name"], _names(one["people"]), f"{clock_time(one['start'])}, in {duration(one['start'] - at)}"]
        for one in found
        if one["people"]
    ]
    terminal.data(*table(rows))
    for one in found:
        if not one["people"]:
            terminal.message(f"{one['name']}: nobody takes over in the next 30 days")


@oncall.command()
@click.argument("name", required=False)
@click.option(
    "--days", type=click.IntRange(1, 366), default=14, show_default=True, help="So many, from now on."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def schedule(session: Session, name: str | None, days: int, as_json: bool) -> None:
    """The shifts of a schedule; NAME may be left out when there is one only.

    \b
    Examples:
      opsbook oncall schedule on-call --days 28
    """
    name = name or _only(session)
    at = time.time()
    answer = session.api.get(
        f"/api/response/oncall/schedules/{name}", {"since": at, "until": at + days * DAY}
    )
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    heading = [terminal.style.paint(word, "dim") for word in ("FROM", "UNTIL", "FOR", "WHO", "BY")]
    rows = [_shift_row(shift, terminal.style) for shift in answer["shifts"]]
    terminal.data(*table([heading, *rows]))


@oncall.command()
@click.argument("person", required=False)
@click.option("--schedule", "name", metavar="NAME", help="Left out: the only one.")
@click.option(
    "--from",
    "begins",
    metavar="T",
    help="2026-12-24T18:00 by this machine's clock, or 4h from now (default: now).",
)
@click.option("--for", "length", metavar="8h", help="For so long.")
@click.option("--until", metavar="T", help="Instead of --for.")
@click.option("--instead-of", default="", metavar="PERSON", help="Only this person's shifts.")
@click.option("--reason", default="", help="Why.")
@click.option("--remove", "removed", metavar="ID", help="Take back an override.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def override(
    session: Session,
    person: str | None,
    name: str | None,
    begins: str | None,
    length: str | None,
    until: str | None,
    instead_of: str,
    reason: str,
    removed: str | None,
    as_json: bool,
) -> None:
    """Have PERSON stand in; without PERSON, list what was changed.

    \b
    Examples:
      opsbook oncall override bob --for 8h --reason "alice is ill"
      opsbook oncall override bob --from 2026-12-24T12:00 --until 2026-12-27T09:00 --instead-of alice
      opsbook oncall override --remove o00001
    """
    terminal = session.terminal
    if removed:
        answer = session.api.delete(f"/api/response/oncall/overrides/{removed}")
        if as_json:
            terminal.json(answer)
        else:
            terminal.message(f"{terminal.message_style.state('ok', 'taken back')} {removed}")
        return
    if person is None:
        _list(session, as_json)
        return
    if (length is None) == (until is None):
        raise Invalid("expected --for or --until", hint="--for 8h")
    at = time.time()
    start = _moment(begins, at) if begins else at
    end = start + parse_duration(length) if length else _moment(until or "", at)
    body = {
        "schedule": name or _only(session),
        "person": person,
        "start": start,
        "end": end,
        "instead_of": instead_of,
        "reason": reason,
    }
    answer = session.api.post("/api/response/oncall/overrides", body)
    if as_json:
        terminal.json(answer)
        return
    made = answer["override"]
    instead = f" instead of {made['instead_of']}" if made["instead_of"] else ""
    said = f"{made['person']} is on call{instead} from {clock_time(made['start'])} until {clock_time(made['end'])}"
    terminal.message(f"{terminal.message_style.state('ok', made['id'])} {said}")


@oncall.command()
@click.argument("first", metavar="T")
@click.argument("second", metavar="T")
@click.option("--schedule", "name", metavar="NAME", help="Left out: the only one.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def swap(session: Session, first: str, second: str, name: str | None, as_json: bool) -> None:
    """Exchange two shifts, each named by a time in it.

    \b
    Examples:
      opsbook oncall swap 2026-12-24T20:00 2026-12-31T20:00
    """
    at = time.time()
    body = {"schedule": name or _only(session), "first": _moment(first, at), "second": _moment(second, at)}
    answer = session.api.post("/api/response/oncall/swaps", body)
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    for one in answer["overrides"]:
        said = f"{one['person']} instead of {one['instead_of']}, {clock_time(one['start'])} to {clock_time(one['end'])}"
        terminal.message(f"{terminal.message_style.state('ok', one['id'])} {said}")


@oncall.command()
@click.argument("name", required=False)
@click.option("--person", default="", help="Only the shifts of this one.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file; left out: standard output.",
)
@click.pass_obj
def calendar(session: Session, name: str | None, person: str, output: Path | None) -> None:
    """The shifts of the next 90 days as iCalendar; calendars subscribe to /api/response/oncall/calendar.ics.

    \b
    Examples:
      opsbook oncall calendar --person alice -o alice.ics
    """
    query = {"schedule": name, "person": person or None}
    lines = [line.rstrip("\r") for line in session.api.lines("/api/response/oncall/calendar.ics", query)]
    if output is None:
        session.terminal.data(*lines)
        return
    output.write_bytes("".join(f"{line}\r\n" for line in lines if line).encode())
    session.terminal.message(f"{session.terminal.message_style.state('ok', 'written')} {output}")


@oncall.command()
@click.argument("name", required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file; left out: standard output.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def handover(session: Session, name: str | None, output: Path | None, as_json: bool) -> None:
    """What who comes next on call has to know, as Markdown.

    \b
    Examples:
      opsbook oncall handover
      opsbook oncall handover on-call -o handover.md

    In the first two hours of a shift it is about the shift before.
    """
    answer = session.api.get("/api/response/oncall/handover", {"schedule": name})
    terminal, text = session.terminal, str(answer.pop("markdown"))
    if output is not None:
        output.write_text(text, encoding="utf-8")
        terminal.message(f"{terminal.message_style.state('ok', 'written')} {output}")
    if as_json:
        terminal.json(answer)
    elif output is None:
        terminal.data(*text.splitlines())


def _list(session: Session, as_json: bool) -> None:
    answer = session.api.get("/api/response/oncall/overrides")
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    at = time.time()
    rows = [
        [
            one["id"],
            one["schedule"],
            one["person"],
            f"{clock_time(one['start'])} to {clock_time(one['end'])}",
            f"instead of {one['instead_of']}" if one["instead_of"] else "",
            terminal.style.paint(" · ".join(filter(None, (one["by"], one["reason"]))), "dim"),
        ]
        for one in answer["overrides"]
        if one["end"] > at
    ]
    if not rows:
        terminal.message("nothing is changed: the schedules hold as they are written")
    terminal.data(*table(rows))


def _only(session: Session) -> str:
    names = [str(one["name"]) for one in session.api.get("/api/response/oncall")["schedules"]]
    if len(names) == 1:
        return names[0]
    if not names:
        raise NotFound("the handbook has no schedules", hint="write schedules: into incidents/policy.yaml")
    raise Invalid("there are several schedules", hint=f"name one of {', '.join(names)}")


def _now_row(one: Mapping[str, Any], at: float, style: Style) -> list[str]:
    current, following = one["now"], one["next"]
    if current["people"]:
        state, until = style.state("ok", _names(current["people"])), f"until {clock_time(current['end'])}"
    else:
        state, until = style.state("failed", "nobody"), f"until {clock_time(current['end'])}"
    then = f"then {_names(following['people'])}, in {duration(following['start'] - at)}" if following else ""
    return [state, str(one["name"]), until, style.paint(then, "dim")]


def _shift_row(shift: Mapping[str, Any], style: Style) -> list[str]:
    people = _names(shift["people"]) if shift["people"] else style.state("failed", "nobody")
    length = duration(shift["end"] - shift["start"])
    source = style.paint(str(shift["source"]), "dim")
    return [clock_time(shift["start"]), clock_time(shift["end"]), length, people, source]


def _say_gaps(session: Session, one: Mapping[str, Any]) -> None:
    if not one["gaps"]:
        return
    terminal, first = session.terminal, one["gaps"][0]
    style = terminal.message_style
    said = (
        f"{count(len(one['gaps']), 'gap')} in the next 30 days, the first from {clock_time(first['start'])}"
    )
    terminal.message(f"{style.state('warning', one['name'])} {said} until {clock_time(first['end'])}")


def _names(people: Sequence[str]) -> str:
    return ", ".join(people) or "nobody"


def _moment(text: str, at: float) -> float:
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        pass
    try:
        return at + parse_duration(text)
    except Invalid:
        hint = "write 2026-12-24T18:00, or 4h"
        raise Invalid(f"expected a time or a duration, got {text!r}", hint=hint) from None
