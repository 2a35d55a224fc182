"""``opsbook runbooks``: the pages that run, and making more of them."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import click

from opsbook.errors import Conflict, Invalid, NotFound
from opsbook.response.drills.cli import API as DRILLS
from opsbook.response.drills.cli import test
from opsbook.response.drills.words import in_a_cell, in_a_line
from opsbook.response.runbooks.cli.following import plain
from opsbook.response.runbooks.cli.run import complete_page, not_there
from opsbook.terminal import Session, Style, age, count, duration, share, table
from opsbook.terminal.commands import Group

API = "/api/response/runbooks"
_PICTURE = 5 * 1024 * 1024  # bytes of a picture that is taken over with its page


@click.group(cls=Group, bare="list")
def runbooks() -> None:
    """Runbooks: pages that say what to do, and do it.

    \b
    Examples:
      opsbook runbooks                              every page, and how its runs went
      opsbook runbooks new disk-full --title "Disk full"
      opsbook runbooks import ../wiki --to ops/runbooks
    """


@runbooks.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(session: Session, as_json: bool = False) -> None:
    """Every page with its owner, its review, how its runs went, and how it did when it was drilled last.

    \b
    Examples:
      opsbook runbooks list
    """
    answer = session.api.get(API)
    drilled = _drilled(session)
    answer["runbooks"] = [page | {"drill": drilled.get(page["name"])} for page in answer["runbooks"]]
    terminal = session.terminal
    if as_json:
        terminal.json(answer)
        return
    if not answer["runbooks"]:
        terminal.message(
            "no runbooks yet", f"{terminal.message_style.paint('hint:', 'cyan')} opsbook runbooks new NAME"
        )
        return
    words = ("PAGE", "TITLE", "STEPS", "RISK", "OWNER", "LAST RUN", "WORKED", "TAKES", "TESTED", "REVIEWED")
    heading = [terminal.style.paint(word, "dim") for word in words]
    now = time.time()
    terminal.data(*table([heading, *(_row(page, terminal.style, now) for page in answer["runbooks"])]))


def _drilled(session: Session) -> Mapping[str, Any]:
    """How the last drill of each page went; nothing where the server has no drills."""
    try:
        found: Mapping[str, Any] = session.api.get(DRILLS)["drills"]
    except NotFound:
        return {}
    return found


def _row(page: Mapping[str, Any], style: Style, now: float) -> list[str]:
    evidence = page["evidence"]
    last = evidence["last"]
    ran = (
        f"{age(last['at'], now)} {last['outcome'] or 'under way'}"
        if last
        else "never"
        if page["executable"]
        else "-"
    )
    rate, seconds = evidence["success_rate"], evidence["median_seconds"]
    return [
        page["name"], plain(page["title"]), str(page["steps"]) if page["executable"] else style.paint("to read", "dim"),
        page["risk"] if page["steps"] else "-", page["owner"] or "-", ran, share(rate) if rate is not None else "-",
        duration(seconds) if seconds is not None else "-",
        in_a_cell(page["drill"], now) if page["executable"] else "-", page["reviewed"] or "-",
    ]  # fmt: skip


@runbooks.command()
@click.argument("page", shell_complete=complete_page)
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every block.")
@click.pass_obj
def show(session: Session, page: str, as_json: bool) -> None:
    """A page as it is written, how its runs went, and how it did when it was drilled last.

    \b
    Examples:
      opsbook runbooks show disk-full
    """
    try:
        answer = session.api.get(f"{API}/{page}")
    except NotFound as error:
        raise not_there(session, page, error) from None
    answer["drill"] = _drilled(session).get(answer["name"])
    if as_json:
        session.terminal.json(answer)
        return
    session.terminal.data(*answer["source"].rstrip("\n").split("\n"))
    evidence, style = answer["evidence"], session.terminal.message_style
    if evidence["last"]:
        rate = evidence["success_rate"]
        worked = f", {share(rate)} of those that nobody cancelled worked" if rate is not None else ""
        session.terminal.message(
            "",
            style.paint(f"{count(evidence['runs'], 'run')}{worked}: opsbook runs list --page {page}", "dim"),
        )
    if answer["drill"]:
        session.terminal.message("", style.paint(plain(in_a_line(answer["drill"], time.time())), "dim"))
    if answer["executable"]:
        wanted = " ".join(
            f"--param {one['name']}=..." for one in answer["params"] if one.get("default") is None
        )
        session.terminal.message(f"{style.paint('next:', 'cyan')} opsbook run {page} {wanted}".rstrip())


@runbooks.command()
@click.argument("name")
@click.option("--title", default="", help="What the page is called.")
@click.option("--owner", default="", help="Who answers for it: a contact. Left out: the handbook's owner.")
@click.option("--alert", default="", help="The alert that leads here.")
@click.pass_obj
def new(session: Session, name: str, title: str, owner: str, alert: str) -> None:
    """Write a page to begin with, that passes `opsbook check`.

    \b
    Examples:
      opsbook runbooks new disk-full --title "Disk full" --owner team-shop --alert DiskFull
    """
    from opsbook.response.runbooks.writing import template
    from opsbook.world.hosts.files import atomic_write

    if not re.fullmatch(r"[a-z][a-z0-9-]{0,60}", name):
        raise Invalid(f"expected a name such as disk-full, got {name[:60]!r}")
    target = session.book / "runbooks" / f"{name}.md"
    if target.exists():
        raise Conflict(
            f"there is a page {name} already", hint=f"opsbook runbooks show {name}", where=str(target)
        )
    _refuse_unless_known(session, owner)
    target.parent.mkdir(exist_ok=True)
    today = date.today().isoformat()  # noqa: DTZ011 - the reader's day
    atomic_write(
        target,
        template(title or name.replace("-", " ").capitalize(), owner, alert, today).encode(),
        mode=0o644,
    )
    session.terminal.data(str(target))
    # In git, opsbook goes by what is committed.
    in_git = any((folder / ".git").exists() for folder in target.absolute().parents)
    commit = f"git add {target} && git commit -m 'Page {name}' && " if in_git else ""
    session.terminal.message(
        f"{session.terminal.message_style.paint('next:', 'cyan')} {commit}opsbook run {name} --dry-run"
    )


def _refuse_unless_known(session: Session, owner: str) -> None:
    from opsbook.book import FolderFiles, load_or_problems
    from opsbook.book.problems import did_you_mean

    book, _ = load_or_problems(FolderFiles(session.book))
    if owner and book is not None and book.contacts and owner not in book.contacts:
        raise Invalid(f"there is no contact {owner}", hint=did_you_mean(owner, book.contacts))


@runbooks.command(name="import")
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), help="Where to (default: runbooks/ of the handbook)."
)
@click.option("--dry-run", is_flag=True, help="Say what a person must decide; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def import_(
    session: Session, sources: tuple[Path, ...], folder: Path | None, dry_run: bool, as_json: bool
) -> None:
    """Take over Markdown pages from elsewhere. No block of them runs before a person has given it a role.

    Prompts (`$ `) are split from output, `<placeholders>` become proposed parameters; what is to be decided is listed.
    Links among the pages lead on, their pictures come along. Doing it twice changes nothing; no page is overwritten.

    \b
    Examples:
      opsbook runbooks import ../wiki/ops --dry-run
      opsbook runbooks import disk.md --to ops/runbooks
    """
    from opsbook.response.runbooks.moving import Foreign, moved
    from opsbook.world.hosts.files import atomic_write

    target = folder or session.book / "runbooks"
    roots = [(one if one.is_dir() else one.parent).resolve() for one in sources]

    def existing(name: str) -> bytes | None:
        path = target / f"{name}.md"
        return path.read_bytes() if path.is_file() else None

    def is_picture(path: PurePath) -> bool:
        found = Path(path).resolve()
        inside = any(found.is_relative_to(root) for root in roots)
        return inside and found.is_file() and found.stat().st_size <= _PICTURE

    pages = [Foreign(PurePosixPath(path.as_posix()), path.read_bytes()) for path in _pages(sources)]
    found = moved(pages, existing, is_picture)
    for one in found if not dry_run else ():
        if one.is_there:
            continue
        for path, name in one.pictures:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            atomic_write(target / name, Path(path).read_bytes(), mode=0o644)
        target.mkdir(parents=True, exist_ok=True)
        text = one.page.text.encode("utf-8", "surrogatepass")
        atomic_write(target / f"{one.page.name}.md", text, mode=0o644)
    report = [{"to": str(target / f"{one.page.name}.md"), **one.to_json()} for one in found]
    if as_json:
        session.terminal.json({"pages": report, "written": not dry_run})
        return
    _report(session, report, dry_run=dry_run)


def _report(session: Session, report: list[dict[str, Any]], *, dry_run: bool) -> None:
    """What became of each page, and what a person must decide about it."""
    terminal, style = session.terminal, session.terminal.style
    for one in report:
        blocks = f"{count(one['blocks'], 'block')}, none of them runs" if one["blocks"] else "no blocks"
        state = "there already, and the same" if one["unchanged"] else blocks
        terminal.data(f"{style.paint(one['to'], 'bold')}: {state}")
        if not one["unchanged"]:
            terminal.data(*(f"    line {note['line']}: {plain(note['text'])}" for note in one["notes"]))
    new = [one for one in report if not one["unchanged"]]
    undecided = sum(1 for one in new if one["notes"])
    said = f"{count(len(report), 'page')}, {len(new)} of them new; {undecided} with something to decide"
    terminal.message(said + ("; nothing written" if dry_run else ""))
    if new and not dry_run:
        terminal.message(f"{terminal.message_style.paint('next:', 'cyan')} opsbook check")


def _pages(sources: tuple[Path, ...]) -> list[Path]:
    """The files, each once."""
    found: list[Path] = []
    for source in (one.resolve() for one in sources):
        found += (
            sorted(path for path in source.rglob("*.md") if path.is_file()) if source.is_dir() else [source]
        )
    return list(dict.fromkeys(found))


runbooks.add_command(test)
