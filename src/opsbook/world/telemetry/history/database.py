"""DuckDB as the tool that reads, sorts and writes the history's files. It keeps nothing itself.

One thread and a bound on memory; what does not fit is sorted on disk. It never asks the network for anything.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from opsbook.errors import Failed
from opsbook.world.telemetry.history.segments import UNFINISHED, settle

Columns: TypeAlias = Mapping[str, npt.NDArray[Any]]

_ROWS_OF_A_GROUP = 61_440  # what is read at least of a file; sorted by series, it holds few of them


class Database:
    """Queries over files. Thread-safe: each query has a cursor of its own.

    Args:
        spill: a folder for what does not fit into memory; emptied.
        memory: bytes.
    """

    def __init__(self, spill: Path, *, memory: int = 160 * 1024 * 1024) -> None:
        import duckdb

        self._error = duckdb.Error
        shutil.rmtree(spill, ignore_errors=True)
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "threads": "1",
                "memory_limit": f"{memory // 1024}KiB",
                "temp_directory": str(spill),
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            },
        )

    def close(self) -> None:
        """End it."""
        self._connection.close()

    def read(self, query: str, parameters: Sequence[object] = (), **tables: Columns) -> Columns:
        """The answer as columns; where something is NULL the column is a masked array.

        Args:
            query: SQL; values come as parameters.
            parameters: for the ``?`` in it; a list of paths for ``read_parquet(?)``.
            tables: columns that the query may read under these names.

        Raises:
            Failed: it cannot be answered, such as when a file is damaged.
        """
        try:
            with self._connection.cursor() as cursor:
                for name, columns in tables.items():
                    cursor.register(name, dict(columns))
                found: Columns = cursor.execute(*_with_paths(query, parameters)).fetchnumpy()
                return found
        except self._error as error:
            raise Failed(f"the history cannot be read: {_first_line(error)}") from error

    def write(
        self, query: str, path: Path, parameters: Sequence[object] = (), *, final: bool, **tables: Columns
    ) -> None:
        """Write the answer to a file, which appears under its name only when it is complete.

        Args:
            query: as for `read`.
            path: of the file.
            parameters: as for `read`.
            final: pack it well; else quickly, because it will be rewritten soon.
            tables: as for `read`.

        Raises:
            Failed: it cannot be written, such as when the disk is full; nothing is left of it.
        """
        unfinished = path.with_name(path.name + UNFINISHED)
        packing = "zstd" if final else "snappy"
        place = str(unfinished).replace("'", "''")
        statement = (
            f"COPY ({query}) TO '{place}' (FORMAT parquet, COMPRESSION {packing}, PARQUET_VERSION v2,"
            f" ROW_GROUP_SIZE {_ROWS_OF_A_GROUP})"
        )
        try:
            with self._connection.cursor() as cursor:
                for name, columns in tables.items():
                    cursor.register(name, dict(columns))
                cursor.execute(*_with_paths(statement, parameters))
            settle(unfinished, path)
        except (self._error, OSError) as error:
            with suppress(OSError):
                unfinished.unlink()
            raise Failed(
                f"the history cannot be written: {_first_line(error)}", where=str(path.parent)
            ) from error


def plain(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A column without its mask, when nothing in it is NULL."""
    return np.ma.getdata(column)


def _with_paths(query: str, parameters: Sequence[object]) -> tuple[str, list[object]]:
    """Lists of paths as one text: of each string in a list DuckDB asks at length what it is."""
    found = ["\n".join(each) if isinstance(each, list) else each for each in parameters]
    for function in ("read_parquet", "parquet_file_metadata"):
        query = query.replace(f"{function}(?)", f"{function}(string_split(?, chr(10)))")
    return query, found


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
