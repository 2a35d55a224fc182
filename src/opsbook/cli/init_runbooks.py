"""The standard runbooks in a handbook, new or old: copies that are its own from then on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from opsbook.book import FolderFiles, load
from opsbook.book.drills import FOLDER, is_drill
from opsbook.book.runbook_advice import offered_alerts
from opsbook.errors import Conflict, Failed
from opsbook.response.standard import copies, standard_pages
from opsbook.terminal import Session, count


def add_runbooks(session: Session, handbook: Path) -> None:
    """Those of the standard set that the handbook does not have; a page that it has is left alone, with its drill."""
    book = load(FolderFiles(handbook))
    taken = {path.stem for path in (handbook / "runbooks").glob("*.md")} & standard_pages().keys()
    drilled = {drill.head.runbook for drill in book.drills.values()} | book.drills.keys()
    texts = {
        path: text
        for path, text in copies(without=taken).items()
        if not (path.startswith(FOLDER) and Path(path).stem in drilled)
    }
    write(handbook, texts)
    terminal, style = session.terminal, session.terminal.message_style
    terminal.data(*(str(handbook / path) for path in texts))
    if taken:
        terminal.message(f"{style.state('ok', 'kept')} as they are: {', '.join(sorted(taken))}")
    offer_rules(session, texts)
    terminal.message(
        f"{style.symbol('ok')} {count(len(texts), 'file')} for the handbook {book.name}",
        f"{style.paint('next:', 'cyan')} opsbook check && opsbook runbooks test --list",
    )


def offer_rules(session: Session, texts: Mapping[str, str]) -> None:
    """A rule needs metrics of an exporter which may not be there, so it is copied by whoever has one."""
    pages = [
        path
        for path, text in texts.items()
        if path.endswith(".md") and not is_drill(path.removeprefix("ops/")) and offered_alerts(text)
    ]
    if pages:
        names = ", ".join(Path(path).stem for path in pages)
        style = session.terminal.message_style
        session.terminal.message(
            f"{style.paint('hint:', 'cyan')} these pages show alert rules to copy into monitoring/alerts.yaml"
            f" once their exporters are there: {names}"
        )


def write(project: Path, texts: Mapping[str, str]) -> None:
    """Write the files, all of them new.

    Raises:
        Conflict: one of them is there, and nothing was written. Failed: it cannot be written.
    """
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
