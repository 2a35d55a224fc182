"""Scripts on this machine: a process group of their own, no terminal, nothing to read, and nothing left behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from opsbook.world.commands.words import KILL_AFTER, Kept, Outcome, Script
from opsbook.world.hosts import processes
from opsbook.world.hosts.users import User
from opsbook.world.runtimes.process_environment import basic_environment

CARRIED = "OPSBOOK_STEP"
"""The variable that has `Script.token`."""
_CHUNK = 64 * 1024
_AFTER_END = 0.2  # seconds in which output that is still in the pipe is read
_LOOK_EVERY = 0.1  # seconds between two questions whether it was cancelled
SHELLS = {
    "bash": ("bash", "--noprofile", "--norc", "-euo", "pipefail", "-c"),
    "sh": ("sh", "-eu", "-c"),
}


@dataclass(frozen=True, slots=True)
class LocalRunner:
    """Runs scripts here.

    Args:
        folder: where; None: the root folder, which nobody's relative path means.
        environment: what they find beside their own variables; None: where programs are, and little more.
        user: as whom; None: as opsbook's.
    """

    folder: Path | None = None
    environment: Mapping[str, str] | None = None
    user: User | None = None
    kill_after: float = KILL_AFTER

    def run(self, script: Script, heard: Callable[[bytes], None], cancelled: Callable[[], bool]) -> Outcome:
        """See `Runner`. A daemon in a session of its own is left when the script succeeds, and ended otherwise."""
        began = time.monotonic()
        base = basic_environment() if self.environment is None else self.environment
        variables = {**base, **script.variables, CARRIED: script.token}
        try:
            process = subprocess.Popen(
                [*SHELLS[script.shell], script.text],
                cwd=self.folder or "/",
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=None if self.user is None else self.user.uid,
                group=None if self.user is None else self.user.gid,
                extra_groups=None if self.user is None else self.user.groups,
            )
        except (OSError, ValueError) as error:
            return Outcome(None, problem=f"cannot be started: {error}")
        following = _Following(process, heard, cancelled, began + script.timeout, self.kill_after)
        try:
            following.follow()
        finally:
            _kill(process.pid, signal.SIGKILL)
            if script.token and (following.timed_out or following.cancelled):
                end_all(script.token)
            code = process.wait()
            if process.stdout is not None:
                process.stdout.close()
        seconds = time.monotonic() - began
        ended_by_us = following.timed_out or following.cancelled
        return Outcome(
            None if ended_by_us else code,
            following.kept.text(),
            following.kept.dropped,
            timed_out=following.timed_out,
            cancelled=following.cancelled,
            seconds=seconds,
        )


class _Following:
    """Reads what a process writes until it has ended; asks it to end when its time is over."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        heard: Callable[[bytes], None],
        cancelled: Callable[[], bool],
        deadline: float,
        kill_after: float,
    ) -> None:
        self._process = process
        self._heard = heard
        self._asked_to_end = cancelled
        self._deadline = deadline
        self._kill_after = kill_after
        self._kill_at: float | None = None
        self._ended = False
        self.kept = Kept()
        self.timed_out = False
        self.cancelled = False

    def follow(self) -> None:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        ending = os.pidfd_open(self._process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(output, selectors.EVENT_READ)
                selector.register(ending, selectors.EVENT_READ)
                while selector.get_map():
                    ready = selector.select(self._patience())
                    for key, _ in ready:
                        if key.fd == ending:
                            self._ended = True
                            selector.unregister(ending)
                            self._deadline = time.monotonic() + _AFTER_END
                        elif chunk := os.read(output, _CHUNK):
                            self.kept.add(chunk)
                            self._heard(chunk)
                        else:
                            selector.unregister(output)
                    if self._over():
                        return
        finally:
            os.close(ending)

    def _patience(self) -> float:
        until = self._kill_at if self._kill_at is not None else self._deadline
        return min(_LOOK_EVERY, max(0.0, until - time.monotonic()))

    def _over(self) -> bool:
        """Whether there is nothing to wait for any more; asks the process to end, and then ends it."""
        now = time.monotonic()
        if self._ended:
            # Something in the background still holds the pipe: it is not waited for.
            return now >= self._deadline
        if self._kill_at is not None:
            if now >= self._kill_at:
                _kill(self._process.pid, signal.SIGKILL)
                self._kill_at = now + _AFTER_END
            return False
        self.cancelled = self._asked_to_end()
        self.timed_out = not self.cancelled and now >= self._deadline
        if self.cancelled or self.timed_out:
            _kill(self._process.pid, signal.SIGTERM)
            self._kill_at = now + self._kill_after
        return False


def _kill(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def end_all(token: str, *, grace: float = 0.0) -> int:
    """End every process that carries `token`, wherever it went; returns how many there were."""
    found = 0
    for number, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, 2.0)):
        if number == signal.SIGTERM and not grace:
            continue
        carrying = [who for pid in processes.carriers(CARRIED, token) if (who := processes.identify(pid))]
        found = max(found, len(carrying))
        for who in carrying:
            processes.send(who, number)
        if carrying:
            processes.await_ends(carrying, wait)
    return found
