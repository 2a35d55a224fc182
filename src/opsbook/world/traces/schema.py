"""The tables of the trace store, and how its file is opened."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS traces (
  trace_id TEXT PRIMARY KEY, name TEXT NOT NULL, service TEXT NOT NULL, environment TEXT NOT NULL,
  start_ns INTEGER NOT NULL, duration_ns INTEGER NOT NULL, spans INTEGER NOT NULL, errors INTEGER NOT NULL,
  services TEXT NOT NULL, environments TEXT NOT NULL, heard_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS traces_start ON traces (start_ns);
CREATE INDEX IF NOT EXISTS traces_duration ON traces (duration_ns);
CREATE INDEX IF NOT EXISTS traces_heard ON traces (heard_ms);
CREATE TABLE IF NOT EXISTS spans (
  trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_id TEXT NOT NULL, service TEXT NOT NULL,
  environment TEXT NOT NULL, instance TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
  start_ns INTEGER NOT NULL, duration_ns INTEGER NOT NULL, status TEXT NOT NULL, message TEXT NOT NULL,
  scope TEXT NOT NULL, attributes TEXT NOT NULL, resource TEXT NOT NULL, happenings TEXT NOT NULL, links TEXT NOT NULL,
  PRIMARY KEY (trace_id, span_id)) WITHOUT ROWID;
"""


def opened(path: Path) -> sqlite3.Connection:
    """A connection to the store's file, which is made if it is not there, for its owner only.

    Raises:
        sqlite3.Error: it cannot be opened, or is no store of this version.
    """
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts before the first table only
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "PRAGMA synchronous = NORMAL"
        )  # a process that dies loses nothing; losing power, seconds
        connection.execute(f"PRAGMA journal_size_limit = {16 * 1024 * 1024}")
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            raise sqlite3.DatabaseError(f"the store is of version {version}")
        connection.executescript(_TABLES)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def bytes_used(connection: sqlite3.Connection) -> int:
    """What is in the file, without what has become free."""
    [pages] = connection.execute("PRAGMA page_count").fetchone()
    [free] = connection.execute("PRAGMA freelist_count").fetchone()
    [size] = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)
