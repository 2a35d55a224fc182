"""Records that programs send, in a SQLite file of their own: the oldest are let go by age and by size."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from opsbook.errors import Failed
from opsbook.world.logs.query import LEVELS, LogQuery
from opsbook.world.logs.words import LogRecord
from opsbook.world.words import Clock

MAX_BYTES = 1024**3
MAX_AGE = 14 * 24 * 3600.0
SWEEP_SECONDS = 30.0
LONGEST = 64 * 1024  # characters of a text that are kept
_AT_ONCE = 5000  # records that are let go in one transaction
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, environment TEXT NOT NULL, service TEXT NOT NULL,
  instance TEXT NOT NULL, release TEXT NOT NULL, level TEXT NOT NULL, text TEXT NOT NULL, fields TEXT NOT NULL,
  trace_id TEXT NOT NULL, span_id TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_time ON records (at_ms, id);
CREATE INDEX IF NOT EXISTS by_trace ON records (trace_id, at_ms) WHERE trace_id <> '';
"""
_COLUMNS = "at_ms, service, environment, instance, release, level, text, fields, trace_id, span_id"
_INSERT = f"INSERT INTO records ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)"  # noqa: S608 - our own words


class SentLogs:
    """Keeps records, and finds them by time. Thread-safe; one process writes.

    A file that is damaged is put aside under another name, and a new one is begun.

    Args:
        path: the file; its folder exists.
        max_bytes: what is kept at most. max_age: for how long, seconds.
        mask: takes secrets out of a text, before it is kept.
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
        self._guard = threading.Lock()
        self._swept = clock.monotonic()
        try:
            self._connection = _opened(path)
        except sqlite3.DatabaseError as error:
            aside = path.with_name(f"{path.name}.damaged-{int(clock.now())}")
            log(f"logs: {path} cannot be read ({error}); it is kept as {aside.name}, and a new one is begun")
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            path.replace(aside)
            self._connection = _opened(path)

    def write(self, records: Sequence[LogRecord]) -> int:
        """Keep them, in one transaction, in any order of time; returns how many were.

        Raises:
            Failed: none was kept, because the disk is full or the file damaged; sending them again is right.
        """
        rows = [self._row(record) for record in records]
        with self._guard:
            try:
                with self._connection:
                    self._connection.executemany(_INSERT, rows)
                if self._clock.monotonic() - self._swept > SWEEP_SECONDS:
                    self.sweep()
            except sqlite3.Error as error:
                raise Failed(
                    f"log records cannot be kept: {error}", hint="is the disk full?", where=str(self._path)
                ) from error
        return len(rows)

    def newest_first(
        self, query: LogQuery, until_ms: int | None, last: int | None = None
    ) -> Iterator[LogRecord]:
        """Those that can fit; the caller looks at the rest of the question.

        Args:
            until_ms: none that is newer. last: none that came behind the one of this number.

        Raises:
            Failed: the file cannot be read.
        """
        where, values = _where(query)
        if until_ms is not None:
            where, values = [*where, "at_ms <= ?"], [*values, until_ms]
        if last is not None:
            where, values = [*where, "id <= ?"], [*values, last]
        chosen = f"WHERE {' AND '.join(where)}" if where else ""
        statement = f"SELECT {_COLUMNS} FROM records {chosen} ORDER BY at_ms DESC, id DESC"  # noqa: S608
        yield from self._rows(statement, values)

    def after(self, number: int, most: int = 1000) -> tuple[int, list[LogRecord]]:
        """The records that came behind `number`, in the order in which they came, and the number of the last."""
        statement = f"SELECT {_COLUMNS}, id FROM records WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
        try:
            with closing(_reader(self._path)) as connection:
                rows = connection.execute(statement, (number, most)).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return (rows[-1][-1] if rows else number), [_record(row[:-1]) for row in rows]

    def last(self) -> int:
        """The number of the record that came last; 0: none."""
        try:
            with closing(_reader(self._path)) as connection:
                return int(connection.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()[0])
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def origins(self) -> set[tuple[str, str]]:
        """Environments and services of the newest 20,000 records."""
        newest = "SELECT environment, service FROM records ORDER BY id DESC LIMIT 20000"
        statement = f"SELECT DISTINCT environment, service FROM ({newest})"  # noqa: S608
        try:
            with closing(_reader(self._path)) as connection:
                return {(str(row[0]), str(row[1])) for row in connection.execute(statement)}
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def sweep(self) -> None:
        """Let go of what is too old, and of the oldest while there is too much."""
        connection, self._swept = self._connection, self._clock.monotonic()
        oldest = int((self._clock.now() - self._max_age) * 1000)
        by_age = (
            "DELETE FROM records WHERE id IN (SELECT id FROM records WHERE at_ms < ? ORDER BY at_ms LIMIT ?)"
        )
        by_size = "DELETE FROM records WHERE id IN (SELECT id FROM records ORDER BY at_ms LIMIT ?)"
        while _changed(connection, by_age, (oldest, _AT_ONCE)) == _AT_ONCE:
            pass
        while _bytes_used(connection) > self._max_bytes and _changed(connection, by_size, (_AT_ONCE,)):
            pass
        connection.execute("PRAGMA incremental_vacuum(4000)").fetchall()

    def close(self) -> None:
        """Close the file."""
        with self._guard, suppress(sqlite3.Error):
            self._connection.close()

    def _row(self, record: LogRecord) -> tuple[object, ...]:
        fields = {name: self._mask(value) for name, value in record.fields.items()}
        return (
            record.at_ms, record.service, record.environment, record.instance, record.release, record.level,
            self._mask(record.text[:LONGEST]), json.dumps(fields, ensure_ascii=False) if fields else "",
            record.trace_id.lower(), record.span_id.lower(),
        )  # fmt: skip

    def _rows(self, statement: str, values: Sequence[object]) -> Iterator[LogRecord]:
        try:
            with closing(_reader(self._path)) as connection:
                for row in connection.execute(statement, values):
                    yield _record(row)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: sqlite3.Error) -> Failed:
        return Failed(f"log records cannot be read: {error}", where=str(self._path))


def _where(query: LogQuery) -> tuple[list[str], list[object]]:
    found: list[str] = []
    values: list[object] = []
    for column, chosen in (
        ("environment", query.environments), ("service", query.services), ("instance", query.instances),
        ("environment", query.visible),
        ("level", frozenset(LEVELS[LEVELS.index(query.level) :]) if query.level else frozenset()),
    ):  # fmt: skip
        if chosen or (chosen is not None and chosen is query.visible):
            found.append(f"{column} IN ({', '.join('?' * len(chosen))})")
            values += sorted(chosen)
    if query.trace_id:
        found.append("trace_id <> '' AND trace_id = ?")
        values.append(query.trace_id.lower())
    if query.since is not None:
        found.append("at_ms >= ?")
        values.append(int(query.since * 1000))
    if query.until is not None:
        found.append("at_ms <= ?")
        values.append(int(query.until * 1000))
    return found, values


def _record(row: Sequence[object]) -> LogRecord:
    at_ms, service, environment, instance, release, level, text, fields, trace_id, span_id = row
    said = json.loads(str(fields)) if fields else {}
    return LogRecord(
        int(str(at_ms)), str(service), str(environment), str(instance), str(release), str(level), str(text),
        said, str(trace_id), str(span_id),
    )  # fmt: skip


def _opened(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, check_same_thread=False, timeout=10.0)
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0, check_same_thread=False
    )


def _changed(connection: sqlite3.Connection, statement: str, values: Sequence[object]) -> int:
    with connection:
        return connection.execute(statement, values).rowcount


def _bytes_used(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
