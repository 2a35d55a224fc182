"""Reads what the instances of local processes wrote; see `Logs`.

The files are described in ``world/runtimes/process_logs.py``. A line's time is that of the checkpoint behind it: the
programs need not print one, and it is right to about a second.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from opsbook.errors import Invalid
from opsbook.world.telemetry.log_files import LogHistory, RawLine, last_newline
from opsbook.world.telemetry.log_follower import LogFollower
from opsbook.world.words import Clock, LogLine

_POLL = 0.25  # seconds between two looks while following
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class FileLogs:
    """The logs below one folder.

    Args:
        root: ``<state>/logs``.
        clock: for following.
        mask: takes the secrets out of a text; applied before anything is searched or shown.
    """

    def __init__(self, root: Path, clock: Clock, *, mask: Callable[[str], str] = lambda text: text) -> None:
        self._root = root
        self._clock = clock
        self._mask = mask

    def read(
        self,
        *,
        environment: str,
        service: str,
        since: float | None = None,
        grep: str | None = None,
        limit: int = 1000,
    ) -> list[LogLine]:
        """The newest `limit` lines that match, oldest first, of all instances together.

        Files are read from their ends and only as far as needed.

        Args:
            environment: of the instances.
            service: of the instances.
            since: epoch seconds; older lines are left out.
            grep: a regular expression that must be found in the line.
            limit: at most so many lines.

        Raises:
            Invalid: `grep` is no regular expression, or a name cannot be one.
        """
        folder, wanted = self._folder(environment, service), _pattern(grep)
        return self._newest(folder, {}, since, wanted, limit)

    def follow(
        self,
        *,
        environment: str,
        service: str,
        grep: str | None = None,
        stop: Callable[[], bool] = lambda: False,
        tail: int = 0,
        since: float | None = None,
    ) -> Iterator[LogLine]:
        """Lines as they come, of instances that come and go too.

        Args:
            environment: of the instances.
            service: of the instances.
            grep: a regular expression that must be found in the line.
            stop: asked a few times a second; True ends the iteration.
            tail: begin with the last so many lines; none is lost or told twice in between.
            since: leave out lines of this tail that are older, epoch seconds.

        Raises:
            Invalid: `grep` is no regular expression, or a name cannot be one. At the call, not at the first line.
        """
        return self._follow(self._folder(environment, service), _pattern(grep), stop, tail, since)

    def _follow(
        self,
        folder: Path,
        wanted: re.Pattern[str] | None,
        stop: Callable[[], bool],
        tail: int,
        since: float | None,
    ) -> Iterator[LogLine]:
        ends = {log: last_newline(log) for log in _logs(folder)}
        followers = {log: LogFollower(log, end, self._clock) for log, end in ends.items()}
        yield from self._newest(folder, ends, since, wanted, tail) if tail > 0 else ()
        while not stop():
            logs = _logs(folder)
            for log in logs:
                if log not in followers:
                    followers[log] = LogFollower(log, 0, self._clock)
                for line in followers[log].new_lines():
                    found = self._line(log, self._clock.now(), line, wanted)
                    if found is not None:
                        yield found
                    if stop():
                        return
            for log in followers.keys() - set(logs):
                del followers[log]
            self._clock.sleep(_POLL)

    def _newest(
        self,
        folder: Path,
        ends: dict[Path, int],
        since: float | None,
        wanted: re.Pattern[str] | None,
        limit: int,
    ) -> list[LogLine]:
        streams = [
            _tagged(log, LogHistory(log, end=ends.get(log)).newest_first(since)) for log in _logs(folder)
        ]
        found: list[LogLine] = []
        try:
            for at, log, raw in heapq.merge(*streams, key=lambda entry: entry[0], reverse=True):
                if len(found) >= limit:
                    break
                line = self._line(log, at, raw, wanted)
                if line is not None:
                    found.append(line)
        finally:
            for stream in streams:
                stream.close()
        return found[::-1]

    def _line(self, log: Path, at: float, raw: RawLine, wanted: re.Pattern[str] | None) -> LogLine | None:
        text = self._mask(raw.text)
        if wanted is not None and wanted.search(text) is None:
            return None
        return LogLine(at, log.stem, log.parent.name, log.parent.parent.name, text)

    def _folder(self, environment: str, service: str) -> Path:
        for word, name in (("environment", environment), ("service", service)):
            if not _NAME.fullmatch(name):
                raise Invalid(
                    f"{name!r} cannot be the name of a {word}", hint="letters, digits, '_', '-' and '.'"
                )
        return self._root / environment / service


def _tagged(log: Path, lines: Iterator[tuple[float, RawLine]]) -> Generator[tuple[float, Path, RawLine]]:
    return ((at, log, line) for at, line in lines)


def _logs(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".log")
    except FileNotFoundError:
        return []


def _pattern(grep: str | None) -> re.Pattern[str] | None:
    try:
        return None if grep is None else re.compile(grep)
    except re.error as error:
        raise Invalid(
            f"{grep!r} is not a regular expression: {error}",
            hint="write special characters with a backslash: \\[ \\( \\. \\* \\+ \\?",
            where="grep",
        ) from error
