"""Asking an instance itself how it is, directly and now."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from opsbook.errors import OpsbookError
from opsbook.world.hosts.commands import run
from opsbook.world.hosts.users import User
from opsbook.world.words import Address, HealthCheck, Probe

_BODY = 64 * 1024


def probe_http(address: Address, check: HealthCheck) -> Probe:
    """GET the path; 2xx and 3xx are healthy."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection(address.host, address.port, timeout=check.timeout)
    try:
        connection.request("GET", check.path, headers={"User-Agent": "opsbook-health", "Connection": "close"})
        response = connection.getresponse()
        if response.length:  # a server whose answer is not taken logs a broken pipe each time
            with suppress(OSError, http.client.HTTPException):
                response.read1(_BODY)
        return _probe(200 <= response.status < 400, str(response.status), begun)
    except (OSError, http.client.HTTPException) as error:
        return _probe(False, _words(error, check.timeout), begun)
    finally:
        connection.close()


def probe_tcp(address: Address, check: HealthCheck) -> Probe:
    """Connect; an accepted connection is healthy."""
    begun = time.monotonic()
    try:
        socket.create_connection((address.host, address.port), timeout=check.timeout).close()
    except OSError as error:
        return _probe(False, _words(error, check.timeout), begun)
    return _probe(True, "connected", begun)


def probe_command(
    command: tuple[str, ...], check: HealthCheck, *, folder: Path, env: Mapping[str, str], user: User | None
) -> Probe:
    """Run the command; exit code 0 is healthy. The detail has the last line it printed."""
    begun = time.monotonic()
    try:
        finished = run(
            command, cwd=folder, env=env, timeout=check.timeout, limit=_BODY, together=True, user=user
        )
    except OpsbookError as error:
        return _probe(False, error.message, begun)
    last = next((line for line in reversed(finished.text.splitlines()) if line.strip()), "").strip()
    words = f"no end within {check.timeout:g} s" if finished.timed_out else f"exit code {finished.code}"
    return _probe(finished.code == 0 and not finished.timed_out, f"{words}: {last}" if last else words, begun)


def probe_alive(ran: float, check: HealthCheck) -> Probe:
    """Whether it has run for `start_period` seconds."""
    return Probe(ran >= check.start_period, f"running for {ran:.1f} s", 0.0)


def _probe(healthy: bool, detail: str, begun: float) -> Probe:
    seconds = time.monotonic() - begun
    return Probe(healthy, f"{detail} in {seconds * 1000:.0f} ms" if healthy else detail, seconds)


def _words(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, http.client.RemoteDisconnected):
        return "closed the connection without an answer"
    if isinstance(error, http.client.HTTPException):
        return f"not an HTTP answer ({type(error).__name__})"
    return getattr(error, "strerror", None) or str(error)
