"""The two doors: a Unix socket for this user, a TCP port for everybody with the token."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from opsbook.errors import Conflict, Failed, Invalid, NotAllowed, OpsbookError


def bind_tcp(host: str, port: int) -> socket.socket:
    """A bound TCP socket that does not listen yet; port 0 takes any free one.

    Raises:
        Conflict: the port is taken; says by whom. NotAllowed: a privileged port. Invalid: no such address
        here.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, for asyncio sends without delay only on sockets that say they are TCP: else each answer waits 40 ms.
    door = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((host, port))
        # Two programs may bind one port with SO_REUSEADDR; only the second `listen` would fail, too late for
        # a clear message. Nobody is accepted before the server runs, so the backlog holds the early ones.
        door.listen(128)
    except (OSError, OverflowError) as error:
        door.close()
        raise _refused(host, port, error) from None
    return door


def _refused(host: str, port: int, error: OSError | OverflowError) -> OpsbookError:
    where = f"{host}:{port}"
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return Conflict(
            f"port {port} is taken by {holder_of(port) or 'another program'}",
            where=where,
            hint=f"choose another one: opsbook up --port {port + 1 if port < 65535 else 7373}",
        )
    if number == errno.EACCES:
        return NotAllowed(f"this user may not use port {port}", where=where, hint="choose a port above 1023")
    return Invalid(f"cannot listen there: {error}", where=where, hint="opsbook up --port 7373")


def holder_of(port: int) -> str:
    """Who listens on a TCP port: ``"nginx" (pid 812)``, or empty when it cannot be told."""
    from opsbook.world.hosts.listeners import (
        listening_on,
    )  # psutil, which a successful start does not need here

    found = listening_on(port)
    return f'"{found.name}" (pid {found.pid})' if found else ""


def bind_unix(path: Path) -> socket.socket:
    """A bound Unix socket, mode 0600. Whoever calls holds the single-instance lock, so a file there is stale.

    Raises:
        Failed: it cannot be made.
    """
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        door.bind(str(path))
    except OSError as error:
        door.close()
        raise Failed(f"the API socket cannot be made: {error.strerror or error}", where=str(path)) from error
    finally:
        os.umask(before)
    return door


def url_of(door: socket.socket) -> str:
    host, port = door.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
