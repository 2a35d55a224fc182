"""``opsbook schema``: JSON Schemas of the handbook's files, for editors."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import click

from opsbook.errors import Failed, NotFound
from opsbook.terminal import Session
from opsbook.terminal.commands import Command


@click.command(cls=Command)
@click.argument("kind", required=False)
@click.option("--write", "folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Write one file a kind instead of printing.")  # fmt: skip
@click.pass_obj
def schema(session: Session, *, kind: str | None, folder: Path | None) -> None:
    """Print the JSON Schema of a kind of file; without a name, the names.

    \b
    Examples:
      opsbook schema                          which kinds there are
      opsbook schema service                  one of them
      opsbook schema --write .schemas         all, for an editor's YAML plugin
    """
    from opsbook.book import schemas

    known = schemas()
    if kind is not None and kind not in known:
        close = difflib.get_close_matches(kind, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"one of: {', '.join(sorted(known))}"
        raise NotFound(f"there is no schema {kind!r}", hint=hint)
    chosen = {kind: known[kind]} if kind else known
    if folder is not None:
        _write(session, folder, chosen)
    elif kind is not None:
        session.terminal.json(chosen[kind])
    else:
        session.terminal.data(*sorted(known))


def _write(session: Session, folder: Path, chosen: dict[str, dict[str, object]]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in sorted(chosen.items()):
            path = folder / f"{name}.schema.json"
            path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            session.terminal.data(str(path))
    except OSError as error:
        raise Failed(
            f"the schemas cannot be written: {error.strerror or error}", where=str(folder)
        ) from error
