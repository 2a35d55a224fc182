"""Who listens on a port of this machine."""

from __future__ import annotations

from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Listener:
    """A process that listens."""

    pid: int
    name: str


def listening_on(port: int) -> Listener | None:
    """The process that listens on TCP `port`; None when there is none or this user may not see it."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        if (
            connection.status == psutil.CONN_LISTEN
            and connection.laddr
            and connection.laddr.port == port
            and connection.pid
        ):
            try:
                return Listener(connection.pid, psutil.Process(connection.pid).name())
            except psutil.Error:
                return None
    return None
