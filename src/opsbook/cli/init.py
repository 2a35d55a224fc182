"""``opsbook init``: a handbook for what is there, each default with its reason."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import click

from opsbook.errors import Invalid, OpsbookError
from opsbook.terminal import Session, count
from opsbook.terminal.commands import Command

DEEPEST = 2  # folders below the project's that are looked into
MOST_FILES = 5000
LARGEST = 256 * 1024  # bytes of a file that is read to recognise the project
SKIPPED = frozenset({"node_modules", "__pycache__", "venv", "dist", "build", "target"})


@click.command(cls=Command)
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", metavar="NAME", help="The handbook's name (default: the folder's).")
@click.option("--with-runbooks", is_flag=True, help="With the standard set of runbooks and their drills.")
@click.pass_obj
def init(session: Session, *, folder: Path, name: str | None, with_runbooks: bool) -> None:
    """Make a handbook: for the project that is there, or with a small service to begin with.

    \b
    Examples:
      opsbook init shop        a new folder with a handbook and a service that runs
      opsbook init             a handbook for the project in this folder
      opsbook init --with-runbooks    with the standard set of runbooks; where a handbook is, what it lacks of them

    Existing files are never changed.
    """
    from opsbook.book.detect import detect
    from opsbook.book.scaffold import as_name, scaffold
    from opsbook.cli.init_runbooks import add_runbooks, offer_rules, write
    from opsbook.response.standard import copies

    project = folder.absolute()
    there = next((one for one in (project / "ops", project) if (one / "opsbook.yaml").exists()), None)
    if there is not None and with_runbooks:
        add_runbooks(session, there)
        return
    if there == project / "ops":
        raise Invalid(
            "there is a handbook already",
            where=str(there),
            hint="opsbook check; opsbook init --with-runbooks adds the standard runbooks to it",
        )
    called = as_name(name or project.name, "handbook")
    proposals = detect(_listing(project), name=called)
    owner = _user()
    texts = scaffold(called, proposals=proposals, owner=owner, email=_email(project))
    if with_runbooks:
        texts |= {f"ops/{path}": text for path, text in copies().items()}
    write(project, texts)

    terminal, style = session.terminal, session.terminal.message_style
    terminal.data(*(str(folder / path) for path in texts))
    for proposal in proposals:
        terminal.message(f"{style.state('ok', 'found')} {proposal.name}: {'; '.join(proposal.reasons)}")
    if not proposals:
        terminal.message(
            f"{style.state('ok', 'made')} hello: nothing to run was recognised, so here is a service to begin with"
        )
    if with_runbooks:
        offer_rules(session, texts)
    services = " ".join(proposal.name for proposal in proposals) or "hello"
    enter = "" if project == Path.cwd() else f"cd {folder} && "
    terminal.message(
        f"{style.symbol('ok')} {count(len(texts), 'file')} for the handbook {called}",
        f"{style.paint('next:', 'cyan')} {enter}opsbook up --detach && opsbook deploy {services} --to local",
    )


def _listing(project: Path) -> dict[str, str]:
    """The project's files by relative path; the content of those only that tell how it is run."""
    from opsbook.book.detect import READ

    found: dict[str, str] = {}
    for place, folders, files in os.walk(project):
        relative = Path(place).relative_to(project)
        deep = len(relative.parts) >= DEEPEST
        folders[:] = [] if deep else sorted(f for f in folders if not f.startswith(".") and f not in SKIPPED)
        for file in sorted(files):
            path = relative / file
            wanted = path.as_posix() in READ
            found[path.as_posix()] = _text(project / path) if wanted else ""
            if len(found) >= MOST_FILES:
                return found
    return found


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""  # what cannot be read cannot be recognised; the name alone may do


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "me"


def _email(project: Path) -> str | None:
    """The address that git knows this person by."""
    from opsbook.world.hosts.commands import run

    place = next(folder for folder in (project, *project.parents) if folder.is_dir())
    try:
        answer = run(["git", "config", "user.email"], cwd=place, timeout=5)
    except OpsbookError:
        return None
    return answer.output.decode("utf-8", "replace").strip() or None if answer.code == 0 else None
