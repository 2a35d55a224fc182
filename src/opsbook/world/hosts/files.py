"""Files that are whole or not there: atomic writing, private folders, room on the disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
from pathlib import Path

from opsbook.errors import Failed, NotFound

_FICLONE = 0x40049409
_COPY_AT_ONCE = 1 << 30
_FULL = {errno.ENOSPC, errno.EDQUOT}


def atomic_write(path: Path, data: bytes | str, *, mode: int = 0o644, sync: bool = True) -> None:
    """Replace `path` by `data` as a whole: temporary file beside it, fsync, rename, fsync of the folder.

    Args:
        data: text is written as UTF-8.
        mode: the permissions of the new file, whatever the umask.
        sync: False leaves out both fsyncs, for what may be lost with the power but not torn.

    Raises:
        Failed: the disk is full or the file cannot be written; `path` is as it was.
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fchmod(descriptor, mode)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
        if sync:
            sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise file_failure(error, path) from error


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_failure(error: OSError, path: Path) -> Failed:
    """What to tell a person about `error`; a full disk gets a hint that names the disk's numbers."""
    if error.errno in _FULL:
        hint = f"free some space on the disk of {path.parent} ({_space(path.parent)}), then try again"
        return Failed("the disk is full", hint=hint, where=str(path), details={"transient": True})
    hint = (
        "check the owner and the permissions of the folder"
        if error.errno in (errno.EACCES, errno.EPERM)
        else ""
    )
    return Failed(f"cannot write: {error.strerror or error}", hint=hint, where=str(path))


def _space(folder: Path) -> str:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return "its size is unknown"
    return f"{usage.free // 2**20} of {usage.total // 2**20} MiB free"


def free_space(folder: Path) -> int:
    """Bytes that this user may still write to the disk of `folder` (or of its nearest existing parent)."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_space(folder: Path, needed: int) -> None:
    """Refuse beforehand what would fill the disk.

    Raises:
        Failed: fewer than `needed` bytes are free.
    """
    free = free_space(folder)
    if free < needed:
        message = f"the disk is too full: {needed // 2**20 + 1} MiB are needed, {free // 2**20} MiB are free"
        raise Failed(message, hint=f"free some space on the disk of {folder}", where=str(folder))


def private_folder(path: Path, mode: int = 0o700) -> Path:
    """Make `path` (with its parents) and give it `mode`, also when it was there with wider permissions."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=mode)
        if stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
    except OSError as error:
        raise file_failure(error, path) from error
    return path


def read_private(path: Path) -> bytes:
    """The content of a file that must be readable by its owner only.

    Raises:
        NotFound: there is none. Failed: others may read it, or it cannot be read.
    """
    try:
        mode = path.stat().st_mode
        if mode & 0o077:
            message = f"other users may read this file (mode {stat.S_IMODE(mode):04o})"
            raise Failed(message, hint=f"chmod 600 {path}", where=str(path))
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound("there is no such file", where=str(path)) from error
    except OSError as error:
        raise Failed(f"cannot read: {error.strerror or error}", where=str(path)) from error


def copy_file(source: Path | str, target: Path, mode: int) -> None:
    """Copy the bytes of a file, sharing its blocks where the file system can; `target` gets `mode`."""
    with Path(source).open("rb") as reader, target.open("wb") as writer:
        if not _cloned(reader.fileno(), writer.fileno()):
            shutil.copyfileobj(reader, writer, 1024 * 1024)
        os.fchmod(writer.fileno(), mode)


def _cloned(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
        return True
    except OSError:
        pass
    try:
        while os.copy_file_range(source, target, _COPY_AT_ONCE):
            pass
        return True
    except OSError as error:
        if error.errno in _FULL or os.lseek(target, 0, os.SEEK_CUR):
            raise
        return False


def remove_tree(path: Path) -> None:
    """Remove `path` and all below it, also where folders are read-only; nothing there is no error."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for folder, names, _ in os.walk(path):
        os.chmod(folder, 0o700)  # noqa: PTH101 - os.walk gives strings; a Path for each would be waste
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                child = os.path.join(folder, name)  # noqa: PTH118
                if not os.path.islink(child):  # noqa: PTH114
                    os.chmod(child, 0o700)  # noqa: PTH101
    shutil.rmtree(path)
