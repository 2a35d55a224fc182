"""Spans in a SQLite file of their own: written in batches, the oldest traces let go by age and by size."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from opsbook.errors import Failed, NotFound
from opsbook.world.traces.schema import bytes_used, opened
from opsbook.world.traces.searching import search
from opsbook.world.traces.words import Happening, Span, TraceQuery, TraceSummary
from opsbook.world.words import Clock

T = TypeVar("T")

MAX_BYTES = 1024**3
MAX_AGE = 7 * 24 * 3600.0
MOST_SPANS = 10_000  # of one trace
SWEEP_SECONDS = 30.0
KEEP_SECONDS = 300.0
_AT_ONCE = 500  # traces that are let go in one transaction
_COLUMNS = (
    "trace_id, span_id, parent_id, service, environment, instance, name, kind, start_ns, duration_ns, status, message, "
    "scope, attributes, resource, happenings, links"
)
_INSERT = f"INSERT OR IGNORE INTO spans ({_COLUMNS}) VALUES ({', '.join('?' * 17)})"  # noqa: S608 - our own words
_OF_TRACE = f"SELECT {_COLUMNS} FROM spans WHERE trace_id = ? ORDER BY start_ns, span_id"  # noqa: S608 - our own words


class TraceStore:
    """Keeps spans and finds traces. Thread-safe; one process writes.

    A file that is damaged is put aside under another name, and a new one is begun.

    Args:
        path: the file; its folder exists.
        max_bytes: what is kept at most. max_age: for how long, seconds since a trace was last heard of.
        mask: takes secrets out of a text.
        log: a sentence for people.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        max_bytes: int = MAX_BYTES,
        max_age: float = MAX_AGE,
        mask: Callable[[str], str] = lambda text: text,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._mask = mask
        self._log = log
        self._guard = threading.Lock()
        self._swept = clock.monotonic()
        try:
            self._connection = opened(path)
        except sqlite3.DatabaseError as error:
            aside = path.with_name(f"{path.name}.damaged-{int(clock.now())}")
            log(
                f"traces: {path} cannot be read ({error}); it is kept as {aside.name}, and a new one is begun"
            )
            _put_aside(path, aside)
            self._connection = opened(path)

    def write(self, spans: Sequence[Span]) -> int:
        """Keep them, in one transaction; returns how many were. One that is there already counts as kept.

        Of one trace `MOST_SPANS` are kept; what comes beyond is not.

        Raises:
            Failed: nothing was kept, because the disk is full or the file damaged; sending it again is right.
        """
        by_trace: dict[str, list[Span]] = {}
        for span in spans:
            by_trace.setdefault(span.trace_id, []).append(span)
        rows = {trace_id: [self._row(span) for span in group] for trace_id, group in by_trace.items()}
        with self._guard:
            try:
                kept = self._written(rows)
                if self._clock.monotonic() - self._swept > SWEEP_SECONDS:
                    self._sweep()
            except sqlite3.Error as error:
                raise self._failed("spans cannot be kept", error) from error
        return kept

    def _written(self, rows: Mapping[str, Sequence[tuple[Any, ...]]]) -> int:
        connection, kept, now_ms = self._connection, 0, int(self._clock.now() * 1000)
        with _transaction(connection):
            for trace_id, group in rows.items():
                known = connection.execute(
                    "SELECT spans FROM traces WHERE trace_id = ?", (trace_id,)
                ).fetchone()
                room = MOST_SPANS - (known[0] if known else 0)
                taken = group[: max(0, room)]
                connection.executemany(_INSERT, taken)
                kept += len(taken)
                connection.execute(_SUMMARY, {"trace": trace_id, "now": now_ms})
        return kept

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """The traces that fit, newest first (or slowest).

        Raises:
            Invalid: it takes too long; a narrower search does not. Failed: the file cannot be read.
        """
        return self._reading(lambda connection: search(connection, query))

    def trace(self, trace_id: str, visible: frozenset[str] | None = None) -> tuple[Span, ...]:
        """All spans of one trace, in the order of their beginnings.

        Raises:
            NotFound: there is none (any more), or it may not be looked at.
        """
        rows = self._reading(
            lambda connection: connection.execute(
                _OF_TRACE,
                (trace_id.lower(),),
            ).fetchall()
        )
        found = tuple(_span(row) for row in rows)
        if not found or (visible is not None and any(span.environment not in visible for span in found)):
            raise NotFound(
                f"there is no trace {trace_id[:64]}", hint="opsbook traces lists them; old ones are let go"
            )
        return found

    def services(self, visible: frozenset[str] | None = None) -> tuple[str, ...]:
        """The services that have sent traces, by name."""
        rows = self._reading(
            lambda connection: connection.execute(
                "SELECT DISTINCT services, environments FROM traces ORDER BY start_ns DESC LIMIT 5000"
            ).fetchall()
        )
        return tuple(sorted({
            service
            for services, environments in rows
            if visible is None or set(json.loads(environments)) <= visible
            for service in json.loads(services)
            if service
        }))  # fmt: skip

    def sweep(self) -> int:
        """Let go of what is too old, and of the oldest when there is too much; returns how many traces went.

        Raises:
            Failed: the file cannot be written.
        """
        with self._guard:
            try:
                return self._sweep()
            except sqlite3.Error as error:
                raise self._failed("old traces cannot be let go", error) from error

    def keep(self, stopping: threading.Event) -> None:
        """Let go of old traces until the end, also while nobody sends any."""
        said = ""
        while not stopping.wait(KEEP_SECONDS):
            try:
                self.sweep()
                said = ""
            except Failed as error:
                if str(error) != said:
                    said = str(error)
                    self._log(f"traces: {said}")

    def close(self) -> None:
        with self._guard:
            self._connection.close()

    def _sweep(self) -> int:
        self._swept = self._clock.monotonic()
        connection, gone = self._connection, 0
        oldest = int((self._clock.now() - self._max_age) * 1000)
        while gone < _AT_ONCE * 20:  # whoever sends waits for it; the rest goes the next time
            found = connection.execute(
                "SELECT trace_id FROM traces WHERE heard_ms < ? ORDER BY heard_ms LIMIT ?", (oldest, _AT_ONCE)
            ).fetchall()
            if not found and bytes_used(connection) > self._max_bytes:
                found = connection.execute(
                    "SELECT trace_id FROM traces ORDER BY heard_ms LIMIT ?", (_AT_ONCE // 10,)
                ).fetchall()
            if not found:
                break
            with _transaction(connection):
                connection.executemany("DELETE FROM spans WHERE trace_id = ?", found)
                connection.executemany("DELETE FROM traces WHERE trace_id = ?", found)
            gone += len(found)
        if gone:
            connection.execute("PRAGMA incremental_vacuum(2000)").fetchall()
        return gone

    def _reading(self, read: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with closing(
                sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=5)
            ) as connection:
                return read(connection)
        except sqlite3.Error as error:
            raise self._failed("traces cannot be read", error) from error

    def _failed(self, what: str, error: sqlite3.Error) -> Failed:
        return Failed(f"{what}: {error}", where=str(self._path), hint="is the disk full? opsbook doctor")

    def _row(self, span: Span) -> tuple[Any, ...]:
        mask = self._mask
        happenings = [[one.at_ns, mask(one.name), self._masked(one.attributes)] for one in span.happenings]
        return (
            span.trace_id, span.span_id, span.parent_id, span.service, span.environment, span.instance,
            mask(span.name), span.kind, span.start_ns, span.duration_ns, span.status, mask(span.message),
            span.scope, _json(self._masked(span.attributes)), _json(self._masked(span.resource)), _json(happenings),
            _json(span.links),
        )  # fmt: skip

    def _masked(self, attributes: Mapping[str, str]) -> dict[str, str]:
        return {name: self._mask(value) for name, value in attributes.items()}


_SUMMARY = """
INSERT OR REPLACE INTO traces
SELECT :trace, root.name, root.service, root.environment, of.began, of.ended - of.began, of.spans, of.errors,
  of.services, of.environments, :now
FROM (SELECT min(start_ns) AS began, max(start_ns + duration_ns) AS ended, count(*) AS spans,
        sum(status = 'error') AS errors, json_group_array(DISTINCT service) AS services,
        json_group_array(DISTINCT environment) AS environments FROM spans WHERE trace_id = :trace) AS of,
     (SELECT name, service, environment FROM spans WHERE trace_id = :trace
      ORDER BY parent_id <> '', start_ns, span_id LIMIT 1) AS root
"""


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing; never left open, for nobody could write any more."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _span(row: Iterable[Any]) -> Span:
    (
        trace_id, span_id, parent_id, service, environment, instance, name, kind, start_ns, duration_ns, status,
        message, scope, attributes, resource, happenings, links,
    ) = row  # fmt: skip
    return Span(
        trace_id=trace_id, span_id=span_id, parent_id=parent_id, service=service, environment=environment,
        instance=instance, name=name, kind=kind, start_ns=start_ns, duration_ns=duration_ns, status=status,
        message=message, scope=scope, attributes=json.loads(attributes), resource=json.loads(resource),
        happenings=tuple(Happening(*one) for one in json.loads(happenings)),
        links=tuple((trace, span) for trace, span in json.loads(links)),
    )  # fmt: skip


def _put_aside(path: Path, aside: Path) -> None:
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
