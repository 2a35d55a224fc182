"""A scratch place on this machine: a folder, ports and processes of its own, of which nothing is left, however it ends.

Everything that is started in it is known by its environment (which names the folder) or by where it works. A guard, a
process of its own, waits for the end of whoever opened the place; if that one was killed, the guard cleans up.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal

from opsbook.errors import Failed
from opsbook.world.commands.local import SHELLS
from opsbook.world.commands.words import Kept, Outcome
from opsbook.world.hosts import processes
from opsbook.world.hosts.commands import Finished, end_group, run

TOKEN = "DRILL_TOKEN"  # noqa: S105 - the name of a variable
_PREFIX = "opsbook-drill-"
_LAST = "at-the-end.json"
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_KEPT = ("LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "SSL_CERT_FILE", "SSL_CERT_DIR")
_END_SECONDS = 60.0
_CHUNK = 64 * 1024


class Scratch:
    """One place. Nothing of the caller's environment reaches it but the language, the time zone and where programs are:
    no token, no database, no keys, and a home of its own.

    Args:
        ports, folders: the names of what scripts find as ``PORT_NAME`` and ``DIR_NAME``.
    """

    def __init__(self, ports: Collection[str], folders: Collection[str]) -> None:
        # Unix sockets have short paths only; the default temporary folder of some systems has a long one.
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
        self._cleared = False
        names = sorted(ports)
        self.ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.folders = {name: str(self._made(f"folders/{name}")) for name in sorted(folders)}
        self.book, self.state = self._made("ops"), self._made("state")
        _write_program(self._made("bin") / "opsbook")
        self.environment = self._environment(self._made("home"))
        self._guard = _guard(self.folder)

    def _made(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(mode=0o700, parents=True)
        return path

    def _environment(self, home: Path) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        path = [str(self.folder / "bin"), str(Path(sys.executable).parent)]
        path += [one for one in os.environ.get("PATH", "").split(":") if one.startswith("/")]
        return {
            **kept,
            "PATH": ":".join(dict.fromkeys([*path, *_SYSTEM_PATH])),
            "HOME": str(home),
            "NO_COLOR": "1",
            TOKEN: secrets.token_hex(16),
            "DRILL_DIR": str(self.folder),
            "OPSBOOK_BOOK": str(self.book),
            "OPSBOOK_STATE": str(self.state),
            **{f"PORT_{name.upper()}": str(port) for name, port in self.ports.items()},
            **{f"DIR_{name.upper()}": folder for name, folder in self.folders.items()},
        }

    def write(self, path: str, text: str) -> None:
        """A file of the scratch handbook. Raises Failed: its path leads out of it."""
        target = self.book / path
        if ".." in Path(path).parts or not target.resolve().is_relative_to(self.book.resolve()):
            raise Failed("a file of the scratch handbook lies elsewhere", where=path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")

    def script(self, shell: Literal["bash", "sh"], text: str, timeout: float) -> Outcome:
        """Run a script to its end. What it leaves in the background stays, as long as it succeeds."""
        return _run_script(self.environment, shell, text, timeout)

    def opsbook(
        self, *words: str, timeout: float = 60.0, variables: Mapping[str, str] | None = None
    ) -> Finished:
        """A command of the scratch opsbook, in a process of its own."""
        command = [sys.executable, "-m", "opsbook", *words]
        return run(command, cwd=Path("/"), env={**self.environment, **(variables or {})}, timeout=timeout)

    def at_the_end(self, scripts: Sequence[tuple[Literal["bash", "sh"], str, float]]) -> None:
        """What is run when the place is cleared, also by the guard."""
        said = {"environment": self.environment, "scripts": [list(one) for one in scripts]}
        path = self.folder / _LAST
        path.touch(mode=0o600)
        path.write_text(json.dumps(said), "utf-8")

    def clear(self) -> str:
        """End all that runs in it and remove it; a second time it does nothing. Returns what went wrong, or nothing."""
        if self._cleared:
            return ""
        self._cleared = True
        said = clear(self.folder)
        if self._guard.stdin is not None:
            with suppress(OSError):
                self._guard.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._guard.wait(_END_SECONDS)
        return said


def clear(folder: Path) -> str:
    """Run what was left for the end, end the processes, unmount, remove. Returns what could not be done, or nothing."""
    trouble = _run_last(folder)
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        found = [identity for pid in _inhabitants(folder) if (identity := processes.identify(pid))]
        for identity in found:
            processes.send(identity, number)
            processes.send(identity, signal.SIGCONT)  # a stopped process ends only when it goes on
        processes.await_ends(found, 3.0)
    for mount in _mounts(folder):
        run(["umount", "-l", mount], timeout=20)
    for place in [folder, *folder.rglob("*")]:  # snapshots of releases are read-only
        with suppress(OSError):
            if place.is_dir() and not place.is_symlink():
                place.chmod(0o700)
    for _ in range(5):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return trouble
        time.sleep(0.2)
    return trouble or f"{folder} could not be removed"


def _run_last(folder: Path) -> str:
    try:
        said = json.loads((folder / _LAST).read_text("utf-8"))
    except (OSError, ValueError):
        return ""
    trouble = []
    environment = {str(name): str(value) for name, value in said["environment"].items()}
    for shell, text, timeout in said["scripts"]:
        outcome = _run_script(environment, shell, text, timeout)
        if not outcome.ok:
            said_last = outcome.output.strip().splitlines()[-1:] or [""]
            reason = outcome.reason or f"exit code {outcome.code}"
            trouble.append(f"undoing the fault: {reason}: {said_last[0]}".rstrip(": "))
    down = [sys.executable, "-m", "opsbook", "down", "--services"]
    if (folder / "state" / "server.json").exists():
        run(down, cwd=Path("/"), env=environment, timeout=_END_SECONDS)
    return "; ".join(trouble)


def _run_script(environment: Mapping[str, str], shell: str, text: str, timeout: float) -> Outcome:
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*SHELLS[shell], text],
            cwd="/",
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        timed_out = False
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            # A daemon that was begun by the last line is in a session of its own a moment later only.
            if process.poll() != 0:
                end_group(process.pid)
                process.wait()
        kept = Kept()
        output.seek(0)
        while chunk := output.read(_CHUNK):
            kept.add(chunk)
    code = None if timed_out else process.returncode
    return Outcome(code, kept.text(), kept.dropped, timed_out=timed_out, seconds=time.monotonic() - began)


def _inhabitants(folder: Path) -> list[int]:
    """The processes that work in the folder, or were started with a word of it; never this one or those above it."""
    name = os.fsencode(folder)
    found = []
    above = _ancestors()
    for pid in processes.table():
        if pid in above:
            continue
        values = processes.environment(pid).values()
        try:
            place = os.fsencode(os.readlink(f"/proc/{pid}/cwd"))  # noqa: PTH115 - a deleted folder has no path
        except OSError:
            place = b""
        if place.startswith(name) or any(name in value for value in values):
            found.append(pid)
    return found


def _ancestors() -> set[int]:
    found, pid = set[int](), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        parent = processes.entry(pid)
        pid = parent.parent if parent is not None else 0
    return found


def _mounts(folder: Path) -> list[str]:
    """What is mounted below the folder, the deepest first."""
    lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    points = [line.split()[4].replace("\\040", " ") for line in lines]
    return sorted((point for point in points if point.startswith(f"{folder}/")), key=len, reverse=True)


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on now, all different."""
    with ExitStack() as held:
        found = []
        for _ in range(count):
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            found.append(int(listener.getsockname()[1]))
        return found


def _write_program(path: Path) -> None:
    """`opsbook` for scripts, whatever this installation calls it."""
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m opsbook "$@"\n')
    path.chmod(0o700)


def _guard(folder: Path) -> subprocess.Popen[bytes]:
    """Started in a session of its own, so that what ends the caller does not end it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "opsbook.world.commands.scratch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(os.fsencode(folder) + b"\n")
    process.stdin.flush()
    return process


def guard() -> None:
    """Wait until nobody holds the other end of standard input, then clear what is still there."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folder = Path(os.fsdecode(sys.stdin.buffer.readline().rstrip(b"\n")))
    sys.stdin.buffer.read()
    if folder.name.startswith(_PREFIX) and folder.is_absolute() and folder.is_dir():
        clear(folder)


if __name__ == "__main__":
    guard()
