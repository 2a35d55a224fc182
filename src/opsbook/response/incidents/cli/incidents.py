"""``opsbook incidents``: what is open, what was, what happened in them, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from opsbook.response.incidents.cli.asking import API, OPEN, hint, meant, path, seen, state, where
from opsbook.terminal import Session, Style, age, clock_time, count, duration, parse_duration, table
from opsbook.terminal.commands import Group

SHOWN = 10  # of suspects, alerts, updates


@click.group(cls=Group, bare="list")
def incidents() -> None:
    """Incidents: what is wrong, who has it, what was found.

    \b
    Examples:
      opsbook incidents                                   those that are open
      opsbook incidents show inc-7                        all about one
      opsbook incidents declare "Orders fail" --in production --service web
      opsbook incidents update "Half of the orders fail; we are rolling back" --public
      opsbook incidents figures --days 90                 how long it takes to detect, answer and resolve

    ID may be left out everywhere when one incident is open.
    """


@incidents.command(name="list")
@click.option("--all", "every", is_flag=True, help="Also those that are over.")
@click.option("--state", "wanted", default="", metavar="STATE", help="triage, active, mitigated, resolved, …")
@click.option("--in", "environment", default="", metavar="ENV", help="Of one environment.")
@click.option("--service", default="", metavar="NAME", help="Of one service.")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1, 1000), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(
    session: Session,
    every: bool = False,
    wanted: str = "",
    environment: str = "",
    service: str = "",
    limit: int = 30,
    as_json: bool = False,
) -> int:
    """Those that are open, what nobody has first.

    \b
    Examples:
      opsbook incidents list --all --limit 100
      opsbook incidents list --in production --service web --json

    Exit codes: 0 somebody has each of them; 1 one waits for somebody.
    """
    query = {"state": wanted or ("" if every else "open"), "environment": environment, "service": service}
    answer = session.api.get(API, {**{key: text or None for key, text in query.items()}, "limit": limit})
    terminal, found = session.terminal, sorted(answer["incidents"], key=_rank)
    waiting = [one for one in found if one["state"] in OPEN and one["acknowledged_at"] is None]
    if as_json:
        terminal.json({**answer, "incidents": found})
        return 1 if waiting else 0
    if not found:
        terminal.message("no incident" if every or wanted else "no incident is open")
        return 0
    now = time.time()
    terminal.data(*table([_row(one, now, terminal.style) for one in found]))
    if answer["total"] > len(found):
        terminal.message(f"{answer['total'] - len(found)} more: --limit {answer['total']}")
    if waiting:
        hint(session, f"opsbook ack {waiting[0]['id']}")
    return 1 if waiting else 0


@incidents.command()
@click.argument("incident", required=False, metavar="[ID]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(session: Session, incident: str | None, as_json: bool) -> None:
    """All about one: who has it, what fires, what may be behind it.

    \b
    Examples:
      opsbook incidents show inc-7
    """
    one = session.api.get(path(meant(session, incident)))
    if as_json:
        session.terminal.json(one)
        return
    session.terminal.data(*_shown(one, session.terminal.style, time.time()))
    commands = []
    if one["attachments"] and one["environment"]:
        about = " ".join(["opsbook diagnose", *one["services"][:1]])
        commands.append(seen(f"{about} --in {one['environment']} --last"))
    if one["state"] in OPEN:
        commands.append(f"opsbook {'ack' if one['acknowledged_at'] is None else 'resolve'} {one['id']}")
    if commands:
        hint(session, " · ".join(commands))


@incidents.command()
@click.argument("incident", required=False, metavar="[ID]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def timeline(session: Session, incident: str | None, as_json: bool) -> None:
    """What happened, the oldest first: alerts, changes, pages, runs, notes.

    \b
    Examples:
      opsbook incidents timeline inc-7
    """
    answer = session.api.get(path(meant(session, incident), "timeline"))
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    style, rows = terminal.style, answer["timeline"]
    days = {clock_time(one["at"])[:10] for one in rows}
    terminal.data(*table([_moment(one, style, date=len(days) > 1) for one in rows]))


@incidents.command()
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 3660), help="Of so many days.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def figures(session: Session, days: int, as_json: bool) -> None:
    """How long it took to detect, to acknowledge, and to resolve.

    \b
    Examples:
      opsbook incidents figures --days 30

    Incidents that were merged are left out; those that ended by themselves do not count for acknowledging.
    """
    found = session.api.get(f"{API}/figures", {"since": time.time() - days * parse_duration("24h")})
    terminal = session.terminal
    if as_json:
        terminal.json(found)
        return
    if not found["incidents"]:
        terminal.message(f"no incident in {count(days, 'day')}")
        return
    style = terminal.style
    heading = [
        style.paint(word, "dim") for word in ("", "INCIDENTS", "TO DETECT", "TO ACKNOWLEDGE", "TO RESOLVE")
    ]
    rows = [["all", *_figures(found)]]
    rows += [[name, *_figures(one)] for name, one in found["by_severity"].items()]
    terminal.data(*table([heading, *rows]))
    terminal.message("median / p90")


def _figures(found: Mapping[str, Any]) -> list[str]:
    return [str(found["incidents"]), *(_pair(found[key]) for key in ("mttd", "mtta", "mttr"))]


def _pair(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "–"
    return f"{duration(figure['median'])} / {duration(figure['p90'])}"


def _rank(one: Mapping[str, Any]) -> tuple[Any, ...]:
    """What needs somebody first."""
    return (
        one["state"] not in OPEN,
        one["state"] == "mitigated",
        one["acknowledged_at"] is not None,
        one["severity"] if one["state"] in OPEN else "",
        -one["declared_at"],
    )


def _row(one: Mapping[str, Any], now: float, style: Style) -> list[str]:
    ended = one["resolved_at"] or one["closed_at"]
    lasted = age(one["started_at"], now) if ended is None else f"lasted {_lasted(one, ended)}"
    who = seen(one["commander"] or one["acknowledged_by"] or ("nobody" if one["state"] in OPEN else ""))
    return [
        state(one, style),
        one["id"],
        one["severity"],
        where(one),
        lasted,
        who,
        style.paint(seen(one["title"]), "dim"),
    ]


def _lasted(one: Mapping[str, Any], ended: float) -> str:
    return duration(max(0.0, ended - one["started_at"]))


def _shown(one: Mapping[str, Any], style: Style, now: float) -> Iterator[str]:
    yield f"{style.paint(one['id'], 'bold')} {seen(one['title'])} · {one['severity']} · {state(one, style)}"
    ended = one["resolved_at"] or one["closed_at"]
    since = (
        f"for {duration(max(0.0, now - one['started_at']))}"
        if ended is None
        else f"lasted {_lasted(one, ended)}"
    )
    yield style.paint(" · ".join(filter(None, (where(one), since, _merged(one)))), "dim")
    yield from _facts(one, style, now)
    yield from _part("alerts", [_alert(alert) for alert in one["alerts"]], style)
    yield from _part(
        "suspects, the likeliest first", [_suspect(suspect) for suspect in one["suspects"]], style
    )
    yield from _part("actions", [_action(action) for action in one["actions"]], style)
    updates = [_update(told) for told in one["updates"]]
    yield from _part("updates", updates[::-1], style)
    attached = [f"{made['name']} ({made['kind']}, {clock_time(made['at'])})" for made in one["attachments"]]
    yield from _part("attached", [seen(text) for text in attached], style)


def _merged(one: Mapping[str, Any]) -> str:
    parts = [f"merged into {one['merged_into']}"] if one["merged_into"] else []
    parts += [f"with {', '.join(one['merged'])}"] if one["merged"] else []
    parts += [f"reopened {count(one['reopened'], 'time')}"] if one["reopened"] else []
    return ", ".join(parts)


def _facts(one: Mapping[str, Any], style: Style, now: float) -> Iterator[str]:
    yield ", ".join(_times(one))
    roles = [f"{role} {one[role]}" for role in ("commander", "scribe", "liaison") if one[role]]
    roles += [f"responders {', '.join(one['responders'])}"] if one["responders"] else []
    if one["acknowledged_by"]:
        roles.insert(0, f"{one['acknowledged_by']} {'has' if one['state'] in OPEN else 'had'} it")
    if roles:
        yield seen(", ".join(roles))
    elif one["state"] in OPEN:
        yield style.paint("nobody has it", "red")
    if one["next_update_at"] is not None and one["state"] in OPEN:
        late = now - one["next_update_at"]
        word = f"overdue for {duration(late)}" if late > 0 else f"due in {duration(-late)}"
        yield f"next update {style.paint(word, 'yellow' if late > 0 else 'dim')}"
    for word, key in (("runbook", "runbook"), ("post-mortem", "postmortem")):
        if one[key]:
            yield f"{word} {seen(one[key])}"
    if one["runs"]:
        yield f"runs {', '.join(one['runs'])}"


def _times(one: Mapping[str, Any]) -> Iterator[str]:
    """Each with its day only where that is another one."""
    day = ""
    for word, key in (
        ("impact", "started_at"),
        ("detected", "detected_at"),
        ("acknowledged", "acknowledged_at"),
        ("mitigated", "mitigated_at"),
        ("resolved", "resolved_at"),
        ("closed", "closed_at"),
    ):
        if one[key] is not None:
            at = clock_time(one[key])
            yield f"{word} {at if at[:10] != day else clock_time(one[key], date=False)}"
            day = at[:10]


def _part(title: str, lines: list[str], style: Style) -> Iterator[str]:
    if not lines:
        return
    yield ""
    yield style.paint(title, "dim")
    yield from (f"  {line}" for line in lines[:SHOWN])
    if len(lines) > SHOWN:
        yield style.paint(f"  and {len(lines) - SHOWN} more", "dim")


def _alert(alert: Mapping[str, Any]) -> str:
    name = alert["labels"].get("alertname", "an alert")
    until = "fires" if alert["ended_at"] is None else f"ended {clock_time(alert['ended_at'])}"
    return seen(f"{name} {alert['summary']} · since {clock_time(alert['started_at'])}, {until}")


def _suspect(suspect: Mapping[str, Any]) -> str:
    why = f" · {suspect['why']}" if suspect["why"] else ""
    return seen(f"{suspect['score']:.2f} {clock_time(suspect['at'])} {suspect['text']}{why}")


def _action(action: Mapping[str, Any]) -> str:
    box = "[x]" if action["done_at"] is not None else "[ ]"
    about = ", ".join(filter(None, (action["owner"], f"due {action['due']}" if action["due"] else "")))
    return seen(f"{action['id']} {box} {action['text']}{f' ({about})' if about else ''}")


def _update(told: Mapping[str, Any]) -> str:
    by = ", ".join([told["by"], *(["public"] if told["public"] else [])])
    return f"{clock_time(told['at'])} {seen(told['text'])} ({by})"


def _moment(one: Mapping[str, Any], style: Style, *, date: bool) -> list[str]:
    late = f"written down {clock_time(one['recorded_at'], date=False)}" if one["late"] else ""
    said = style.paint(seen(" · ".join(filter(None, (one["actor"], late)))), "dim")
    return [clock_time(one["at"], date=date), seen(one["text"]), said]
