"""``opsbook journal``: what happened, and the proof that nobody changed it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opsbook.errors import Failed, NotFound, Unreachable
from opsbook.terminal import Session, Style, clock_time, count, parse_duration
from opsbook.terminal.commands import Group

if TYPE_CHECKING:
    from opsbook.journal import Journal

BROKEN = 1
DATABASE_VARIABLE = "OPSBOOK_DATABASE"  # where the server keeps it when not in the state folder


@click.group(cls=Group, bare="show")
def journal() -> None:
    """The journal: everything that happened, each entry sealed by the one after it.

    \b
    Examples:
      opsbook journal                                 the last entries
      opsbook journal show --in production/web --since 1d
      opsbook journal follow
      opsbook journal verify
      opsbook journal export > journal.ndjson
    """


_filters = (
    click.option("--in", "subject", metavar="ENV[/SERVICE]", help="Only of one environment or service."),
    click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only of a kind: deployment.*"),
)


def _filtered(command: Any) -> Any:
    for add in _filters:
        command = add(command)
    return command


@journal.command()
@_filtered
@click.option("--since", metavar="1d", help="Only of this last time.")
@click.option(
    "-n", "--limit", default=30, show_default=True, type=click.IntRange(1, 10_000), help="The newest so many."
)
@click.option("--json", "as_json", is_flag=True, help="NDJSON: one entry a line.")
@click.pass_obj
def show(
    session: Session,
    *,
    subject: str | None,
    kinds: tuple[str, ...],
    since: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """The newest entries, oldest first.

    \b
    Examples:
      opsbook journal show --in production --kind 'deployment.*' --since 1d
    """
    start = time.time() - parse_duration(since) if since is not None else None
    query = {"kinds": list(kinds), "since": start, "limit": limit, "newest": True, **_subject(subject)}
    events = session.api.get("/api/journal/events", query)["events"]
    _print(session, events, as_json=as_json)
    if not events and not as_json:
        session.terminal.message("no entry" + (" that fits" if subject or kinds or since else " yet"))


def _subject(named: str | None) -> dict[str, str]:
    """``production/web`` is a subject, ``production`` all of an environment."""
    if not named:
        return {}
    return {"subject": named} if "/" in named else {"subject_prefix": f"{named}/"}


@journal.command()
@_filtered
@click.option("--json", "as_json", is_flag=True, help="NDJSON: one entry a line.")
@click.pass_obj
def follow(session: Session, *, subject: str | None, kinds: tuple[str, ...], as_json: bool) -> None:
    """Entries as they come, until Ctrl-C.

    \b
    Examples:
      opsbook journal follow --in production/web
    """
    exact = subject if subject and "/" in subject else None
    try:
        for event in session.api.events(kinds=",".join(kinds) or None, subject=exact):
            if event is not None and (not subject or exact or event["subject"].startswith(f"{subject}/")):
                _print(session, [event], as_json=as_json)
    except KeyboardInterrupt:
        return  # the way to end it


@journal.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def verify(session: Session, *, file: Path | None, as_json: bool) -> int:
    """Recompute the chain of hashes: the journal's own, or that of an exported file. Works without a server.

    \b
    Examples:
      opsbook journal verify
      opsbook journal verify journal.ndjson

    Exit codes: 0 it is whole, 1 it is not.
    """
    if file is not None:
        found = _verify_file(file)
    else:
        try:
            found = session.api.get("/api/journal/verify")
        except Unreachable:
            if session.remote:
                raise
            with _opened(session) as own:
                found = _as_json(own.verify())
    terminal = session.terminal
    if as_json:
        terminal.json(found)
    elif found["ok"]:
        terminal.data(
            f"{terminal.style.state('ok', 'whole')} · {count(found['checked'], 'entry', 'entries')} checked"
        )
    else:
        at = f" at entry {found['broken_at']}" if found.get("broken_at") is not None else ""
        terminal.data(
            f"{terminal.style.state('failed', 'broken')}{at} · {found.get('reason') or 'it does not fit'}"
        )
    return 0 if found["ok"] else BROKEN


def _verify_file(file: Path) -> dict[str, Any]:
    from opsbook.journal import verify_export

    with file.open(encoding="utf-8") as lines:
        return _as_json(verify_export(lines))


def _as_json(verification: Any) -> dict[str, Any]:
    return {name: getattr(verification, name) for name in ("ok", "checked", "broken_at", "reason")}


@journal.command()
@click.pass_obj
def export(session: Session) -> None:
    """All entries as NDJSON on stdout; the last line is the signed head. Works without a server.

    \b
    Examples:
      opsbook journal export > journal.ndjson
    """
    terminal = session.terminal
    try:
        last = ""
        for last in session.api.lines("/api/journal/export"):
            terminal.data(last)
        if "signature" not in last:
            raise Failed("the export ended before its signed head", hint="try again: opsbook journal export")
    except Unreachable:
        if session.remote:
            raise
        with _opened(session) as own:
            own.export(lambda text: terminal.data(text.rstrip("\n")))


@contextmanager
def _opened(session: Session) -> Iterator[Journal]:
    """The journal's own file, while no server answers."""
    from opsbook.journal import Journal
    from opsbook.world.hosts.clock import SystemClock

    place: str | Path = os.environ.get(DATABASE_VARIABLE) or session.state / "journal.sqlite"
    if isinstance(place, Path) and not place.exists():
        raise NotFound("there is no journal yet", where=str(place), hint="opsbook up --detach")
    own = Journal.open(place, keys=session.state / "keys", clock=SystemClock())
    try:
        yield own
    finally:
        own.close()


def _print(session: Session, events: list[Mapping[str, Any]], *, as_json: bool) -> None:
    terminal = session.terminal
    for event in events:
        if as_json:
            terminal.json(event, indent=None)
        else:
            terminal.data(_line(event, terminal.style))


def _line(event: Mapping[str, Any], style: Style) -> str:
    """Id, time, kind, subject, actor, and what the entry says in one line."""
    data = dict(event.get("data") or {})
    said = data.pop("message", "") or " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in data.items()
        if value not in (None, "", [], {})
    )
    head = f"{event['id']:>5}  {clock_time(float(event['at']))}"
    subject = style.paint(str(event["subject"]), "bold")
    return "  ".join(
        [style.paint(head, "dim"), str(event["kind"]), subject, str(event["actor"]), said]
    ).rstrip()
