"""Finding traces: one query, newest or slowest first, that ends in time."""

from __future__ import annotations

import json
import sqlite3
import time
from typing import Any

from opsbook.errors import Invalid
from opsbook.world.traces.words import TraceQuery, TraceSummary

LONGEST = 5.0  # seconds
_LOOK_EVERY = 20_000  # steps of SQLite's machine between two looks at the clock
_SHOWN = "trace_id, name, service, environment, start_ns, duration_ns, spans, errors, services"


def search(connection: sqlite3.Connection, query: TraceQuery) -> tuple[TraceSummary, ...]:
    """The traces that fit.

    Raises:
        Invalid: it takes longer than `LONGEST`. sqlite3.Error: the file cannot be read.
    """
    sql, given = _statement(query)
    deadline = time.monotonic() + LONGEST
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _LOOK_EVERY)
    try:
        rows = connection.execute(sql, given).fetchall()
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        raise Invalid(
            f"this search takes longer than {LONGEST:g} s",
            hint="look at less time: since=1h, or at one service",
        ) from None
    finally:
        connection.set_progress_handler(None, 0)
    return tuple(_summary(row) for row in rows)


def _statement(query: TraceQuery) -> tuple[str, list[Any]]:
    wanted: list[str] = []
    given: list[Any] = []
    for condition, value in (
        ("t.start_ns >= ?", _ns(query.since)),
        ("t.start_ns <= ?", _ns(query.until)),
        ("t.duration_ns >= ?", _ns(query.shortest)),
        ("t.duration_ns <= ?", _ns(query.longest)),
    ):
        if value is not None:
            wanted.append(condition)
            given.append(value)
    if query.visible is not None:
        wanted.append("NOT EXISTS (SELECT 1 FROM json_each(t.environments) AS e WHERE e.value NOT IN "
                      "(SELECT value FROM json_each(?)))")  # fmt: skip
        given.append(json.dumps(sorted(query.visible)))
    if query.error:
        wanted.append("t.errors > 0")
    if query.service:  # cheap, before any span is looked at
        wanted.append("EXISTS (SELECT 1 FROM json_each(t.services) AS s WHERE s.value = ?)")
        given.append(query.service)
    spans, of_spans = _of_spans(query)
    if spans:
        wanted.append(
            f"EXISTS (SELECT 1 FROM spans AS s WHERE s.trace_id = t.trace_id AND {' AND '.join(spans)})"  # noqa: S608 - likewise
        )
        given += of_spans
    where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
    order = "t.duration_ns DESC" if query.slowest else "t.start_ns DESC"
    sql = f"SELECT {_SHOWN} FROM traces AS t{where} ORDER BY {order} LIMIT ?"  # noqa: S608 - values are given apart
    return sql, [*given, query.limit]


def _of_spans(query: TraceQuery) -> tuple[list[str], list[Any]]:
    wanted: list[str] = []
    given: list[Any] = []
    for condition, value in (
        ("s.service = ?", query.service),
        ("s.environment = ?", query.environment),
        ("instr(lower(s.name), lower(?)) > 0", query.name),
    ):
        if value:
            wanted.append(condition)
            given.append(value)
    if query.error:
        wanted.append("s.status = 'error'")
    for name, value in query.attributes.items():
        # Exact: in JSON a quotation mark within a text is written with a backslash before it.
        text = json.dumps({name: value}, ensure_ascii=False, separators=(",", ":"))[1:-1]
        wanted.append("(instr(s.attributes, ?) > 0 OR instr(s.resource, ?) > 0)")
        given += [text, text]
    return wanted, given


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else max(0, min(int(seconds * 1e9), 2**63 - 1))


def _summary(row: Any) -> TraceSummary:
    trace_id, name, service, environment, start_ns, duration_ns, spans, errors, services = row
    return TraceSummary(
        trace_id=trace_id, name=name, service=service, environment=environment, start_ns=start_ns,
        duration_ns=duration_ns, spans=spans, errors=errors, services=tuple(sorted(filter(None, json.loads(services)))),
    )  # fmt: skip
