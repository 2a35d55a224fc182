"""``opsbook check``: is the handbook right, and what does it lack? Offline, fast, for editors and CI."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import click

from opsbook.errors import OpsbookError
from opsbook.terminal import Session, Style, count
from opsbook.terminal.commands import Command

if TYPE_CHECKING:
    from opsbook.book import Book, Problem

WRONG = 2


@click.command(cls=Command)
@click.option("--strict", is_flag=True, help="Warnings are errors.")
@click.option("--json", "as_json", is_flag=True, help="Everything found, as JSON.")
@click.pass_obj
def check(session: Session, *, strict: bool, as_json: bool) -> int:
    """Check the handbook: errors with file and line, then what good operations would add.

    \b
    Examples:
      opsbook check
      opsbook check --strict       for CI: warnings fail too
      opsbook --book other check

    Exit codes: 0 it can be used, 2 it has errors (or, with --strict, warnings).
    """
    from opsbook.book import FolderFiles, load_or_problems
    from opsbook.book.alerts import AlertsFile
    from opsbook.book.problems import in_order

    book, problems = load_or_problems(FolderFiles(session.book), today=date.today())  # noqa: DTZ011 - the reader's day
    if book is not None and (book.rule_files or book.alerts != AlertsFile()):
        from opsbook.monitoring.rules.checking import rule_problems

        problems = in_order([*problems, *rule_problems(book, _stored(session))])
    if book is not None and any(page.blocks for page in book.runbooks.values()):
        from opsbook.cli.scripts import shell_problems

        problems = in_order([*problems, *shell_problems(book)])
    errors = [problem for problem in problems if problem.severity == "error"]
    warnings = [problem for problem in problems if problem.severity == "warning"]
    wrong = bool(errors) or (strict and bool(warnings))
    terminal = session.terminal
    if as_json:
        terminal.json(
            {
                "ok": not wrong,
                "where": str(session.book),
                "digest": book.digest if book is not None else None,
                "errors": [problem.to_json() for problem in errors],
                "warnings": [problem.to_json() for problem in warnings],
            }
        )
    else:
        terminal.data(*_lines(errors, "failed", "error", terminal.style))
        terminal.data(*_lines(warnings, "warning", "warning", terminal.style))
        terminal.message(_summary(book, errors, warnings, terminal.message_style))
    return WRONG if wrong else 0


def _stored(session: Session) -> frozenset[str] | None:
    """The metrics that a running server has measured; None when there is none to ask, or it does not say."""
    try:
        return frozenset(session.api.get("/prometheus/api/v1/label/__name__/values")["data"])
    except (OpsbookError, KeyError, TypeError):
        return None


def _lines(problems: Sequence[Problem], state: str, word: str, style: Style) -> list[str]:
    """``services/web.yaml:7: error: run.command: ...``, the form that editors and CI jump from."""
    lines = []
    for problem in problems:
        path = f"{problem.path}: " if problem.path else ""
        place = style.paint(problem.where, "bold")
        lines.append(f"{place}: {style.state(state, word)}: {path}{problem.message}")
        if problem.hint:
            lines.append(f"    {style.paint('hint:', 'cyan')} {problem.hint}")
    return lines


def _summary(book: Book | None, errors: Sequence[Problem], warnings: Sequence[Problem], style: Style) -> str:
    found = f"{count(len(errors), 'error')}, {count(len(warnings), 'warning')}"
    if book is None:
        return f"{style.state('failed', 'cannot be used')} · {found}"
    size = f"{count(len(book.services), 'service')}, {count(len(book.environments), 'environment')}"
    state = style.state("warning") if warnings else style.state("ok")
    return f"{state} · {book.name}: {size} · {found}"
