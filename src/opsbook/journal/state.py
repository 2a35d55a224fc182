"""Current state: JSON documents by key, written in the same transaction as the events that explain them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from opsbook.journal.canonical import canonical, label, normal
from opsbook.journal.database import Database
from opsbook.journal.leases import check
from opsbook.journal.model import Lease
from opsbook.journal.schema import state
from opsbook.journal.writer import Writer

END = "\U0010ffff"
"""Sorts after every other character: ``prefix <= key < prefix + END`` is "begins with"."""

_ASKED_AT_A_TIME = 500
_DELETE = sa.delete(state).where(state.c.key == sa.bindparam("gone"))


class State:
    """JSON documents by key (``deployments/production/web``). A read sees all writes that returned before."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    def get(self, key: str) -> Any | None:
        """The document, or None when there is none."""
        with self._database.read() as connection:
            found = connection.scalar(sa.select(state.c.value).where(state.c.key == key))
        return None if found is None else json.loads(found)

    def put(self, key: str, value: Any, lease: Lease | None = None) -> None:
        """Write the document; None deletes it.

        Raises:
            Conflict: `lease` has been superseded.
            Invalid: `value` is not JSON.
        """
        with self._writer.transaction() as transaction:
            if lease is not None:
                check(transaction.connection, lease)
            apply(transaction.connection, {key: value})

    def delete(self, key: str, lease: Lease | None = None) -> None:
        """Delete the document, if it is there.

        Raises:
            Conflict: `lease` has been superseded.
        """
        self.put(key, None, lease)

    def items(
        self,
        prefix: str = "",
        *,
        after: str = "",
        before: str = "",
        limit: int | None = None,
        newest: bool = False,
    ) -> dict[str, Any]:
        """The documents whose key begins with `prefix`, by key in byte order.

        Args:
            after, before: keys, both exclusive; empty: no such bound.
            limit: at most so many; the others are not read.
            newest: the last ones, the last first, instead of the first ones: keys that end in a number of
                fixed width sort as they came.
        """
        query = _within(sa.select(state.c.key, state.c.value), prefix, after, before, limit, newest)
        with self._database.read() as connection:
            return {row.key: json.loads(row.value) for row in connection.execute(query)}

    def keys(
        self,
        prefix: str = "",
        *,
        after: str = "",
        before: str = "",
        limit: int | None = None,
        newest: bool = False,
    ) -> list[str]:
        """The keys of `items`, without reading the documents."""
        query = _within(sa.select(state.c.key), prefix, after, before, limit, newest)
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def several(self, keys: Sequence[str]) -> dict[str, Any]:
        """The documents of these keys, in their order; those that are not there are left out."""
        found: dict[str, str] = {}
        with self._database.read() as connection:
            for first in range(0, len(keys), _ASKED_AT_A_TIME):
                asked = state.c.key.in_(keys[first : first + _ASKED_AT_A_TIME])
                rows = connection.execute(sa.select(state.c.key, state.c.value).where(asked))
                found |= {row.key: row.value for row in rows}
        return {key: json.loads(found[key]) for key in keys if key in found}


def _within(
    query: sa.Select[Any], prefix: str, after: str, before: str, limit: int | None, newest: bool
) -> sa.Select[Any]:
    """With the conditions of `State.items`, each of them a range of the table's own index."""
    if prefix:
        query = query.where(state.c.key >= prefix, state.c.key < prefix + END)
    if after:
        query = query.where(state.c.key > after)
    if before:
        query = query.where(state.c.key < before)
    query = query.order_by(state.c.key.desc() if newest else state.c.key)
    return query if limit is None else query.limit(limit)


def apply(connection: sa.Connection, documents: Mapping[str, Any | None]) -> None:
    """Put the documents, and delete those that are None, within the caller's transaction.

    Thousands at once are two statements, not thousands: a storm of alerts is written in the time of a few.

    Raises:
        Invalid: one is not JSON, or a key is no name.
    """
    gone, put = [], []
    for key, value in documents.items():
        name = label(key, where="state key")
        if value is None:
            gone.append({"gone": name})
        else:
            put.append({"key": name, "value": canonical(normal(value, where=name))})
    if gone:
        connection.execute(_DELETE, gone)
    if put:
        insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        new = insert(state)
        connection.execute(
            new.on_conflict_do_update(index_elements=[state.c.key], set_={"value": new.excluded.value}), put
        )
