"""The server's own log, ``STATE/opsbook.log``: what went wrong inside, for the owner's eyes only."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

LARGEST = 10 * 1024 * 1024  # bytes; then the file is put aside once as opsbook.log.1


def log_path(state: Path) -> Path:
    return state / "opsbook.log"


def open_log(state: Path) -> int:
    """A file descriptor that appends to the log, mode 0600; an overlong log is put aside first."""
    path = log_path(state)
    if path.exists() and path.stat().st_size > LARGEST:
        path.replace(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


@contextlib.contextmanager
def written(state: Path) -> Iterator[None]:
    """While open, opsbook's own notes and the libraries' warnings go to the log."""
    handler = logging.StreamHandler(os.fdopen(open_log(state), "a", encoding="utf-8", buffering=1))
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("opsbook").setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.stream.close()
        handler.close()


def tail(state: Path, lines: int = 15) -> list[str]:
    """The last lines of the log; empty when there is none."""
    try:
        with log_path(state).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 64 * 1024))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except OSError:
        return []
