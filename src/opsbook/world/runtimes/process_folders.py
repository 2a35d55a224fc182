"""The folders of an instance.

The working folder is the instance's own copy of its release, as in a container: relative paths and ``python
-m shop.web`` work, whatever the program writes there is its own, survives its restarts, and is gone with
the instance. The sealed release stays as it was, even for services of root. What must outlive an instance
(a database) belongs into ``$OPSBOOK_DATA_DIR``, which is one folder per service and environment.

Not copied but linked, because they are large and nobody writes there: folders of dependencies (node_modules
and virtual environments) and files above 64 MiB. On file systems that can (btrfs, XFS) a copy shares its
blocks.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from opsbook.world.hosts.files import copy_file, file_failure, private_folder, remove_tree
from opsbook.world.hosts.users import User

LINKED_FROM = 64 * 1024 * 1024


def work_folder(folder: Path, release: Path | None, user: User | None) -> Path:
    """Make `folder` the working folder of an instance; one that is there already stays as it is.

    Raises:
        Failed: the disk is full; nothing is left.
    """
    if folder.exists():
        return folder
    unfinished = folder.with_name(f"{folder.name}.new")
    try:
        remove_tree(unfinished)
        unfinished.mkdir(mode=0o700)
        if release is not None:
            _copy(release, unfinished)
        if user is not None:
            _give(unfinished, user)
        unfinished.rename(folder)
    except OSError as error:
        with suppress(OSError):
            remove_tree(unfinished)
        raise file_failure(error, folder) from error
    return folder


def data_folder(root: Path, environment: str, service: str, user: User | None) -> Path:
    """``root/ENV/SERVICE``, 0700, of the service's user."""
    private_folder(root, 0o711)
    private_folder(root / environment, 0o711)
    folder = private_folder(root / environment / service)
    if user is not None and folder.stat().st_uid != user.uid:
        try:
            os.chown(folder, user.uid, user.gid)
        except OSError as error:
            raise file_failure(error, folder) from error
    return folder


def _copy(source: Path, target: Path) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            path = target / entry.name
            if entry.is_symlink():
                path.symlink_to(Path(entry.path).readlink())
            elif entry.is_dir():
                if _is_dependencies(entry):
                    path.symlink_to(entry.path)
                else:
                    path.mkdir(mode=0o755)
                    _copy(Path(entry.path), path)
            elif entry.stat().st_size > LINKED_FROM:
                path.symlink_to(entry.path)
            else:
                copy_file(entry.path, path, 0o755 if entry.stat().st_mode & 0o100 else 0o644)


def _is_dependencies(entry: os.DirEntry[str]) -> bool:
    return entry.name == "node_modules" or Path(entry.path, "pyvenv.cfg").exists()


def _give(folder: Path, user: User) -> None:
    for parent, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            os.chown(Path(parent, name), user.uid, user.gid, follow_symlinks=False)
