"""``opsbook postmortem`` and ``opsbook status-page``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from opsbook.errors import NotFound
from opsbook.terminal import Session, Style, clock_time, count, table
from opsbook.terminal.commands import Group

ROOM = "/api/response/postmortems"
STATES = {"ok": "ok", "warning": "warning", "critical": "failed"}


@click.group(cls=Group, bare="list")
def postmortem() -> None:
    """Post-mortems: pages of incidents/ that opsbook begins and people complete.

    \b
    Examples:
      opsbook postmortem                    all of them, the newest first
      opsbook postmortem write inc-7        write it now, or anew where nobody has changed it
      opsbook postmortem show inc-7 | less
      opsbook postmortem actions            what was promised, overdue first
      opsbook postmortem lesson inc-7       the change that it proposes to a runbook

    ID may be left out: then it is the newest.
    """


@postmortem.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(session: Session, as_json: bool = False) -> None:
    """Every post-mortem of the handbook, the newest first.

    \b
    Examples:
      opsbook postmortem list --json
    """
    found = session.api.get(ROOM)["postmortems"]
    terminal = session.terminal
    if as_json:
        terminal.json({"postmortems": found})
        return
    if not found:
        terminal.message("no post-mortems yet: one is written when an incident is resolved")
        return
    terminal.data(*table([_row(one, terminal.style) for one in found]))
    overdue = sum(one.get("overdue_actions", 0) for one in found)
    if overdue:
        style = terminal.message_style
        terminal.message(
            f"{style.state('warning', count(overdue, 'action'))} overdue: opsbook postmortem actions"
        )


@postmortem.command()
@click.argument("name", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def write(session: Session, name: str | None, as_json: bool) -> None:
    """Write the post-mortem of an incident, or those of its parts that nobody has changed.

    \b
    Examples:
      opsbook postmortem write inc-7
    """
    record = session.api.post(f"{ROOM}/{name or _newest_incident(session)}", {})
    terminal = session.terminal
    if as_json:
        terminal.json(record)
        return
    commit = f" · commit {record['commit'][:10]}" if record["commit"] else ""
    terminal.message(f"{terminal.message_style.state('ok', 'written')} {record['path']}{commit}")
    if record["kept"]:
        terminal.message(f"left as people have written it: {', '.join(record['kept'])}")
    _say_lesson(session, record["lesson"])


@postmortem.command()
@click.argument("name", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="With what opsbook knows of it, as JSON.")
@click.pass_obj
def show(session: Session, name: str | None, as_json: bool) -> None:
    """The text of a post-mortem.

    \b
    Examples:
      opsbook postmortem show inc-7
    """
    answer = session.api.get(f"{ROOM}/{name or _newest(session)}")
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    terminal.data(*answer["text"].rstrip("\n").split("\n"))


@postmortem.command()
@click.argument("name", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def final(session: Session, name: str | None, as_json: bool) -> None:
    """Say that a post-mortem is complete: `state: final`.

    \b
    Examples:
      opsbook postmortem final inc-7
    """
    answer = session.api.post(f"{ROOM}/{name or _newest(session)}/final", {})
    if as_json:
        session.terminal.json(answer)
        return
    session.terminal.message(f"{session.terminal.message_style.state('ok', 'complete')} {answer['path']}")


@postmortem.command()
@click.argument("name", metavar="[ID]", required=False)
@click.option("--patch", is_flag=True, help="The change alone, for `git apply` in the handbook's folder.")
@click.option("--again", is_flag=True, help="Propose it anew, on top of what the handbook says now.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def lesson(session: Session, name: str | None, patch: bool, again: bool, as_json: bool) -> None:
    """The change that an incident proposes to a runbook: a branch `lesson/ID`, or without git a patch.

    \b
    Examples:
      opsbook postmortem lesson inc-7
      git merge lesson/inc-7                                 take it
      opsbook postmortem lesson inc-7 --patch | git apply    without the branch
    """
    name = name or _newest(session)
    path = f"{ROOM}/{name}/lesson"
    found = (session.api.post(path, {}) if again else session.api.get(path))["lesson"]
    terminal = session.terminal
    if as_json:
        terminal.json({"lesson": found})
        return
    if found is None:
        raise NotFound(
            f"{name} proposes no change to a runbook: it is for the page that was run, or the only one of its alert",
            hint="opsbook run PAGE --incident ID while it is open"
            if again
            else f"opsbook postmortem lesson {name} --again",
        )
    if not patch:
        _say_lesson(session, found)
    terminal.data(*found["patch"].rstrip("\n").split("\n"))


@postmortem.command()
@click.option("--owner", default="", metavar="NAME", help="Only this contact's.")
@click.option("--all", "every", is_flag=True, help="Also those that are done.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def actions(session: Session, owner: str, every: bool, as_json: bool) -> int:
    """What was promised after incidents and is not done, what is overdue first.

    \b
    Examples:
      opsbook postmortem actions --owner ana

    Exit codes: 0 nothing is overdue, 1 something is.
    """
    query = {"owner": owner or None, "every": "true" if every else None}
    found = session.api.get("/api/response/postmortem-actions", query)["actions"]
    terminal = session.terminal
    late = any(one["overdue"] for one in found)
    if as_json:
        terminal.json({"actions": found})
        return 1 if late else 0
    if not found:
        terminal.message("nothing is promised that is not done")
        return 0
    terminal.data(*table([_action_row(one, terminal.style) for one in found]))
    terminal.message("tick its box in the page, or: opsbook incidents action --done a1 --incident inc-7")
    return 1 if late else 0


@click.group(cls=Group, name="status-page", bare="show")
def status_page() -> None:
    """What customers are told while something is wrong, as static files.

    \b
    Examples:
      opsbook status-page                          what it says now
      opsbook status-page build --to public/       write it

    With `status_page: {to: DIR}` in incidents/policy.yaml it is written at every change.
    """


@status_page.command(name="show")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show_status(session: Session, as_json: bool = False) -> None:
    """What it says now.

    \b
    Examples:
      opsbook status-page show --json
    """
    answer = session.api.get("/api/response/status-page")
    terminal, page = session.terminal, answer["page"]
    if as_json:
        terminal.json(answer)
        return
    style = terminal.style
    terminal.data(f"{style.state(STATES[page['status']], page['description'])}")
    rows = [[one["name"], one["status"]] for one in page["components"]]
    terminal.data(*table(rows))
    for one in page["incidents"]:
        if one["resolved_at"] is None:
            said = one["updates"][0]["text"].split("\n")[0] if one["updates"] else "no update yet"
            terminal.data(f"{one['id']}  {one['title']}  {one['status']}  {said}")
    if answer["problem"]:
        terminal.message(f"{terminal.message_style.state('failed', 'not written')}: {answer['problem']}")
    elif answer["to"]:
        at = f", last at {clock_time(answer['written_at'])}" if answer["written_at"] else ""
        terminal.message(f"written to {answer['to']}{at}")


@status_page.command()
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="A folder on this machine. Left out: that of incidents/policy.yaml, on the server's.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def build(session: Session, to: Path | None, as_json: bool) -> None:
    """Write the page: index.html, history.html, feed.xml and status.json.

    \b
    Examples:
      opsbook status-page build --to /var/www/status
    """
    if to is None:
        folder = str(session.api.post("/api/response/status-page", {})["to"])
    else:
        from opsbook.response.postmortems.publishing import MARK
        from opsbook.world.hosts.publishing import publish

        publish(to, session.api.get("/api/response/status-page", {"files": "true"})["files"], MARK)
        folder = str(to)
    if as_json:
        session.terminal.json({"to": folder})
        return
    session.terminal.message(f"{session.terminal.message_style.state('ok', 'written')} {folder}")


def _row(one: dict[str, Any], style: Style) -> list[str]:
    if not one["path"]:
        return [one["incident"], "", style.state("failed", "not written"), "", one["failed"]]
    state = style.state("ok", "final") if one["state"] == "final" else style.state("waiting", "draft")
    waiting = count(one["open_actions"], "open action") if one["actions"] else ""
    if one["overdue_actions"]:
        waiting = style.state("warning", f"{one['overdue_actions']} of {waiting} overdue")
    return [one["incident"] or "-", one["severity"], state, waiting, f"{one['title']}  {one['path']}"]


def _action_row(one: dict[str, Any], style: Style) -> list[str]:
    state = style.state("ok", "done") if one["done"] else style.state("waiting", "open")
    if one["overdue"]:
        state = style.state("failed", "overdue")
    place = f"{one['file']}:{one['line']}" if one["file"] else one["incident"]
    return [state, one["due"] or "no date", one["owner"] or "nobody", place, one["text"]]


def _say_lesson(session: Session, lesson: dict[str, Any] | None) -> None:
    if lesson is None:
        return
    what = f"a new page {lesson['runbook']}" if lesson["new"] else f"a change to {lesson['runbook']}"
    if lesson["problem"] and not lesson["patch"]:
        session.terminal.message(lesson["problem"])
    elif lesson["problem"]:
        session.terminal.message(f"proposed: {what}; not put up as a branch: {lesson['problem']}")
    else:
        where = f"git merge {lesson['place']}" if lesson["commit"] else lesson["place"]
        session.terminal.message(f"proposed: {what}: {where}")


def _newest(session: Session) -> str:
    for one in session.api.get(ROOM)["postmortems"]:
        if one["incident"]:
            return str(one["incident"])
    raise NotFound("there is no post-mortem yet", hint="opsbook postmortem write ID")


def _newest_incident(session: Session) -> str:
    found = session.api.get("/api/response/incidents", {"limit": 1})["incidents"]
    if not found:
        raise NotFound("there is no incident", hint="opsbook incidents list")
    return str(found[0]["id"])
