"""Scripts in the place of a running process: its environment, its folder, its user."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from opsbook.errors import Failed
from opsbook.world.commands.local import LocalRunner
from opsbook.world.hosts import processes
from opsbook.world.hosts.users import User
from opsbook.world.runtimes.process_environment import INSTANCE, RUNTIME, basic_environment

_ITS_OWN = {INSTANCE, RUNTIME, "PORT"}  # by the first two opsbook finds the instance's own processes


def in_process(pid: int) -> LocalRunner:
    """What runs scripts beside process `pid`.

    Raises:
        Failed: there is no such process, or it is none of ours to look into.
    """
    try:
        status = (Path("/proc") / str(pid)).stat()
        folder = Path(os.readlink(f"/proc/{pid}/cwd"))  # noqa: PTH115 - a deleted folder has no path
    except OSError as error:
        raise Failed(f"process {pid} cannot be looked into: {error.strerror}") from error
    found = {
        name.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape")
        for name, value in processes.environment(pid).items()
    }
    values = {name: value for name, value in found.items() if name not in _ITS_OWN}
    if "PORT" in found:
        values["SERVICE_PORT"] = found["PORT"]
    environment = {**basic_environment(), **values}
    user = None
    if os.geteuid() == 0 and status.st_uid != 0:
        known = pwd.getpwuid(status.st_uid)
        groups = tuple(os.getgrouplist(known.pw_name, known.pw_gid))
        user = User(name=known.pw_name, uid=known.pw_uid, gid=known.pw_gid, groups=groups, home=known.pw_dir)
    return LocalRunner(folder=folder if folder.is_dir() else None, environment=environment, user=user)
