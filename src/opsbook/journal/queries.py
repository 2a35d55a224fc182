"""Reading events back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from opsbook.journal.database import Database
from opsbook.journal.model import Event
from opsbook.journal.schema import events
from opsbook.journal.state import END

FEW = 5000  # events of a stretch of time that are worth being found first
_BATCH = 1000  # events in memory at a time, at most


def select(
    *,
    after: int,
    before: int | None,
    kinds: Sequence[str],
    subject: str | None,
    subject_prefix: str | None,
    since: float | None,
    until: float | None,
    limit: int,
    newest: bool,
) -> sa.Select[Any]:
    """The query for `Journal.events`, whose arguments these are."""
    query = sa.select(events).where(events.c.id > after).limit(limit)
    if before is not None:
        query = query.where(events.c.id < before)
    if kinds:
        query = query.where(sa.or_(*(_of_kind(kind) for kind in kinds)))
    if subject is not None:
        query = query.where(events.c.subject == subject)
    if subject_prefix:
        query = query.where(events.c.subject >= subject_prefix, events.c.subject < subject_prefix + END)
    if since is not None:
        query = query.where(events.c.at >= since)
    if until is not None:
        query = query.where(events.c.at < until)
    return query.order_by(events.c.id.desc() if newest else events.c.id)


def stretch(since: float | None, until: float | None) -> sa.Select[Any, Any, Any]:
    """How many events there are of a stretch of time, counted up to `FEW` and one; the first id and the last.

    Without knowing them a database walks through all events by their ids, to find the few of a time long ago.
    """
    found = sa.select(events.c.id).order_by(events.c.at).limit(FEW + 1)
    if since is not None:
        found = found.where(events.c.at >= since)
    if until is not None:
        found = found.where(events.c.at < until)
    few = found.subquery()
    return sa.select(sa.func.count(), sa.func.min(few.c.id), sa.func.max(few.c.id)).select_from(few)


def _of_kind(kind: str) -> sa.ColumnElement[bool]:
    if not kind.endswith(".*"):
        return events.c.kind == kind
    prefix = kind[:-1]
    return sa.and_(events.c.kind >= prefix, events.c.kind < prefix + END)


def event_of(row: Mapping[str, Any]) -> Event:
    """A row as the event that was appended."""
    return Event(**{**row, "data": json.loads(row["data"])})


def rows(
    database: Database, *, until: int | None = None, tolerant: bool = False
) -> Iterator[Mapping[str, Any]]:
    """Every row by id, up to and with `until`, a batch at a time, each batch in a connection of its own.

    Between batches nothing is held open, so that a long walk does not keep SQLite from trimming its log.
    """
    last: int | None = None
    while True:
        query = sa.select(events).order_by(events.c.id).limit(_BATCH)
        if last is not None:
            query = query.where(events.c.id > last)
        if until is not None:
            query = query.where(events.c.id <= until)
        with database.read(tolerant=tolerant) as connection:
            batch = connection.execute(query).mappings().all()
        yield from (dict(row) for row in batch)
        if len(batch) < _BATCH:
            return
        last = batch[-1]["id"]
