"""The proxy's private files: replaced as a whole, locked against a second opsbook."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from opsbook.errors import Failed, Locked
from opsbook.world.hosts.files import atomic_write

LOCK_POLL_SECONDS = 0.02
MAX_SOCKET_PATH = 100  # the kernel's limit is 108 bytes with the closing zero


def write(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step, mode 0600, durable when this returns.

    Raises:
        Failed: the disk is full, or the folder is not ours.
    """
    make_private(path.parent)
    atomic_write(path, text, mode=0o600)


def make_private(folder: Path) -> None:
    """Make `folder`, and what is missing above it, for its owner only."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def write_if_changed(path: Path, text: str) -> bool:
    """`write`, unless `path` says so already. Returns whether it wrote."""
    if read(path) == text:
        return False
    write(path, text)
    return True


def read(path: Path) -> str:
    """The text of `path`; empty when there is none, or it is not text because the machine died."""
    try:
        return path.read_text("utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


@contextmanager
def locked(
    path: Path, *, timeout: float, monotonic: Callable[[], float], sleep: Callable[[float], None]
) -> Iterator[None]:
    """Hold the lock file `path` against other processes; the kernel releases it when its holder dies.

    Raises:
        Locked: another process held it for `timeout` seconds.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = monotonic() + timeout
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if monotonic() > deadline:
                    raise Locked(
                        f"another opsbook has been changing the proxy for {timeout:.0f} s",
                        hint="only one opsbook may work in a state folder; end the other",
                        where=str(path),
                    ) from None
                sleep(LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(file)


def socket_path(state: Path, token: str) -> Path:
    """Where the admin socket of the proxy in `state` lies: there, or in a short private folder if too long.

    Raises:
        Failed: the short folder exists and is not ours alone.
    """
    path = state / "admin.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime) if 0 < len(runtime) < 40 and Path(runtime).is_dir() else Path(tempfile.gettempdir())
    folder = base / f"opsbook-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise Failed(
            f"cannot make a folder for the proxy's socket: {error.strerror}", where=str(folder)
        ) from error
    # Somebody else could have made it first, in a folder that is everybody's, to read our administration.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise Failed(
            "this folder must be yours and closed to others", hint=f"rm -r {folder}", where=str(folder)
        )
    return folder / f"{token[:16]}.sock"
