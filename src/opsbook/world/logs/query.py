"""What is asked of logs, and what is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import re2

from opsbook.errors import Invalid
from opsbook.world.logs.words import LogRecord

LEVELS = ("trace", "debug", "info", "warning", "error", "critical")


@dataclass(frozen=True)
class LogQuery:
    """Everything that is given must fit.

    Args:
        services, environments, instances: any of these; empty: all.
        text: stands in the line, in upper or lower case.
        grep: an RE2 pattern that is found in the line.
        level: this one or a worse one. Lines without a level do not fit.
        since, until: epoch seconds, both within.
        fields: values of structured fields.
        trace_id: hex digits.
        visible: the environments that may be looked at; None: all. What belongs to none is seen with None only.
        limit: at most so many. cursor: where the last page ended; empty: begin with the newest.
        budget: seconds after which what was found until then is the answer.
    """

    services: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()
    instances: frozenset[str] = frozenset()
    text: str = ""
    grep: str = ""
    level: str = ""
    since: float | None = None
    until: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    trace_id: str = ""
    visible: frozenset[str] | None = None
    limit: int = 200
    cursor: str = ""
    budget: float = 20.0

    @cached_property
    def pattern(self) -> Any | None:
        """What `grep` says, compiled. Raises Invalid."""
        return compiled(self.grep) if self.grep else None

    @cached_property
    def place(self) -> tuple[int, int] | None:
        """Of the cursor: milliseconds, and how many of these were given already. Raises Invalid."""
        if not self.cursor:
            return None
        at, _, given = self.cursor.partition("-")
        if not (at.isdecimal() and given.isdecimal() and len(at) < 16 and len(given) < 12):
            raise Invalid(f"{self.cursor[:40]!r} is no place in the logs", where="cursor")
        return int(at), int(given)

    def check(self) -> None:
        """Raises Invalid: the pattern, the level or the cursor cannot be understood."""
        _ = self.pattern, self.place
        if self.level and self.level not in LEVELS:
            raise Invalid(
                f"unknown level {self.level[:40]!r}", hint=f"one of {', '.join(LEVELS)}", where="level"
            )

    def chooses(self, environment: str, service: str, instance: str) -> bool:
        """Whether lines of this origin can fit."""
        return (
            (self.visible is None or environment in self.visible)
            and (not self.environments or environment in self.environments)
            and (not self.services or service in self.services)
            and (not self.instances or instance in self.instances)
        )

    def fits(self, record: LogRecord, line: str) -> bool:
        """Whether a record is what is looked for; its origin included.

        Args:
            line: what `text` and `grep` look at: the whole line as it was written.
        """
        if not self.chooses(record.environment, record.service, record.instance):
            return False
        at = record.at_ms / 1000
        if (self.since is not None and at < self.since) or (self.until is not None and at > self.until):
            return False
        if self.level and (not record.level or LEVELS.index(record.level) < LEVELS.index(self.level)):
            return False
        if self.trace_id and record.trace_id != self.trace_id.lower():
            return False
        if any(record.fields.get(name) != value for name, value in self.fields.items()):
            return False
        if self.text and self.text.casefold() not in line.casefold():
            return False
        return self.pattern is None or self.pattern.search(line) is not None


@dataclass(frozen=True, slots=True)
class Found:
    """A page of records, newest first.

    Args:
        cursor: where the next page begins; empty: there is none.
        partial: the time was up: the search can go on from `cursor`.
        back_to: epoch seconds down to which all was looked at; None: all of it.
    """

    records: tuple[LogRecord, ...]
    cursor: str = ""
    partial: bool = False
    back_to: float | None = None


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many lines of each level were written when.

    Args:
        start, step: seconds. counts: level (``""``: unknown) to one number a step.
        partial: not everything was counted. back_to: all since then was.
    """

    start: float
    step: float
    counts: Mapping[str, tuple[int, ...]]
    partial: bool = False
    back_to: float | None = None


def compiled(pattern: str | bytes) -> Any:
    """An RE2 pattern. Raises Invalid: it is none."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 16 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise Invalid(
            f"not a regular expression: {said}",
            hint="RE2 syntax; write special characters with a backslash: \\[ \\( \\. \\* \\+ \\?",
            where="grep",
        ) from error
