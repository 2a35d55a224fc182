"""``opsbook init``: a handbook for what is there, each default with its reason."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import click

from opsbook.errors import Conflict, Failed, Invalid, OpsbookError
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

    Existing files are never changed.
    """
    from opsbook.book.detect import detect
    from opsbook.book.scaffold import as_name, scaffold

    project = folder.absolute()
    if (project / "ops" / "opsbook.yaml").exists():
        raise Invalid("there is a handbook already", where=str(project / "ops"), hint="opsbook check")
    called = as_name(name or project.name, "handbook")
    proposals = detect(_listing(project), name=called)
    texts = scaffold(called, proposals=proposals, owner=_user(), email=_email(project))
    if with_runbooks:
        texts |= _runbooks()
    _write(project, texts)

    terminal, style = session.terminal, session.terminal.message_style
    terminal.data(*(str(folder / path) for path in texts))
    for proposal in proposals:
        terminal.message(f"{style.state('ok', 'found')} {proposal.name}: {'; '.join(proposal.reasons)}")
    if not proposals:
        terminal.message(
            f"{style.state('ok', 'made')} hello: nothing to run was recognised, so here is a service to begin with"
        )
    services = " ".join(proposal.name for proposal in proposals) or "hello"
    enter = "" if project == Path.cwd() else f"cd {folder} && "
    terminal.message(
        f"{style.symbol('ok')} {count(len(texts), 'file')} for the handbook {called}",
        f"{style.paint('next:', 'cyan')} {enter}opsbook up --detach && opsbook deploy {services} --to local",
    )


def _runbooks() -> dict[str, str]:
    """The standard set, as it is shipped: from now on the handbook's own."""
    from opsbook.response.standard import standard_pages

    pages = standard_pages().values()
    return {f"ops/runbooks/{one.name}.md": one.runbook for one in pages} | {
        f"ops/runbooks/drills/{one.name}.md": one.drill for one in pages
    }


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


def _write(project: Path, texts: dict[str, str]) -> None:
    there = [path for path in texts if (project / path).exists()]
    if there:
        raise Conflict(
            f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} there already",
            where=str(project),
            hint="move it away, or make the handbook in a new folder: opsbook init DIR",
        )
    try:
        for path, text in texts.items():
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(
            f"cannot write: {error.strerror or error}", where=str(error.filename or project)
        ) from error
