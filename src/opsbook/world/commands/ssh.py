"""Scripts on other machines, over SSH. What is known of a machine (user, port, key) is in the user's SSH files.

The script and its variables go through the standard input of one fixed command, quoted once: nobody on that machine
reads them in the list of processes, and no length is too long.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opsbook.world.commands.words import KILL_AFTER, Kept, Outcome, Script

if TYPE_CHECKING:
    import asyncssh

_CONNECT = 15.0  # seconds
_LATER = 5.0  # seconds that the far side gets beyond the script's own timeout
_CHUNK = 64 * 1024
_TIMED_OUT = (124, 137)
# Reads all of its input, closes it, and becomes the script.
_READER = 'script=$(cat) && exec </dev/null && eval "$script"'
_SETTINGS = {"bash": "set -euo pipefail", "sh": "set -eu"}


def remote_command(script: Script) -> str:
    """The one command line that every script is run by; nothing of the script is in it."""
    words = ["timeout", f"--kill-after={KILL_AFTER:g}", f"{script.timeout:g}", script.shell]
    words += ["--noprofile", "--norc"] if script.shell == "bash" else []
    return shlex.join([*words, "-c", _READER])


def remote_input(script: Script) -> bytes:
    """What that command reads: the variables, quoted once, and the script."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in script.variables.items()]
    return "\n".join([*exports, _SETTINGS[script.shell], script.text, ""]).encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class SshRunner:
    """Runs scripts on one machine.

    Args:
        host: its name, as SSH's own configuration knows it.
        options: for asyncssh, beyond what the user's files say (tests: port, keys, known hosts).
    """

    host: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def run(self, script: Script, heard: Callable[[bytes], None], cancelled: Callable[[], bool]) -> Outcome:
        """See `Runner`. Raises nothing: a machine that cannot be reached is an outcome."""
        began = time.monotonic()
        import asyncssh

        kept = Kept()
        try:
            return asyncio.run(self._run(script, heard, cancelled, kept, began))
        except (OSError, asyncssh.Error, TimeoutError, ValueError) as error:
            said = str(error) or type(error).__name__
            return Outcome(
                None,
                kept.text(),
                kept.dropped,
                seconds=time.monotonic() - began,
                problem=f"{self.host}: {said}",
            )

    async def _run(
        self,
        script: Script,
        heard: Callable[[bytes], None],
        cancelled: Callable[[], bool],
        kept: Kept,
        began: float,
    ) -> Outcome:
        import asyncssh

        connected = asyncssh.connect(self.host, **{"connect_timeout": _CONNECT, **self.options})
        async with connected as connection:
            process = await connection.create_process(
                remote_command(script), encoding=None, stderr=asyncssh.STDOUT, request_pty=False
            )
            reading = asyncio.create_task(_read(process, heard, kept))
            process.stdin.write(remote_input(script))
            process.stdin.write_eof()
            stopped = await _until_end(process, reading, cancelled, began + script.timeout + _LATER)
            if stopped:
                with suppress(OSError, asyncssh.Error):
                    process.terminate()
                    await asyncio.wait_for(process.wait_closed(), KILL_AFTER)
                process.kill()
            else:
                await process.wait_closed()
            reading.cancel()
            code = process.returncode
            ended = time.monotonic() - began
            # The far side's own word for it; it ends by itself even when nobody here is left to ask it to.
            late = stopped == "late" or (code in _TIMED_OUT and ended >= script.timeout)
            clean = not late and not stopped
            gone = "" if code is not None or not clean else f"{self.host}: the connection was lost"
            return Outcome(
                code if clean else None,
                kept.text(),
                kept.dropped,
                timed_out=late,
                cancelled=stopped == "cancelled",
                seconds=ended,
                problem=gone,
            )


async def _read(
    process: asyncssh.SSHClientProcess[bytes], heard: Callable[[bytes], None], kept: Kept
) -> None:
    while chunk := await process.stdout.read(_CHUNK):
        kept.add(chunk)
        heard(chunk)


async def _until_end(
    process: asyncssh.SSHClientProcess[bytes],
    reading: asyncio.Task[None],
    cancelled: Callable[[], bool],
    deadline: float,
) -> str:
    """Wait for its end; why it was not waited for any longer, or an empty text."""
    closed = asyncio.create_task(process.wait_closed())
    try:
        while True:
            done, _ = await asyncio.wait({closed}, timeout=0.1)
            if done:
                await asyncio.wait({reading}, timeout=1.0)
                return ""
            if cancelled():
                return "cancelled"
            if time.monotonic() >= deadline:
                return "late"
    finally:
        closed.cancel()
