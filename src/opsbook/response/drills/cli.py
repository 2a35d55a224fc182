"""``opsbook runbooks test``: try pages on the real faults, each in a scratch environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsbook.errors import Invalid, OpsbookError, Unreachable
from opsbook.terminal import Session, Style, count, duration
from opsbook.terminal.commands import Command

if TYPE_CHECKING:
    from opsbook.book import Book
    from opsbook.book.drills import Drill
    from opsbook.response.drills.model import Result

API = "/api/response/drills"
_LOOKS = {"passed": "ok", "failed": "failed", "skipped": "paused"}


@click.command(cls=Command)
@click.argument("pages", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every page that has a drill.")
@click.option("--list", "listing", is_flag=True, help="Which pages have one; nothing is run.")
@click.option("--no-record", is_flag=True, help="Tell the running opsbook nothing of how it went.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def test(
    session: Session, *, pages: tuple[str, ...], every: bool, listing: bool, no_record: bool, as_json: bool
) -> int:
    """Try pages on the real fault: break it, wait for the alert, run the page, look whether it helped, clean up.

    \b
    Examples:
      opsbook runbooks test disk-full
      opsbook runbooks test --all          every page of the handbook and of the standard set that has a drill
      opsbook runbooks test --list

    Each has a scratch opsbook of its own, with its own handbook, state, ports and processes; yours is not touched.
    What a drill needs and this machine does not have is said, and the drill is skipped.

    Exit codes: 0 none failed, 1 one did.
    """
    from opsbook.response.drills.finding import find, has_program, names
    from opsbook.response.drills.plan import chosen
    from opsbook.response.drills.workflow import Rehearsal

    terminal, style = session.terminal, session.terminal.style
    book, drills = _handbook(session)
    if listing:
        known = names(drills)
        terminal.json({"pages": list(known)}) if as_json else terminal.data(*known)
        return 0
    if bool(pages) == every:
        raise Invalid("name pages, or say --all", hint="which there are: opsbook runbooks test --list")
    results: list[Result] = []
    found = [find(name, book, drills) for name in chosen(pages, names(drills))]
    for one in found:
        title = one.page.name
        terminal.message(f"{terminal.message_style.state('running', title)}")
        rehearsal = Rehearsal(
            page=one.page,
            drill=one.drill,
            real=book,
            python=sys.executable,
            has=has_program,
            root=os.geteuid() == 0,
            say=lambda text: terminal.message(f"  {text}"),
            standard=one.standard,
        )
        result = rehearsal.run()
        results.append(result)
        if not no_record:
            _record(session, result)
        if not as_json:
            terminal.data(*_lines(result, style))
    if as_json:
        terminal.json({"drills": [one.to_json() for one in results]})
    else:
        tally = (
            f"{number} {state}" for state in _LOOKS if (number := sum(one.state == state for one in results))
        )
        terminal.message(f"{count(len(results), 'drill')}: {', '.join(tally)}")
    return int(any(one.state == "failed" for one in results))


def _handbook(session: Session) -> tuple[Book | None, Mapping[str, Drill]]:
    """The book around here with its drills, as far as there is one; the standard set needs none."""
    from opsbook.book import FolderFiles, load_or_problems
    from opsbook.book.problems import HandbookError

    try:
        folder: Path = session.book
    except OpsbookError:
        return None, {}
    book, problems = load_or_problems(FolderFiles(folder))
    if book is None:
        raise HandbookError((one for one in problems if one.severity == "error"), where=str(folder))
    return book, book.drills


def _record(session: Session, result: Result) -> None:
    """Evidence beside the page, where an opsbook runs for the handbook."""
    if result.standard and not _has_page(session, result.page):
        return
    try:
        session.api.post(API, result.to_json())
    except (Unreachable, Invalid):
        return
    except OpsbookError as error:
        session.terminal.message(f"{session.terminal.message_style.state('warning', 'not recorded')} {error}")


def _has_page(session: Session, name: str) -> bool:
    try:
        return (session.book / "runbooks" / f"{name}.md").is_file()
    except OpsbookError:
        return False


def _lines(result: Result, style: Style) -> list[str]:
    times: Mapping[str, float | None] = {"detected in": result.detect_seconds, "fixed in": result.fix_seconds}
    words = [f"{what} {duration(seconds)}" for what, seconds in times.items() if seconds is not None]
    head = f"{style.state(_LOOKS[result.state], result.state)} {style.paint(result.page, 'bold')}"
    lines = [" · ".join([head, *words, *([f"took {duration(result.seconds)}"] if result.seconds else [])])]
    lines.append(f"    fault: {result.fault}")
    if result.reason:
        lines.append(f"    {f'{result.stage}: ' if result.stage else ''}{result.reason}")
    return lines
