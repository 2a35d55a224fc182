"""What is wrong in a handbook, said with its place, and the error that carries all of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from opsbook.errors import Invalid

FEW = 12  # words that may be listed in one hint

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding.

    Args:
        file: relative to the handbook folder, posix.
        line: counted from 1; 0 when the file as a whole is meant.
        path: the key within the file, e.g. ``run.command`` or ``services.web.replicas``; may be empty.
        message: what was expected and what was found, without a full stop.
        hint: what to write or run instead; may be empty.
    """

    file: str
    line: int
    path: str
    message: str
    hint: str = ""
    severity: Severity = "error"

    @property
    def where(self) -> str:
        """``file:line``, or the file alone when no line is meant."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def __str__(self) -> str:
        path = f"{self.path}: " if self.path else ""
        hint = f" (hint: {self.hint})" if self.hint else ""
        return f"{self.where}: {path}{self.message}{hint}"

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.file, "line": self.line, "path": self.path, "message": self.message,
            "hint": self.hint, "severity": self.severity,
        }  # fmt: skip


class HandbookError(Invalid):
    """The handbook cannot be used as it is; `problems` has every error found, in file and line order."""

    def __init__(self, problems: Iterable[Problem], *, where: str = "") -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        count = len(self.problems)
        first = str(self.problems[0]) if self.problems else "no reason given"
        message = first if count == 1 else f"{count} problems in the handbook, the first: {first}"
        super().__init__(
            message,
            hint="opsbook check",
            where=where,
            details={"problems": [problem.to_json() for problem in self.problems]},
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a word that is not known: the nearest one, or all of them when they are few; else empty."""
    choices: Sequence[str] = sorted(set(known))
    few = f"known: {', '.join(choices)}" if 0 < len(choices) <= FEW else ""
    return nearest(name, choices) or few


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known word; empty when none is near."""
    near = difflib.get_close_matches(name, sorted(set(known)), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else ""


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Errors before warnings, then by file, line and path; the same thing is said once."""
    return tuple(sorted(set(problems), key=lambda p: (p.severity, p.file, p.line, p.path, p.message)))
