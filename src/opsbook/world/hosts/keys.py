"""Keys in files that only their user can read."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from pathlib import Path

from opsbook.errors import Failed
from opsbook.world.hosts.files import file_failure, private_folder

_BYTES = 32


def random_key(path: Path) -> bytes:
    """The 32 random bytes of `path`, which are made when it is not there. Its folder becomes private.

    Raises:
        Failed: it cannot be read or written, others can read it, or it holds something else.
    """
    try:
        if not path.exists():
            _make(path)
        mode, key = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise file_failure(error, path) from error
    if stat.S_IMODE(mode) & 0o077:
        raise Failed(
            "others can read this key",
            hint=f"rm {path}: a new one is made, and what was signed with it is void",
            where=str(path),
        )
    if len(key) != _BYTES:
        raise Failed(f"expected {_BYTES} bytes of a key, got {len(key)}", hint=f"rm {path}", where=str(path))
    return key


def _make(path: Path) -> None:
    private_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent)  # 0600 from the start
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)  # whole or not at all, and never over one that another process made first
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()
