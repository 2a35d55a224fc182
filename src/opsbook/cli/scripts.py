"""The scripts of a handbook's pages, shown to the shells that would run them."""

from __future__ import annotations

from collections.abc import Iterator

from opsbook.book import Book, Problem
from opsbook.world.commands.syntax import faults
from opsbook.world.commands.words import Shell


def shell_problems(book: Book) -> Iterator[Problem]:
    """What shells, and shellcheck where it is installed, say of the blocks of all runbooks."""
    scripts: dict[str, tuple[Shell, str]] = {}
    places: dict[str, tuple[str, int]] = {}
    for page in book.runbooks.values():
        for block in page.blocks:
            if block.language in {"bash", "sh"}:
                name = f"{page.name}#{block.id}"
                scripts[name] = ("sh" if block.language == "sh" else "bash", block.script)
                places[name] = page.file, block.line
    for name, found in faults(scripts).items():
        file, line = places[name]
        for fault in found:
            yield Problem(
                file, line + fault.line, "", fault.message, severity="error" if fault.serious else "warning"
            )
