"""The tables, the same on SQLite and PostgreSQL, and the numbered migrations that make them.

A migration, once released, is never edited: a change of the tables is a new one with the next number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from opsbook.errors import Failed

SCHEMA = "opsbook"
"""The PostgreSQL schema of the tables; SQLite has none."""

# Byte order everywhere, so that prefixes are ranges and both databases sort alike.
_Text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

metadata = sa.MetaData()

migrations = sa.Table(
    "migrations",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", _Text, nullable=False),
    sa.Column("applied_at", sa.Double, nullable=False),
)

events = sa.Table(
    "events",
    metadata,
    # INTEGER, because only that makes the key SQLite's own row number; PostgreSQL counts further.
    sa.Column(
        "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False
    ),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", _Text, nullable=False),
    sa.Column("subject", _Text, nullable=False),
    sa.Column("actor", _Text, nullable=False),
    sa.Column("data", _Text, nullable=False),  # canonical JSON: the hash is over exactly this text
    sa.Column("hash", _Text, nullable=False),
    sa.Column("previous", _Text, nullable=False),
    sa.Index("events_kind", "kind", "id"),
    sa.Index("events_subject", "subject", "id"),
    sa.Index("events_at", "at"),
)

state = sa.Table(
    "state",
    metadata,
    sa.Column("key", _Text, primary_key=True),
    sa.Column("value", _Text, nullable=False),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("subject", _Text, primary_key=True),
    sa.Column("holder", _Text, nullable=False),
    sa.Column("reason", _Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),  # the row outlives the lease: the token only grows
    sa.Column("ttl", sa.Double, nullable=False),
    sa.Column("acquired_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("held", sa.Boolean, nullable=False),
)

# The hash chain finds who changes the past; the triggers keep a mistyped statement from doing it.
_APPEND_ONLY: Mapping[str, tuple[str, ...]] = {
    "sqlite": (
        *(
            f"CREATE TRIGGER events_no_{change} BEFORE {change} ON events "
            "BEGIN SELECT RAISE(ABORT, 'events are append-only'); END"
            for change in ("UPDATE", "DELETE")
        ),
    ),
    "postgresql": (
        f"""CREATE FUNCTION {SCHEMA}.refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$""",
        f"""CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {SCHEMA}.events
            FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse()""",
    ),
}


def _first_tables(connection: sa.Connection) -> None:
    for table in (events, state, leases):
        table.create(connection)
    for statement in _APPEND_ONLY[connection.dialect.name]:
        connection.exec_driver_sql(statement)


MIGRATIONS: tuple[tuple[int, str, Callable[[sa.Connection], None]], ...] = (
    (1, "events, state and leases", _first_tables),
)


def migrate(connection: sa.Connection, *, now: float, where: str) -> int:
    """Bring the tables to the newest version; does nothing when they are there already.

    Args:
        connection: inside a write transaction, which keeps other processes from migrating too.
        now: epoch seconds, recorded.
        where: the database, for the error.

    Returns:
        How many migrations were applied.

    Raises:
        Failed: a newer opsbook has been here.
    """
    # Asked first: CREATE SCHEMA wants the right to create even when there is nothing to do.
    if connection.dialect.name == "postgresql" and not sa.inspect(connection).has_schema(SCHEMA):
        connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
    migrations.create(connection, checkfirst=True)
    applied = set(connection.scalars(sa.select(migrations.c.version)))
    newest = MIGRATIONS[-1][0]
    if any(version > newest for version in applied):
        raise Failed(
            f"the journal was written by a newer opsbook (tables {max(applied)}, this one knows {newest})",
            hint="upgrade opsbook, or restore the journal from before the upgrade",
            where=where,
        )
    pending = [migration for migration in MIGRATIONS if migration[0] not in applied]
    for version, name, apply in pending:
        apply(connection)
        connection.execute(sa.insert(migrations).values(version=version, name=name, applied_at=now))
    return len(pending)
