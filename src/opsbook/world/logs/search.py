"""One search over what instances wrote and what programs sent."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from opsbook.world.logs.narrowing import candidates, narrowed
from opsbook.world.logs.query import Found, Histogram, LogQuery
from opsbook.world.logs.reading import NEAR, read_line
from opsbook.world.logs.sent import SentLogs
from opsbook.world.logs.words import LogRecord
from opsbook.world.telemetry.log_files import LogHistory, RawLine, last_newline
from opsbook.world.telemetry.log_follower import LogFollower
from opsbook.world.words import Clock

STEPS = 60
COUNTED = 200_000  # lines of a histogram
_POLL = 0.25  # seconds between two looks while following


@dataclass(frozen=True, slots=True)
class _Step:
    """A record, or (None) how far back a stream has come."""

    at_ms: int
    record: LogRecord | None


class LogSearch:
    """All logs of one opsbook.

    Args:
        root: ``<state>/logs``, what instances wrote (see ``world/runtimes/process_logs.py``).
        sent: what programs sent.
        mask: takes the secrets out of a text; applied before anything is searched or shown.
    """

    def __init__(
        self, root: Path, sent: SentLogs, clock: Clock, *, mask: Callable[[str], str] = lambda text: text
    ) -> None:
        self._root = root
        self._sent = sent
        self._clock = clock
        self._mask = mask

    def search(self, query: LogQuery) -> Found:
        """The newest records that fit, newest first; with a cursor those behind the last page.

        The time of a line without one of its own is that of its checkpoint, right to about a second.

        Raises:
            Invalid: the question cannot be understood. Failed: what was sent cannot be read.
        """
        query.check()
        started = self._clock.monotonic()
        found: list[LogRecord] = []
        newest, given = query.place if query.place is not None else (None, 0)
        place, count_there = newest, 0
        for step in self._steps(query, newest):
            late = self._clock.monotonic() - started > query.budget
            if step.record is not None and (newest is None or step.at_ms <= newest):
                if step.at_ms != place:
                    place, count_there = step.at_ms, 0
                count_there += 1
                if not (step.at_ms == newest and count_there <= given):
                    if len(found) == query.limit:
                        return Found(tuple(found), cursor=f"{place}-{count_there - 1}")
                    found.append(step.record)
            if late and (place is None or step.at_ms < place):
                cursor = f"{step.at_ms}-0"
                return Found(tuple(found), cursor=cursor, partial=True, back_to=step.at_ms / 1000)
        return Found(tuple(found))

    def histogram(self, query: LogQuery, *, start: float, end: float, steps: int = STEPS) -> Histogram:
        """How many records that fit were written when, by level. Raises as `search` does."""
        query = replace(query, since=start, until=end, cursor="")
        query.check()
        width = max((end - start) / steps, 0.001)
        counts: dict[str, list[int]] = {}
        began, counted = self._clock.monotonic(), 0
        for step in self._steps(query, None):
            if step.record is not None:
                counted += 1
                column = min(steps - 1, max(0, int((step.at_ms / 1000 - start) / width)))
                counts.setdefault(step.record.level, [0] * steps)[column] += 1
            if counted >= COUNTED or self._clock.monotonic() - began > query.budget:
                return Histogram(start, width, _frozen(counts), partial=True, back_to=step.at_ms / 1000)
        return Histogram(start, width, _frozen(counts))

    def follow(
        self, query: LogQuery, *, stop: Callable[[], bool] = lambda: False, tail: int = 0
    ) -> Iterator[LogRecord | None]:
        """The newest `tail` records, oldest first, then what comes, of instances that come and go too.

        None is given after each look at which nothing came, a few times a second.

        Raises:
            Invalid: the question cannot be understood; at the call.
        """
        query = replace(query, cursor="")
        query.check()
        last = self._sent.last()  # now, not when the first is asked for: what comes from here on is told
        ends = {log: last_newline(log) for log in self._logs(query)}
        return self._follow(query, stop, tail, last, ends)

    def origins(self, visible: frozenset[str] | None = None) -> tuple[tuple[str, str], ...]:
        """Pairs of environment and service of which there are logs, sorted."""
        found = {(log.parent.parent.name, log.parent.name) for log in self._root.glob("*/*/*.log")}
        found |= self._sent.origins()
        return tuple(sorted(one for one in found if visible is None or one[0] in visible))

    # --- looking back

    def _steps(
        self,
        query: LogQuery,
        newest: int | None,
        ends: dict[Path, int] | None = None,
        last: int | None = None,
    ) -> Iterator[_Step]:
        with ExitStack() as stack:
            streams: list[Generator[_Step]] = [self._sent_steps(query, newest, last)]
            streams += [
                self._file_steps(log, query, None if ends is None else ends.get(log, 0))
                for log in self._logs(query)
            ]
            for stream in streams:
                stack.enter_context(closing(stream))
            yield from heapq.merge(*streams, key=lambda step: step.at_ms, reverse=True)

    def _sent_steps(self, query: LogQuery, newest: int | None, last: int | None) -> Generator[_Step]:
        with closing(self._sent.newest_first(query, newest, last)) as records:  # type: ignore[type-var]
            for record in records:
                yield _Step(record.at_ms, record if query.fits(record, haystack(record)) else None)

    def _file_steps(self, log: Path, query: LogQuery, end: int | None) -> Generator[_Step]:
        wanted = narrowed(query)

        def lines(read: Callable[[int, int], bytes], end: int) -> Iterator[RawLine]:
            return candidates(read, end, wanted, self._hides)

        since = None if query.since is None else query.since - NEAR
        latest = None if query.until is None else query.until + NEAR
        if query.place is not None:
            latest = min(latest or float("inf"), query.place[0] / 1000 + NEAR)
        lowest: int | None = None
        for at, raw in LogHistory(log, end=end, lines=lines).newest_first(since):
            if latest is not None and at > latest:
                continue
            if raw.length < 0:
                # What comes may print an earlier time, never a later one than the line behind it.
                yield _Step(int(at * 1000) if lowest is None else min(lowest, int(at * 1000)), None)
                continue
            record = self._record(log, at, raw, query)
            if record is None:
                continue
            if lowest is not None and record.at_ms > lowest:
                record = replace(record, at_ms=lowest)
            lowest = record.at_ms
            yield _Step(lowest, record)

    def _record(self, log: Path, at: float, raw: RawLine, query: LogQuery) -> LogRecord | None:
        line = self._mask(raw.text)
        if query.text and query.text.casefold() not in line.casefold():
            return None
        if query.pattern is not None and query.pattern.search(line) is None:
            return None
        record = read_line(
            line, at, environment=log.parent.parent.name, service=log.parent.name, instance=log.stem
        )
        return record if query.fits(record, line) else None

    def _hides(self, piece: bytes) -> bool:
        text = piece.decode("utf-8", "replace")
        return self._mask(text) != text

    def _logs(self, query: LogQuery) -> list[Path]:
        found = self._root.glob("*/*/*.log")
        return sorted(
            log for log in found if query.chooses(log.parent.parent.name, log.parent.name, log.stem)
        )

    # --- looking on

    def _follow(
        self, query: LogQuery, stop: Callable[[], bool], tail: int, last: int, ends: dict[Path, int]
    ) -> Iterator[LogRecord | None]:
        followers = {log: LogFollower(log, end, self._clock) for log, end in ends.items()}
        yield from self._tail(query, ends, last, tail)
        query = replace(query, since=None, until=None)
        while not stop():
            logs = self._logs(query)
            came: list[LogRecord] = []
            for log in logs:
                if log not in followers:
                    followers[log] = LogFollower(log, 0, self._clock)
                now = self._clock.now()
                for raw in followers[log].new_lines():
                    record = self._record(log, now, raw, query)
                    if record is not None:
                        came.append(record)
                    if len(came) >= 1000:
                        yield from came
                        came = []
                        if stop():
                            return
            for log in followers.keys() - set(logs):
                del followers[log]
            last, sent = self._sent.after(last)
            came += [record for record in sent if query.fits(record, haystack(record))]
            yield from sorted(came, key=lambda record: record.at_ms)
            if not came:
                yield None
                self._clock.sleep(_POLL)

    def _tail(self, query: LogQuery, ends: dict[Path, int], last: int, tail: int) -> list[LogRecord]:
        found: list[LogRecord] = []
        started = self._clock.monotonic()
        with closing(self._steps(query, None, ends, last)) as steps:  # type: ignore[type-var]
            for step in steps if tail > 0 else ():
                if step.record is not None:
                    found.append(step.record)
                if len(found) >= tail or self._clock.monotonic() - started > query.budget:
                    break
        return found[::-1]


def haystack(record: LogRecord) -> str:
    """What is searched of a record that was sent: its text, then its fields as logfmt."""
    return " ".join(chain([record.text], (f"{name}={value}" for name, value in record.fields.items())))


def record_json(record: LogRecord) -> dict[str, Any]:
    """A record as the API tells it; times in epoch seconds."""
    return {
        "at": record.at_ms / 1000, "environment": record.environment, "service": record.service,
        "instance": record.instance, "release": record.release, "level": record.level, "text": record.text,
        "fields": dict(record.fields), "trace_id": record.trace_id, "span_id": record.span_id,
    }  # fmt: skip


def as_line(record: LogRecord) -> str:
    """A record as one line of JSON."""
    return json.dumps(record_json(record), ensure_ascii=False, separators=(",", ":"))


def _frozen(counts: dict[str, list[int]]) -> dict[str, tuple[int, ...]]:
    return {level: tuple(column) for level, column in counts.items()}
