"""Starting the server in the background, and waiting until it answers or has failed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from opsbook.errors import Failed
from opsbook.server import log, state

PATIENCE_SECONDS = 60.0  # the first start may take over services and start the proxy
LOOK_EVERY = 0.05


def start(book: Path, folder: Path, host: str, port: int) -> state.Running:
    """Start a server of its own session for `book`; returns when its socket answers.

    Raises:
        Locked: one runs already. Failed: it ended, or did not answer in time; ``details["log"]`` has its last
        lines.
    """
    with state.only_instance(folder):
        pass  # asked only to tell at once, and clearly, that one runs already
    handle = log.open_log(folder)
    written = os.fstat(handle).st_size
    try:
        process = subprocess.Popen(
            command(book, host, port),
            env={**os.environ, "OPSBOOK_STATE": str(folder), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
            cwd="/",  # a daemon must not keep somebody's folder from being unmounted or removed
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
        )
    finally:
        os.close(handle)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        running = state.Running.read(folder)
        if running is not None and running.pid == process.pid and answers(running.socket):
            return running
        if process.poll() is not None:
            raise _failed(
                folder, written, f"opsbook did not start: it ended with exit code {process.returncode}"
            )
        time.sleep(LOOK_EVERY)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    raise _failed(folder, written, f"opsbook did not answer within {PATIENCE_SECONDS:.0f} s and was ended")


def command(book: Path, host: str, port: int) -> list[str]:
    """What the daemon is: the same program in the foreground."""
    return [sys.executable, "-m", "opsbook", "--book", str(book), "up", "--host", host, "--port", str(port)]


def answers(socket_file: str) -> bool:
    """Whether a server accepts requests at this Unix socket."""
    import http.client
    import socket

    connection = http.client.HTTPConnection("localhost", timeout=2)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(2)
            door.connect(socket_file)
            connection.sock = door
            connection.request("GET", "/api/health")
            connection.getresponse().read()
            return True
    except (OSError, http.client.HTTPException):
        return False


def _failed(folder: Path, written: int, message: str) -> Failed:
    """The failure with what this attempt, and no earlier one, wrote to the log."""
    with log.log_path(folder).open("rb") as file:
        file.seek(written)
        lines = file.read(64 * 1024).decode("utf-8", "replace").splitlines()[-15:]
    return Failed(message, hint=f"the whole log: {log.log_path(folder)}", details={"log": lines})
