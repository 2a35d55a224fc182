"""Running the build of a release in the folder that will be sealed."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from opsbook.errors import Failed
from opsbook.world.hosts.commands import stream_lines
from opsbook.world.hosts.files import atomic_write
from opsbook.world.hosts.processes import ProcessIdentity, await_ends
from opsbook.world.hosts.spawning import Order, spawn
from opsbook.world.runtimes.process_end import collect, kill_family
from opsbook.world.runtimes.process_environment import INSTANCE, RUNTIME, basic_environment

TIMEOUT = 3600.0  # seconds
_TAIL = 50
_LAST_WORDS = 5.0
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def build(command: tuple[str, ...], folder: Path, note: Path, *, on_output: Callable[[str], None]) -> None:
    """Run `command` in `folder` and wait for its end.

    It gets ``OPSBOOK_BUILD=1``, the proxies and little else; neither service nor version, since releases of the same
    content share one build. `note` remembers its process, for `end_build` after a crash.

    Raises:
        Failed: it ended with an error or took longer than an hour; ``details["log"]`` has the last 50 lines.
    """
    tail: deque[str] = deque(maxlen=_TAIL)
    deaf: list[Exception] = []

    def hear(line: str) -> None:
        tail.append(line)
        if not deaf:
            try:
                on_output(line)
            except Exception as error:
                deaf.append(error)

    env = basic_environment() | {name: os.environ[name] for name in _PROXIES if name in os.environ}
    env |= {"OPSBOOK_BUILD": "1", INSTANCE: "build", RUNTIME: _mark(note)}
    reading, writing = os.pipe2(os.O_CLOEXEC)
    heard = threading.Thread(
        target=stream_lines, args=(lambda size: os.read(reading, size), hear), daemon=True
    )
    heard.start()
    try:
        try:
            waiting = spawn(Order(command, env, folder, writing))
        finally:
            os.close(writing)
        process = waiting.identity
        atomic_write(note, json.dumps(asdict(process)), mode=0o600)
        waiting.release()
        in_time = await_ends([process], TIMEOUT)
        kill_family(process, "build", _mark(note))
        code, number = collect(process)
    finally:
        heard.join(_LAST_WORDS)
        if not heard.is_alive():  # somebody who escaped even the search for him still holds the other end
            os.close(reading)
    if not in_time:
        raise _failed(f"it took longer than {TIMEOUT / 60:.0f} minutes", command, tail)
    if number is not None:
        raise _failed(f"killed by {signal.Signals(number).name}", command, tail)
    if code != 0:
        raise _failed(f"exit code {code}", command, tail)
    if deaf:
        raise deaf[0]
    note.unlink(missing_ok=True)


def end_build(note: Path) -> None:
    """Kill a build that an opsbook that died had begun; it would go on writing into the folder."""
    try:
        process = ProcessIdentity(**json.loads(note.read_text()))
    except FileNotFoundError:
        return
    kill_family(process, "build", _mark(note))


def _mark(note: Path) -> str:
    return f"build:{note.parent.name}"


def _failed(how: str, command: tuple[str, ...], tail: deque[str]) -> Failed:
    last = next((line for line in reversed(tail) if line.strip()), "")
    message = f"the build failed: {how}: {last.strip()}" if last else f"the build failed: {how}"
    hint = f"run it yourself in the source folder: {' '.join(command)}"
    return Failed(message, hint=hint, details={"log": list(tail)})
