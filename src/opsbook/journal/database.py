"""The connection to SQLite or PostgreSQL: serialised write transactions, and errors a person can act on.

SQLite runs with WAL and ``synchronous=FULL``. NORMAL would survive a killed process, but a power cut could
take the newest commits back; a head that was signed and handed out before would then look like a journal
whose tail was cut.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from opsbook.errors import Failed, Invalid, OpsbookError, Unreachable
from opsbook.journal.schema import SCHEMA

_WRITER_LOCK = (
    0x6F7073626F6F6B  # "opsbook": the advisory lock that serialises writers of one PostgreSQL database
)


class Corrupt(Failed):
    """The database file itself cannot be read any more."""


def database_url(url_or_path: str | Path) -> sa.URL:
    """A file path or a URL (``sqlite:///…``, ``postgresql://…``, ``postgres://…``) as SQLAlchemy wants it.

    Raises:
        Invalid: another kind of database, a URL that does not parse, or SQLite without a file.
    """
    text = str(url_or_path)
    if "://" not in text:
        return sa.URL.create("sqlite", database=str(Path(text).expanduser().absolute()))
    try:
        url = sa.make_url(text)
    except (SQLAlchemyError, ValueError):
        # The text is not repeated: it may hold a password.
        raise Invalid(
            "the database URL does not parse", hint="postgresql://user:password@host:5432/name"
        ) from None
    if url.drivername == "sqlite" and url.database not in (None, "", ":memory:"):
        return url
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    raise Invalid(
        f"a journal cannot be kept in {url.render_as_string(hide_password=True)}",
        hint="give the path of a SQLite file, or postgresql://user:password@host:5432/name",
    )


def prepare_sqlite(path: Path, *, timeout: float) -> None:
    """Make the file, for its owner only, and turn WAL on, which the file remembers."""
    if not path.exists():
        _create(path)
    with closing(sqlite3.connect(path, timeout=timeout, isolation_level=None)) as connection:
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode=WAL")


def _create(path: Path) -> None:
    """An empty file, for its owner only from the first moment; -wal and -shm inherit the mode.

    It is closed before it gets its name. Closing a file that SQLite has open elsewhere in this process would drop
    SQLite's locks on it, and another process could then throw away what was just committed.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent)
    os.close(handle)
    try:
        path.hardlink_to(name)
    except FileExistsError:
        pass  # another process was faster
    finally:
        Path(name).unlink()


class Database:
    """One database, used by any number of threads."""

    def __init__(self, url_or_path: str | Path, *, busy_timeout: float = 10.0) -> None:
        """
        Args:
            busy_timeout: seconds a writer waits for other processes' writers.

        Raises:
            Invalid: see `database_url`.
            Failed: the file cannot be made, or is no database.
        """
        self.url = database_url(url_or_path)
        self.busy_timeout = busy_timeout
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.where = str(self.url.database) if self.sqlite else self.url.render_as_string(hide_password=True)
        with self._errors():
            self._engine = self._sqlite_engine() if self.sqlite else self._postgresql_engine()

    def _sqlite_engine(self) -> sa.Engine:
        prepare_sqlite(Path(self.url.database or ""), timeout=self.busy_timeout)
        engine = sa.create_engine(self.url, max_overflow=-1)

        @sa.event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # SQLAlchemy begins, as `begin` below says
            connection.execute(f"PRAGMA busy_timeout={int(self.busy_timeout * 1000)}")
            connection.execute("PRAGMA synchronous=FULL")

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            # A writer takes the lock at once: upgrading from a read would fail where waiting helps.
            writing = connection.get_execution_options().get("opsbook_write")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

        return engine

    def _postgresql_engine(self) -> sa.Engine:
        return sa.create_engine(
            self.url,
            pool_pre_ping=True,  # a restarted server costs one ping, not one failed append
            max_overflow=15,
            connect_args={"connect_timeout": max(2, int(self.busy_timeout)), "application_name": "opsbook"},
            execution_options={"schema_translate_map": {None: SCHEMA}},
        )

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that is the only writing one, in any process; committed at the end, else undone.

        Raises:
            Failed: another writer held the database for `busy_timeout`; the disk is full; it is read-only ...
            Unreachable: the PostgreSQL server does not answer.
        """
        with self._errors(), self._engine.connect() as connection:
            if self.sqlite:
                connection = connection.execution_options(opsbook_write=True)  # noqa: PLW2901 # the same connection
            with connection.begin():
                if not self.sqlite:
                    limit = f"{int(self.busy_timeout * 1000)}ms"
                    connection.execute(
                        sa.text("SELECT set_config('lock_timeout', :limit, true)"), {"limit": limit}
                    )
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER_LOCK})
                yield connection

    @contextmanager
    def read(self, *, tolerant: bool = False) -> Iterator[sa.Connection]:
        """A connection for reading; sees all that was committed before its first statement.

        Args:
            tolerant: text that is no UTF-8 (a damaged SQLite row) is read all the same, as surrogates.
        """
        with self._errors(), self._engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            if tolerant and self.sqlite:
                raw.text_factory = lambda octets: octets.decode("utf-8", "surrogateescape")
            try:
                yield connection
            finally:
                if tolerant and self.sqlite:
                    raw.text_factory = str

    def close(self) -> None:
        """Close all connections. A connection that a thread is using is closed when it gives it back."""
        self._engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OpsbookError:
            raise
        except PoolTimeout as error:
            raise Failed(
                "all connections to the database are in use", hint="try again", where=self.where
            ) from error
        except DBAPIError as error:
            raise self._explained(error.orig or error) from error
        except (sqlite3.Error, OSError) as error:
            raise self._explained(error) from error

    def _explained(self, error: BaseException) -> OpsbookError:
        text = " ".join(str(error).split())
        if isinstance(error, sqlite3.Error):
            return _explained_sqlite(error, text, self.where, self.busy_timeout)
        if isinstance(error, OSError):
            return Failed(f"the journal's file cannot be used: {text}", where=self.where)
        return _explained_postgresql(error, text, self.where, self.busy_timeout)


def _explained_sqlite(error: sqlite3.Error, text: str, where: str, busy_timeout: float) -> OpsbookError:
    name = str(getattr(error, "sqlite_errorname", ""))
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Failed(
            f"another process has kept the journal locked for {busy_timeout:g} s",
            hint=f"find it with `fuser -v {where}`; try again when it is done",
            where=where,
        )
    if name.startswith("SQLITE_FULL"):
        return Failed(
            "the disk is full; nothing was written",
            hint=f"free space for {where}, then try again",
            where=where,
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return Failed(
            f"the journal cannot be written: {text}",
            hint="the file and its folder must be writable for the user that opsbook runs as",
            where=where,
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return Corrupt(
            f"the journal's file is damaged: {text}",
            hint="restore it from a backup; `sqlite3 FILE .recover` saves what is readable",
            where=where,
        )
    return Failed(f"the journal's database refused: {text}", where=where)


def _explained_postgresql(error: BaseException, text: str, where: str, busy_timeout: float) -> OpsbookError:
    state = str(getattr(error, "sqlstate", "") or "")
    if state == "55P03":  # lock_not_available
        return Failed(
            f"another process has kept the journal locked for {busy_timeout:g} s",
            hint="`SELECT * FROM pg_locks WHERE locktype = 'advisory'` shows it; try again when it is done",
            where=where,
        )
    if state == "53100":  # disk_full
        return Failed(
            "the PostgreSQL server's disk is full; nothing was written", hint="free space there", where=where
        )
    if state == "42501":  # insufficient_privilege
        return Failed(
            f"the journal's role may not do this: {text}",
            hint=f"it needs CREATE on the database, or ownership of the schema {SCHEMA}",
            where=where,
        )
    if not state or state.startswith(("08", "57P", "28", "3D", "53")):
        return Unreachable(
            f"the PostgreSQL server does not answer: {text}",
            hint="check the URL and the server; look whether a change under way was committed",
            where=where,
        )
    return Failed(f"the journal's database refused: {text}", where=where)
