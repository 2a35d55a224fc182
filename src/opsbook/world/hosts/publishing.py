"""Files for others to serve: a folder that a web server reads while it is being written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from opsbook.errors import Conflict
from opsbook.world.hosts.files import atomic_write, file_failure

_LOOKED_AT = 4096  # bytes in which the mark is looked for


def publish(folder: Path, files: Mapping[str, str], mark: str) -> None:
    """Write `files` (name: text) into `folder`, each as a whole and readable by everybody; the folder is made.

    Args:
        mark: stands in the beginning of every HTML file of ours. One without it is somebody else's.

    Raises:
        Conflict: a file of that name is there and is not ours. Failed: it cannot be written.
    """
    for name in files:
        target = folder / name
        if name.endswith(".html") and target.is_file() and mark.encode() not in _begin(target):
            message = f"there is another {name} in that folder, which opsbook did not write"
            raise Conflict(message, hint="give the status page a folder of its own", where=str(target))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise file_failure(error, folder) from error
    for name, text in files.items():
        atomic_write(folder / name, text, sync=False)


def _begin(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LOOKED_AT)
    except OSError as error:
        raise file_failure(error, path) from error
