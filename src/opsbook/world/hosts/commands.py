"""Running a command to its end: no shell, bounded output, and nothing of it left behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from opsbook.errors import Failed, NotFound
from opsbook.world.hosts.users import User

_CHUNK = 64 * 1024
_AFTER_END = 0.2  # seconds in which output that is still in the pipe is read


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended. `code` is negative for a signal, as in `subprocess`."""

    code: int
    output: bytes
    errors: bytes
    truncated: bool = False
    timed_out: bool = False

    @property
    def text(self) -> str:
        """Output and errors as text, one after the other."""
        return (self.output + self.errors).decode("utf-8", "replace")


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    feed: bytes = b"",
    limit: int | None = 1024 * 1024,
    together: bool = False,
    user: User | None = None,
) -> Finished:
    """Run `command` and wait for its end; its whole process group is ended with it.

    Args:
        timeout: seconds, after which the group is killed and `timed_out` is set.
        feed: what it reads from its standard input.
        limit: bytes kept of each stream (the beginning); None keeps all.
        together: standard error goes into `output`, in the order of writing.
        user: run it as somebody else (needs root).

    Raises:
        NotFound: there is no such command. Failed: it cannot be started.
    """
    process = _popen(command, cwd=cwd, env=env, together=together, user=user)
    deadline = None if timeout is None else time.monotonic() + timeout
    writer = threading.Thread(target=_feed, args=(process, feed), daemon=True)
    writer.start()
    try:
        output, errors, truncated, ended = _read(process, deadline, limit)
    finally:
        end_group(process.pid)
        code = process.wait()
        writer.join()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    return Finished(code, output, errors, truncated, timed_out=not ended)


def end_group(group: int) -> None:
    """Kill what is left of a process group; nothing left is no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _popen(
    command: Sequence[str],
    *,
    cwd: Path | None,
    env: Mapping[str, str] | None,
    together: bool,
    user: User | None,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(command),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if together else subprocess.PIPE,
            start_new_session=True,
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
            extra_groups=None if user is None else user.groups,
        )
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and cwd is not None and not cwd.exists():
            raise Failed(f"the folder {cwd} does not exist", where=str(cwd)) from error
        if isinstance(error, FileNotFoundError) or (
            isinstance(error, PermissionError) and not _exists(command[0])
        ):
            hint = "install it, or write its full path"
            raise NotFound(f"command not found: {command[0]}", hint=hint) from error
        raise Failed(f"cannot run {command[0]}: {error}") from error


def _exists(name: str) -> bool:
    """Whether there is such a program for this user; a folder of PATH that may not be looked into has none."""
    folders = [""] if "/" in name else os.get_exec_path()
    return any(os.path.exists(os.path.join(folder, name)) for folder in folders)  # noqa: PTH110, PTH118 - as it is found


def _feed(process: subprocess.Popen[bytes], feed: bytes) -> None:
    assert process.stdin is not None
    # A command may end without having read all, or anything.
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(feed)


def _read(
    process: subprocess.Popen[bytes], deadline: float | None, limit: int | None
) -> tuple[bytes, bytes, bool, bool]:
    """Both streams until the command has ended; what it left running in the background is not waited for."""
    kept: dict[int, bytearray] = {}
    truncated = False
    pidfd = os.pidfd_open(process.pid)
    with selectors.DefaultSelector() as selector:
        selector.register(pidfd, selectors.EVENT_READ)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                kept[stream.fileno()] = bytearray()
                selector.register(stream.fileno(), selectors.EVENT_READ)
        try:
            ended = False
            while selector.get_map():
                wait = None if deadline is None else max(0.0, deadline - time.monotonic())
                ready = selector.select(wait)
                if not ready:
                    return *_both(process, kept), truncated, ended
                for key, _ in ready:
                    if key.fd == pidfd:
                        ended = True
                        selector.unregister(pidfd)
                        deadline = time.monotonic() + _AFTER_END
                        continue
                    chunk = os.read(key.fd, _CHUNK)
                    if not chunk:
                        selector.unregister(key.fd)
                    room = len(chunk) if limit is None else max(0, limit - len(kept[key.fd]))
                    truncated = truncated or room < len(chunk)
                    kept[key.fd] += chunk[:room]
            return *_both(process, kept), truncated, ended
        finally:
            os.close(pidfd)


def _both(process: subprocess.Popen[bytes], kept: dict[int, bytearray]) -> tuple[bytes, bytes]:
    assert process.stdout is not None
    errors = b"" if process.stderr is None else bytes(kept[process.stderr.fileno()])
    return bytes(kept[process.stdout.fileno()]), errors


def stream_lines(data: Callable[[int], bytes], on_line: Callable[[str], None]) -> None:
    """Hand every line that `data` (a read of at most so many bytes, empty at the end) gives to `on_line`."""
    rest = b""
    while chunk := data(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            on_line(line.decode("utf-8", "replace").rstrip("\r"))
        if len(rest) > _CHUNK:  # no program means a line that long
            on_line(rest.decode("utf-8", "replace"))
            rest = b""
    if rest:
        on_line(rest.decode("utf-8", "replace"))
