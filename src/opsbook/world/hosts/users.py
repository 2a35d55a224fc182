"""Users of this machine: whom a process may run as."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from opsbook.errors import Failed, NotAllowed


@dataclass(frozen=True, slots=True)
class User:
    """A user as the kernel knows one, with all groups; `home` is for the environment."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def other_user(name: str | None) -> User | None:
    """The user to change to for running as `name`; None when that is nobody else than now.

    Raises:
        Failed: no such user. NotAllowed: only root may change to somebody else.
    """
    if name is None:
        return None
    try:
        found = pwd.getpwnam(name)
    except KeyError as error:
        hint = f"useradd --system {name}, or leave `user` out"
        raise Failed(f"no such user: {name}", hint=hint) from error
    if found.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        message = f"only root can run a service as {name}; opsbook runs as {user_name(os.geteuid())}"
        raise NotAllowed(message, hint="run opsbook as root, or leave `user` out")
    groups = tuple(group.gr_gid for group in grp.getgrall() if name in group.gr_mem)
    return User(name, found.pw_uid, found.pw_gid, tuple({found.pw_gid, *groups}), found.pw_dir)


def user_name(uid: int) -> str:
    """The name of a user; containers often run as one without."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def closed_folder(path: Path, user: User) -> Path | None:
    """The first folder on the way to `path` that `user` cannot enter, or None; looks at the mode bits
    only.
    """
    for folder in (*reversed(path.parents), path):
        status = folder.stat()
        if status.st_uid == user.uid:
            allowed = status.st_mode & 0o100
        elif status.st_gid in user.groups:
            allowed = status.st_mode & 0o010
        else:
            allowed = status.st_mode & 0o001
        if not allowed:
            return folder
    return None
