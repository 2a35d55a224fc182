"""Ports for instances: each its own, the same for its whole life."""

from __future__ import annotations

import socket
from collections.abc import Collection

from opsbook.errors import Failed
from opsbook.world.hosts import listeners


def is_free(host: str, port: int) -> bool:
    """Whether a process could listen on `port` now. Connections that still linger do not count."""
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def choose(host: str, taken: Collection[int], ports: range | None = None) -> int:
    """A port nobody listens on and no instance remembers; of `ports`, or any the system gives.

    Raises:
        Failed: there is none, or `host` is no address of this machine.
    """
    if ports is not None:
        for port in ports:
            if port not in taken and is_free(host, port):
                return port
        message = f"no free port between {ports.start} and {ports.stop - 1}"
        raise Failed(message, hint="widen the range of ports, or stop what listens there")
    for _ in range(1000):
        with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, 0))
            except OSError as error:
                raise Failed(
                    f"cannot listen on {host}: {error.strerror}", hint="is it an address of this machine?"
                ) from error
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
    raise Failed("no free port", hint="stop what listens, or widen net.ipv4.ip_local_port_range")


def taken_by(port: int) -> str:
    """Who listens on `port`, in words: ``pid 4711 (nginx)``, or ``another process`` when that cannot be
    seen.
    """
    owner = listeners.listening_on(port)
    return "another process" if owner is None else f"pid {owner.pid} ({owner.name})"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
