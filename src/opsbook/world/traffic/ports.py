"""Asking the machine about ports, and the listeners about what they serve."""

from __future__ import annotations

import http.client

import psutil

from opsbook.world.words import Address

PROBE_TIMEOUT_SECONDS = 2.0
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - names of what others bind, not a bind


def holder(address: Address, *, except_pid: int | None = None) -> str | None:
    """Who listens on `address`, e.g. ``nginx (pid 812)``; None when it is free or held by `except_pid`."""
    for connection in psutil.net_connections("tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr:
            continue
        if except_pid is not None and connection.pid == except_pid:
            continue
        if connection.laddr.port != address.port or not _overlap(connection.laddr.ip, address.host):
            continue
        if connection.pid is None:
            return "a process of another user"
        try:
            return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
        except psutil.Error:
            return f"pid {connection.pid}"
    return None


def generation_served(address: Address, probe_host: str) -> int | None:
    """The generation that the HTTP listener on `address` tells on a new connection, if it tells any."""
    connection = http.client.HTTPConnection(
        WILDCARDS.get(address.host, address.host), address.port, timeout=PROBE_TIMEOUT_SECONDS
    )
    try:
        connection.request("GET", "/", headers={"Host": probe_host, "Connection": "close"})
        response = connection.getresponse()
        body = response.read(32)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return int(body) if response.status == 200 and body.isdigit() else None


def _overlap(held: str, wanted: str) -> bool:
    if wanted == "localhost":
        wanted = "127.0.0.1"
    return held == wanted or held in WILDCARDS or wanted in WILDCARDS
