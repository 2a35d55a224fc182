"""Watching one process from a thread, and how many more files Envoy can watch."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

from opsbook.errors import Failed, OpsbookError
from opsbook.world.traffic.process import Running
from opsbook.world.words import Clock

LOG_LOOK_SECONDS = 60.0
FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 5.0
STEADY_SECONDS = 10.0  # having lived so long, a process's death counts as its first
INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")


class Watch:
    """A thread that calls `revive` whenever the process ends.

    Args:
        pid: the process to watch now; None when it does not run.
        revive: starts it again; returns how it had ended, or None when there was nothing to do.
        look: called about once a minute.
        on_change: is told in a sentence what happened.
    """

    def __init__(
        self,
        pid: Callable[[], int | None],
        revive: Callable[[], str | None],
        look: Callable[[], None],
        on_change: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._pid = pid
        self._revive = revive
        self._look = look
        self._on_change = on_change
        self._clock = clock
        self._closing = os.eventfd(0, os.EFD_CLOEXEC)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="envoy-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        os.eventfd_write(self._closing, 1)
        self._thread.join()
        os.close(self._closing)

    def _run(self) -> None:
        retry = FIRST_RETRY_SECONDS
        while not self._closed.is_set():
            began = self._clock.monotonic()
            self._wait_for_end()
            if self._closed.is_set():
                return
            if self._clock.monotonic() - began > STEADY_SECONDS:
                retry = FIRST_RETRY_SECONDS
            died = self._clock.monotonic()
            try:
                ending = self._revive()
            except OpsbookError as error:
                self._on_change(f"the proxy died and is not back as it was: {error}")
                self._wait(retry)
                retry = min(retry * 2, LONGEST_RETRY_SECONDS)
                continue
            if ending is None:  # stopped on purpose, or started again by somebody else
                self._wait(FIRST_RETRY_SECONDS)
            else:
                took = self._clock.monotonic() - died
                self._on_change(f"the proxy {ending}; pid {self._pid()} serves since {took:.2f} s later")

    def _wait_for_end(self) -> None:
        pid = self._pid()
        if pid is None:
            return
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            while not self._closed.is_set() and not self._wait(LOG_LOOK_SECONDS, handle):
                self._look()
        finally:
            os.close(handle)

    def _wait(self, seconds: float, *handles: int) -> bool:
        """Sleep until a handle is ready, we are closing, or `seconds` have passed (then False)."""
        poll = select.poll()
        for handle in (self._closing, *handles):
            poll.register(handle, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


def check_watches(files: int, running: Running | None) -> None:
    """Envoy takes one inotify instance per file and *aborts* when the kernel has none left: refuse before.

    Raises:
        Failed: `files` more than the kernel allows our user; the hint says how to allow more.
    """
    try:
        limit = int(INOTIFY_LIMIT.read_text())
    except (OSError, ValueError):
        return  # no such limit here
    if files < limit // 4:
        return
    others = _instances_in_use(except_pid=running.pid if running else None)
    if files + others > limit:
        raise Failed(
            f"the proxy would watch {files} files, but the kernel allows this user only {limit} watchers,"
            f" {others} of which are in use",
            hint="sysctl fs.inotify.max_user_instances=1024 (and write it into /etc/sysctl.d)",
        )


def _instances_in_use(*, except_pid: int | None) -> int:
    count = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == except_pid:
            continue
        try:
            if entry.stat().st_uid == os.geteuid():
                count += sum(1 for each in (entry / "fd").iterdir() if _is_inotify(each))
        except OSError:  # gone meanwhile
            continue
    return count


def _is_inotify(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()) == "anon_inode:inotify"
    except OSError:
        return False
