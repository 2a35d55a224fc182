"""Addresses of names, asked for in the background: who wants to know one never waits for a name server."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from opsbook.errors import Unreachable
from opsbook.world.words import Clock

FRESH = 30.0  # seconds after which a name is asked for again


def first_address(host: str) -> str:
    """The first address of a name, as this machine resolves it. May take seconds. Raises OSError."""
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])


@dataclass(slots=True)
class _Known:
    address: str | None = None
    problem: str = ""
    at: float | None = None  # when it was asked for last, monotonic
    asking: bool = False


class Names:
    """See the module. Thread-safe.

    Args:
        clock: its monotonic one.
        resolve: see `first_address`.
    """

    def __init__(self, clock: Clock, resolve: Callable[[str], str] = first_address) -> None:
        self._clock = clock
        self._resolve = resolve
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    def address(self, host: str) -> str | None:
        """The address as it is known, at most about half a minute old; None: it was never asked for before.

        Raises:
            Unreachable: the name has no address; one that had keeps its last.
        """
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            pass
        with self._lock:
            known = self._known.setdefault(host, _Known())
            due = known.at is None or self._clock.monotonic() - known.at >= FRESH
            if due and not known.asking and not self._closed:
                known.asking = True
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(4, thread_name_prefix="opsbook-names")
                self._pool.submit(self._ask, host, known)
            if known.address is None and known.problem:
                raise Unreachable(f"{host} cannot be resolved: {known.problem}", where=host)
            return known.address

    def keep(self, hosts: Collection[str]) -> None:
        """Forget all but these."""
        with self._lock:
            self._known = {host: known for host, known in self._known.items() if host in hosts}

    def close(self) -> None:
        """Ask no more; what is under way is not waited for."""
        with self._lock:
            self._closed, pool = True, self._pool
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, host: str, known: _Known) -> None:
        try:
            address, problem = self._resolve(host), ""
        except (OSError, UnicodeError) as error:
            address, problem = None, getattr(error, "strerror", None) or str(error)
        with self._lock:
            known.address = address or known.address
            known.problem, known.at, known.asking = problem, self._clock.monotonic(), False
