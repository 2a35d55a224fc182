"""Starting a process that outlives us, in two steps, so that a crash between them leaves nothing unknown.

`spawn` makes a process that waits and is not the service yet: write down who it is, then `release` it.
Should we die before, it ends by itself (see launch.py).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from opsbook.errors import Failed
from opsbook.world.hosts import launch
from opsbook.world.hosts.processes import ProcessIdentity, identify
from opsbook.world.hosts.users import User

_TRANSIENT = {errno.EAGAIN, errno.ENOMEM, errno.ENFILE, errno.EMFILE, errno.ENOSPC, errno.ETXTBSY}


@dataclass(frozen=True, slots=True)
class Order:
    """What to start. `command` is looked up in the PATH of `env`; `output` gets stdout and stderr."""

    command: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    output: int
    user: User | None = None
    open_files: int | None = None


@dataclass(slots=True)
class Waiting:
    """A process that waits for `release`. It leads its own session and process group."""

    identity: ProcessIdentity
    _order: Order
    _gate: int
    _report: int

    def release(self) -> None:
        """Let it become the command; returns when it has.

        Raises:
            Failed: it could not; it has ended.
        """
        order = self._order
        user = order.user
        fields = (
            str(order.open_files or ""),
            "" if user is None else str(user.uid),
            "" if user is None else str(user.gid),
            "" if user is None else ",".join(map(str, user.groups)),
            str(order.folder),
            *order.command,
            "go",
        )
        try:
            with os.fdopen(self._gate, "wb") as gate:
                gate.write(b"\0".join(map(os.fsencode, fields)))
        except BrokenPipeError:
            pass  # it was killed; the report is empty then, and its end is seen by whoever watches it
        with os.fdopen(self._report, "rb") as report:
            words = report.read().decode().split()
        if words:
            os.waitpid(self.identity.pid, 0)
            raise _failure(order, words[0], int(words[1]))

    def abandon(self) -> None:
        """Let it end without having become anything."""
        os.close(self._gate)
        os.close(self._report)
        os.waitpid(self.identity.pid, 0)


def spawn(order: Order) -> Waiting:
    """Make the process, waiting. It is a child of this process and has to be collected with `waitpid`.

    Raises:
        Failed: no room for a process; ``details["transient"]`` says that trying later may help.
    """
    for word in (*order.command, *order.env, *order.env.values()):
        if "\0" in word:
            raise Failed("a command and its environment cannot hold NUL bytes")
    for name in order.env:
        if not name or "=" in name:
            raise Failed(f"{name!r} cannot be the name of an environment variable")
    descriptors: list[int] = []
    try:
        gate_read, gate = _pipe(descriptors)
        report, report_write = _pipe(descriptors)
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-B", launch.__file__],
            dict(order.env),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, gate_read, 0),
                (os.POSIX_SPAWN_DUP2, order.output, 1),
                (os.POSIX_SPAWN_DUP2, order.output, 2),
                (os.POSIX_SPAWN_DUP2, report_write, launch.REPORT),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=[number for number in signal.valid_signals() if number not in _UNCHANGEABLE],
        )
    except OSError as error:
        for descriptor in descriptors:
            os.close(descriptor)
        raise _failure(order, "process", error.errno or 0) from error
    os.close(gate_read)
    os.close(report_write)
    identity = identify(pid)
    assert identity is not None  # our own child, not collected yet
    return Waiting(identity, order, gate, report)


_UNCHANGEABLE = {signal.SIGKILL, signal.SIGSTOP}


def _pipe(opened: list[int]) -> tuple[int, int]:
    """A pipe whose numbers are above those that the file actions write to."""
    ends = os.pipe()
    for end in ends:
        opened.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return opened[-2], opened[-1]


def _failure(order: Order, step: str, number: int) -> Failed:
    command = order.command[0] if order.command else ""
    who = f" as {order.user.name}" if order.user else ""
    reason, hint = os.strerror(number), ""
    if step == "command" and number == errno.ENOENT:
        reason, hint = _not_found(order, command)
    elif step == "command" and number == errno.EACCES:
        reason, hint = f"permission denied: {command} cannot be executed{who}", f"chmod +x {command}"
    elif step == "command" and number == errno.ENOEXEC:
        reason = f"{command} is neither a program nor a script with a #! line"
        hint = "begin it with a line such as #!/bin/sh, or name the interpreter in the command"
    elif step == "folder":
        reason = f"the folder {order.folder} cannot be entered{who}: {reason}"
        hint = "let the user enter the folder and those above it"
    elif step == "user":
        reason = f"cannot run as {order.user.name if order.user else ''}: {reason}"
    elif step == "open_files":
        reason = f"the limit of {order.open_files} open files cannot be set: {reason}"
        hint = "raise the hard limit (ulimit -Hn), or lower `open_files`"
    elif step == "process":
        reason = f"no process can be made: {reason}"
        hint = "look at the limits on processes and memory (ulimit -u, free -m)"
    else:
        reason = f"cannot start {command}: {reason}"
    return Failed(reason, hint=hint, details={"transient": True} if number in _TRANSIENT else {})


def _not_found(order: Order, command: str) -> tuple[str, str]:
    path = (
        order.folder / command
        if "/" in command
        else Path(shutil.which(command, path=order.env.get("PATH")) or "")
    )
    if path.is_file():
        return f"the interpreter in the first line of {command} does not exist", "correct its #! line"
    if command.startswith((".venv/", "venv/")):
        hint = "virtual environments are not part of a release; make it with `source.build`"
    elif "/" in command:
        hint = f"the path is looked up in the release's folder; is {command} part of the source?"
    else:
        hint = "install it, or write its full path"
    return f"command not found: {command}", hint
